//! What runs the model, as `--device` asks for it.

use crate::config::limits::StepDefaults;
use crate::config::{DeviceChoice, DeviceMemory, Settings};
use crate::runner::cuda::{self, Gpu, Missing};

/// What runs the model.
#[derive(Clone, Debug)]
pub enum Device {
    Cpu,
    Cuda(Gpu),
    /// Computes nothing.
    Sim,
}

impl Device {
    /// Opens the device that `settings` choose, and says which and why.
    ///
    /// # Errors
    /// One sentence: a GPU was asked for, or there is one, and it cannot be used.
    pub fn open(settings: &Settings) -> Result<Self, String> {
        match settings.device.device {
            DeviceChoice::Cpu => Ok(Self::Cpu),
            DeviceChoice::Sim => {
                log::warn!("--device sim: replies are made up, no model runs");
                Ok(Self::Sim)
            }
            DeviceChoice::Cuda => Self::cuda("--device cuda"),
            DeviceChoice::Auto => Self::auto(),
        }
    }

    fn auto() -> Result<Self, String> {
        if cuda::are_kernels_built_in() {
            return Self::cuda("--device auto");
        }
        log::info!("--device auto: CPU, since this program was built without the feature cuda");
        Ok(Self::Cpu)
    }

    /// A GPU for `asked`, which may have left it open.
    fn cuda(asked: &str) -> Result<Self, String> {
        match Gpu::open() {
            Ok(gpu) => {
                log::info!("{asked}: {gpu}");
                Ok(Self::Cuda(gpu))
            }
            Err(Missing::Absent(absent)) if asked == "--device auto" => {
                log::info!("{asked}: CPU, since {absent}");
                Ok(Self::Cpu)
            }
            Err(missing) => Err(format!("{asked}: {missing}. To run on the CPU, say --device cpu")),
        }
    }

    /// What the log calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cpu | Self::Sim => "CPU",
            Self::Cuda(_) => "GPU",
        }
    }

    /// What vLLM's configuration calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cpu | Self::Sim => "cpu",
            Self::Cuda(_) => "cuda",
        }
    }

    /// What a step may hold when nobody said.
    ///
    /// # Errors
    /// One sentence, when the device does not say what it is.
    pub fn step_defaults(&self) -> Result<StepDefaults, String> {
        match self {
            Self::Cpu | Self::Sim => Ok(StepDefaults::CPU),
            Self::Cuda(gpu) => {
                let (_, total) = gpu.memory().map_err(|error| error.to_string())?;
                Ok(StepDefaults::of_gpu(gpu.name(), total))
            }
        }
    }

    /// The memory that weights and KV cache come from.
    ///
    /// # Errors
    /// One sentence, when nobody says how much there is.
    pub fn memory(&self) -> Result<DeviceMemory, String> {
        match self {
            Self::Cpu | Self::Sim => DeviceMemory::of_system(),
            Self::Cuda(gpu) => {
                let (available, total) = gpu.memory().map_err(|error| error.to_string())?;
                Ok(DeviceMemory { total, available })
            }
        }
    }
}
