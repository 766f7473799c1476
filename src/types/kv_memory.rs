//! Where KV lies, and how other threads than the engine's come to it.

use super::BlockId;
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What an address is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvPlace {
    /// The host's memory: of a local region, what an address names can be read and written.
    Main,
    /// A GPU's, by the number that its own process knows it by. The host must not follow such an
    /// address.
    Gpu(u32),
}

/// One region of KV memory: a layer of a contiguous `[num_blocks][block_len]` array. The address
/// is of this process, or of the peer that the region was learnt from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvRegion {
    pub place: KvPlace,
    pub address: u64,
    /// Bytes of one block.
    pub block_len: usize,
    /// Bytes from one block to the next; at least `block_len`.
    pub stride: usize,
    pub num_blocks: usize,
}

impl KvRegion {
    /// Where a block is.
    ///
    /// # Panics
    /// When the region has no such block.
    pub fn block_address(&self, block: BlockId) -> u64 {
        assert!((block as usize) < self.num_blocks, "block {block} of {}", self.num_blocks);
        self.address + block as u64 * self.stride as u64
    }

    /// Bytes from the first block to the end of the last.
    pub fn len(&self) -> usize {
        self.num_blocks * self.stride
    }

    /// Whether it has no blocks.
    pub fn is_empty(&self) -> bool {
        self.num_blocks == 0
    }
}

/// A stretch of KV memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvPiece {
    pub address: u64,
    pub len: usize,
}

/// The KV pool of a backend, layer by layer, and what keeps it mapped.
#[derive(Clone)]
pub struct KvMemory {
    /// Layer 0 first. All of one shape, in one place.
    pub regions: Vec<KvRegion>,
    /// How the host comes to what lies there; `None`: by its addresses.
    pub copies: Option<Arc<dyn KvCopies>>,
    /// Who may be asked for the memory as long as this lives.
    pub owner: Arc<dyn Any + Send + Sync>,
}

impl KvMemory {
    /// Of the host, at these addresses.
    pub fn of_host(regions: Vec<KvRegion>, owner: Arc<dyn Any + Send + Sync>) -> Self {
        Self { regions, copies: None, owner }
    }

    /// Makes the device that the memory is of, if it is of one, the calling thread's: libraries
    /// that are told of such addresses ask for it.
    ///
    /// # Errors
    /// What the device says.
    pub fn bind(&self) -> Result<(), String> {
        self.copies.as_ref().map_or(Ok(()), |copies| copies.bind())
    }
}

impl fmt::Debug for KvMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvMemory").field("regions", &self.regions).finish_non_exhaustive()
    }
}

/// Copies between the KV memory of a device and the host, apart from the device's own work: a copy
/// sees what the device had finished when it was asked for, and what it brings is there once it was
/// waited for. Called by any thread.
pub trait KvCopies: Send + Sync {
    /// Makes the device the calling thread's.
    ///
    /// # Errors
    /// What the device says.
    fn bind(&self) -> Result<(), String>;

    /// A way to copy. There are only so many, since each has memory of the host that cannot be
    /// swapped out: waits up to `patience` until one is free.
    ///
    /// # Errors
    /// What the device says, or that none became free.
    fn lane(self: Arc<Self>, patience: Duration) -> Result<Box<dyn KvLane>, String>;
}

/// A way to copy, with two buffers of the host: one is used by the host while the other is copied.
/// Dropping it waits until nothing is copied any more.
pub trait KvLane: Send {
    /// Buffer 0 or 1, once nothing is copied from or to it.
    ///
    /// # Errors
    /// A copy failed: what the device says.
    fn buffer(&mut self, which: usize) -> Result<&mut [u8], String>;

    /// Begins to copy `pieces` of the pool, one after the other, to the start of a buffer.
    ///
    /// # Errors
    /// What the device says.
    ///
    /// # Panics
    /// When a piece is not of the pool, or the buffer is too small.
    fn fetch(&mut self, which: usize, pieces: &[KvPiece]) -> Result<(), String>;

    /// Begins to copy the start of a buffer to `pieces` of the pool, one after the other.
    ///
    /// # Errors
    /// What the device says.
    ///
    /// # Panics
    /// As [`KvLane::fetch`].
    fn store(&mut self, which: usize, pieces: &[KvPiece]) -> Result<(), String>;
}
