//! The GPU as the rest of the program knows it.

use super::driver::{Device, Missing};
use std::fmt;
use std::sync::Arc;

/// An opened GPU.
#[derive(Clone, Debug)]
pub struct Gpu(Arc<Device>);

impl Gpu {
    /// Opens the first GPU (of those that `CUDA_VISIBLE_DEVICES` shows).
    ///
    /// # Errors
    /// Why there is none that can be used.
    pub fn open() -> Result<Self, Missing> {
        Device::open().map(Self)
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Bytes that are free and bytes that there are.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn memory(&self) -> Result<(u64, u64), Missing> {
        self.0.bind()?;
        Ok(self.0.memory()?)
    }

    pub(super) fn device(&self) -> &Arc<Device> {
        &self.0
    }

    /// Bytes of shared memory that a block may have.
    pub(super) fn block_shared(&self) -> usize {
        self.0.block_shared as usize
    }

    /// Streaming multiprocessors.
    pub(super) fn processors(&self) -> usize {
        self.0.processors as usize
    }
}

impl fmt::Display for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Device { name, capability: (major, minor), driver, processors, .. } = &*self.0;
        write!(
            f,
            "{name} (compute capability {major}.{minor}, {processors} multiprocessors, driver for \
             CUDA {}.{})",
            driver / 1000,
            driver % 1000 / 10
        )
    }
}
