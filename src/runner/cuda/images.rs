//! The compiled kernels and their names.

use super::driver::{Device, Failure, Function, Module};
use super::error::CudaError;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

// `FATBINS: &[(&str, &[u8])]`, written by `kernels/build.rs`: none without the feature `cuda`.
include!(concat!(env!("OUT_DIR"), "/fatbins.rs"));

/// Names a folder with other images (`*.fatbin`) than those of the program, for work on kernels.
pub const KERNELS_VARIABLE: &str = "GLASSBOX_KERNELS";

/// Whether there is anything to run on a GPU.
pub fn are_built_in() -> bool {
    !FATBINS.is_empty() || std::env::var_os(KERNELS_VARIABLE).is_some()
}

/// All images, loaded. Kernels are looked up by name in any of them.
#[derive(Debug)]
pub(super) struct Images {
    modules: Vec<Module>,
    device: Arc<Device>,
}

impl Images {
    /// Loads the images in `folder`, or in that which [`KERNELS_VARIABLE`] names, or else those of
    /// the program.
    pub fn load(device: &Arc<Device>, folder: Option<&Path>) -> Result<Self, CudaError> {
        let load = |name: &str, image: &[u8]| {
            Module::load(device, image).map_err(|error| missing(device, format!("{name}: {error}")))
        };
        let named = std::env::var_os(KERNELS_VARIABLE).map(PathBuf::from);
        let modules = match folder.or(named.as_deref()) {
            Some(folder) => files(folder)
                .map_err(|error| missing(device, format!("{}: {error}", folder.display())))?
                .iter()
                .map(|(name, image)| load(name, image))
                .collect::<Result<Vec<_>, _>>()?,
            None => {
                FATBINS.iter().map(|(name, image)| load(name, image)).collect::<Result<_, _>>()?
            }
        };
        if modules.is_empty() {
            let reason = "it was built without the feature cuda";
            return Err(missing(device, reason.to_owned()));
        }
        Ok(Self { modules, device: device.clone() })
    }

    /// The kernel `name`, which may use `shared` bytes of dynamic shared memory.
    pub fn kernel(&self, name: &'static CStr, shared: usize) -> Result<Function, CudaError> {
        let most = self.device.block_shared as usize;
        if shared > most {
            let reason = format!(
                "{} takes {shared} bytes of shared memory, of which a block may have {most}",
                name.to_string_lossy()
            );
            return Err(missing(&self.device, reason));
        }
        let mut last = None;
        for module in &self.modules {
            match module.function(name, shared as u32) {
                Ok(function) => return Ok(function),
                Err(failure) if failure.is_not_found() => last = Some(failure),
                Err(failure) => return Err(failure.into()),
            }
        }
        let reason = last.as_ref().map_or_else(|| "no images".to_owned(), Failure::to_string);
        Err(missing(&self.device, reason))
    }
}

fn missing(device: &Device, reason: String) -> CudaError {
    CudaError::Kernels { name: device.name.clone(), capability: device.capability, reason }
}

/// The images in `folder`, by name.
fn files(folder: &Path) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "fatbin") {
            files.push((path.display().to_string(), std::fs::read(&path)?));
        }
    }
    files.sort();
    Ok(files)
}
