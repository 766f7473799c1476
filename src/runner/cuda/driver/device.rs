//! Finding a GPU and making it the calling thread's.

use super::error::{Failure, ok};
use cudarc::driver::sys::{self, CUcontext, CUdevice, CUdevice_attribute, CUresult};
use std::ffi::CStr;
use std::sync::Arc;

/// The CUDA version that the kernels were compiled with; an older driver does not load them.
const OLDEST_DRIVER: i32 = 13000;
/// The GPU that is used, of those that `CUDA_VISIBLE_DEVICES` shows.
const ORDINAL: i32 = 0;
/// The oldest compute capability that there are kernels for.
const OLDEST_CAPABILITY: (i32, i32) = (8, 0);

/// Why there is no GPU to run on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// Nobody would expect CUDA here.
    #[error(transparent)]
    Absent(#[from] Absent),
    #[error(
        "the NVIDIA driver supports CUDA {}.{} and the kernels need {}.{}: update the driver (580 \
         or later)",
        .0 / 1000, .0 % 1000 / 10, OLDEST_DRIVER / 1000, OLDEST_DRIVER % 1000 / 10
    )]
    OldDriver(i32),
    #[error(
        "{name} has compute capability {}.{}, and there are kernels for {}.{} and later",
        .capability.0, .capability.1, OLDEST_CAPABILITY.0, OLDEST_CAPABILITY.1
    )]
    OldDevice { name: String, capability: (i32, i32) },
    #[error("the GPU cannot be used: {0}")]
    Failed(#[from] Failure),
}

/// A machine without CUDA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Absent {
    #[error("libcuda.so.1 is not there (it comes with the NVIDIA driver)")]
    Library,
    #[error("there is no GPU")]
    Device,
}

/// A GPU, with the context that all work on it shares.
#[derive(Debug)]
pub struct Device {
    context: CUcontext,
    device: CUdevice,
    pub name: String,
    /// Compute capability.
    pub capability: (i32, i32),
    /// CUDA version that the driver supports, as `13000`.
    pub driver: i32,
    /// Streaming multiprocessors.
    pub processors: u32,
    /// Bytes of shared memory that a block may have.
    pub block_shared: u32,
}

// SAFETY: the driver's handles may be used by any thread.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

impl Device {
    /// Opens the first GPU (of those that `CUDA_VISIBLE_DEVICES` shows) for this thread.
    pub fn open() -> Result<Arc<Self>, Missing> {
        // SAFETY: opening the library runs its initialisers, as it does in every CUDA program.
        if !unsafe { sys::is_culib_present() } {
            return Err(Absent::Library.into());
        }
        // SAFETY: the library is there; flags must be 0.
        match unsafe { sys::cuInit(0) } {
            CUresult::CUDA_ERROR_NO_DEVICE => return Err(Absent::Device.into()),
            code => ok("cuInit", code)?,
        }
        let mut driver = 0;
        // SAFETY: a place for the result, here and below.
        ok("cuDriverGetVersion", unsafe { sys::cuDriverGetVersion(&raw mut driver) })?;
        if driver < OLDEST_DRIVER {
            return Err(Missing::OldDriver(driver));
        }
        let mut device = 0;
        // SAFETY: as above; a device that is not there is an error.
        match unsafe { sys::cuDeviceGet(&raw mut device, ORDINAL) } {
            CUresult::CUDA_ERROR_INVALID_DEVICE => return Err(Absent::Device.into()),
            code => ok("cuDeviceGet", code)?,
        }
        let name = name(device)?;
        use CUdevice_attribute as Attribute;
        let capability = (
            attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        );
        if capability < OLDEST_CAPABILITY {
            return Err(Missing::OldDevice { name, capability });
        }
        let processors =
            attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as u32;
        let shared = Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
        let block_shared = attribute(device, shared)? as u32;
        let mut context = std::ptr::null_mut();
        // SAFETY: `device` is one; released in `drop`.
        ok("cuDevicePrimaryCtxRetain", unsafe {
            sys::cuDevicePrimaryCtxRetain(&raw mut context, device)
        })?;
        let device = Self { context, device, name, capability, driver, processors, block_shared };
        device.bind()?;
        Ok(Arc::new(device))
    }

    /// Makes this device the calling thread's.
    pub fn bind(&self) -> Result<(), Failure> {
        // SAFETY: the context lives as long as `self`.
        ok("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(self.context) })
    }

    /// Bytes that are free and bytes that there are, of this thread's device.
    pub fn memory(&self) -> Result<(u64, u64), Failure> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: places for the results.
        ok("cuMemGetInfo", unsafe { sys::cuMemGetInfo_v2(&raw mut free, &raw mut total) })?;
        Ok((free as u64, total as u64))
    }

    /// The number that this process knows it by.
    pub fn ordinal(&self) -> u32 {
        ORDINAL as u32
    }

    /// Whether a kernel may start before the one ahead of it has ended.
    pub fn has_dependent_launch(&self) -> bool {
        self.capability >= (9, 0)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: retained in `open`. What it says does not matter any more.
        unsafe { sys::cuDevicePrimaryCtxRelease_v2(self.device) };
    }
}

fn name(device: CUdevice) -> Result<String, Failure> {
    let mut name = [0; 256];
    // SAFETY: as many bytes as are said; the driver ends the text with a zero.
    ok("cuDeviceGetName", unsafe { sys::cuDeviceGetName(name.as_mut_ptr(), 256, device) })?;
    // SAFETY: as above.
    Ok(unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned())
}

fn attribute(device: CUdevice, which: CUdevice_attribute) -> Result<i32, Failure> {
    let mut value = 0;
    // SAFETY: a place for the result.
    let code = unsafe { sys::cuDeviceGetAttribute(&raw mut value, which, device) };
    ok("cuDeviceGetAttribute", code)?;
    Ok(value)
}
