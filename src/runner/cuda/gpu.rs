//! The GPU as the rest of the program knows it.

use super::driver::{Arena, Device, Event, Failure, Missing, Span, Stream};
use std::fmt;
use std::sync::Arc;

/// Bytes that are copied to find how fast that is.
const COPIED: usize = 1 << 30;

/// Bytes of a block's shared memory that are the driver's from 9.0 on. A kernel's own static ones
/// may count them, and with the dynamic ones they may not be more than there are.
const DRIVERS_SHARED: usize = 1 << 10;

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

    /// Bytes a second of copies on the device, those that are read and those that are written added
    /// up: the best of `rounds`, of a part that is far more than caches hold, where there is memory
    /// for two of them.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn copy_rate(&self, rounds: usize) -> Result<f64, Missing> {
        self.0.bind()?;
        let (free, _) = self.0.memory()?;
        let len = COPIED.min(free as usize / 4);
        Ok(self.time_copies(len, rounds)?)
    }

    fn time_copies(&self, len: usize, rounds: usize) -> Result<f64, Failure> {
        let arena = Arena::new(&self.0, 2 * len + 512)?;
        let [from, to]: [Span<u8>; 2] = arena.cut(|plan| [plan.take(len), plan.take(len)]);
        let stream = Stream::new(&self.0)?;
        let (begin, end) = (Event::new(&self.0)?, Event::new(&self.0)?);
        stream.clear(from)?;
        let mut best = f64::INFINITY;
        // The first one is not counted: the device wakes up.
        for round in 0..=rounds {
            begin.record(&stream)?;
            stream.copy(from, to)?;
            end.record(&stream)?;
            end.wait()?;
            if round > 0 {
                best = best.min(end.since(&begin)?.as_secs_f64());
            }
        }
        Ok(2.0 * len as f64 / best)
    }

    pub(super) fn device(&self) -> &Arc<Device> {
        &self.0
    }

    /// Bytes of shared memory that a block may ask for.
    pub(super) fn block_shared(&self) -> usize {
        self.0.block_shared as usize - DRIVERS_SHARED
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
