//! Between the block pool and what peers read: nothing, or blocks packed as CPU_ATTN does.

use super::checksum::{Checksum, checksum};
use super::connector::Codec;
use super::layout::{BlockShape, pack, unpack};
use super::staging;
use crate::config::CpuAttnIsa;
use crate::types::{BlockId, KvLane, KvMemory, KvPiece, KvPlace, KvRegion};
use std::cell::UnsafeCell;
use std::sync::Arc;
use std::time::Duration;

/// The connector waits for a way to a device's memory so long.
const PATIENCE: Duration = Duration::from_millis(100);

/// The pool's own blocks are read.
pub struct Plain {
    pool: KvMemory,
    /// To the blocks of a device, kept once it was needed.
    lane: Option<Box<dyn KvLane>>,
}

impl Plain {
    /// Of this pool.
    pub fn new(pool: KvMemory) -> Self {
        Self { pool, lane: None }
    }

    fn sum_through(&mut self, lane: &mut dyn KvLane, block: BlockId) -> Result<u64, String> {
        let mut sum = Checksum::default();
        let pieces = self
            .pool
            .regions
            .iter()
            .map(|region| KvPiece { address: region.block_address(block), len: region.block_len });
        let add = |bytes: &[u8]| {
            sum.add(bytes);
            Ok(())
        };
        staging::fetch(lane, pieces, add).map_err(|error| error.to_string())?;
        Ok(sum.finish())
    }
}

impl Codec for Plain {
    fn export(&mut self, _: &[BlockId]) {}

    fn import(&mut self, _: &[BlockId]) {}

    fn checksum(&mut self, block: BlockId) -> Result<u64, String> {
        let Some(copies) = &self.pool.copies else { return Ok(sum(&self.pool, block)) };
        let mut lane = match self.lane.take() {
            Some(lane) => lane,
            None => copies.clone().lane(PATIENCE)?,
        };
        let sum = self.sum_through(&mut *lane, block);
        self.lane = Some(lane);
        sum
    }
}

/// Memory of the pool's shape whose blocks hold those of the pool in another layout: block for
/// block, so that a block has one number everywhere. It is committed as it is used.
pub struct Packed {
    pool: KvMemory,
    packed: KvMemory,
    isa: CpuAttnIsa,
    shape: BlockShape,
}

impl Packed {
    /// Beside a pool of blocks of `shape`, in the host's memory.
    pub fn new(pool: KvMemory, isa: CpuAttnIsa, shape: BlockShape) -> Self {
        let words = |region: &KvRegion| region.num_blocks * shape.len();
        let total: usize = pool.regions.iter().map(words).sum();
        // Zeroed memory comes as pages that nobody has touched.
        let memory: Arc<[Word]> = zeroed(total);
        let mut address = memory.as_ptr() as u64;
        let block_len = shape.len() * size_of::<u16>();
        let regions = pool.regions.iter().map(|region| {
            let num_blocks = region.num_blocks;
            let place = KvPlace::Main;
            let region = KvRegion { place, address, block_len, stride: block_len, num_blocks };
            address += region.len() as u64;
            region
        });
        let packed = KvMemory::of_host(regions.collect(), Arc::new(memory));
        Self { pool, packed, isa, shape }
    }

    /// What peers read.
    pub fn memory(&self) -> KvMemory {
        self.packed.clone()
    }

    /// The block in each pair of regions: the pool's and the packed one's.
    fn pairs(&self, block: BlockId) -> impl Iterator<Item = (u64, u64)> {
        let pairs = self.pool.regions.iter().zip(&self.packed.regions);
        pairs.map(move |(pool, packed)| (pool.block_address(block), packed.block_address(block)))
    }
}

impl Codec for Packed {
    fn export(&mut self, blocks: &[BlockId]) {
        let len = self.shape.len();
        for (pool, packed) in blocks.iter().flat_map(|&block| self.pairs(block)) {
            // SAFETY: a block that is leased is not written to in the pool, and only this thread
            // writes packed blocks; a peer that reads one meanwhile reads the same bytes.
            let (from, to) = unsafe { (words(pool, len), words_mut(packed, len)) };
            pack(self.isa, self.shape, from, to);
        }
    }

    fn import(&mut self, blocks: &[BlockId]) {
        let len = self.shape.len();
        for (pool, packed) in blocks.iter().flat_map(|&block| self.pairs(block)) {
            // SAFETY: the blocks were given for this pull, which has ended: nobody else uses
            // either of them.
            let (from, to) = unsafe { (words(packed, len), words_mut(pool, len)) };
            unpack(self.isa, self.shape, from, to);
        }
    }

    fn checksum(&mut self, block: BlockId) -> Result<u64, String> {
        Ok(sum(&self.packed, block))
    }
}

/// An element that others may write to through its address.
#[repr(transparent)]
struct Word(#[allow(dead_code, reason = "reached by its address")] UnsafeCell<u16>);

// SAFETY: only ever reached through addresses; who does says why it is alone.
unsafe impl Sync for Word {}
// SAFETY: a number.
unsafe impl Send for Word {}

fn zeroed(len: usize) -> Arc<[Word]> {
    // SAFETY: zero is a value of every element.
    unsafe { Arc::new_zeroed_slice(len).assume_init() }
}

/// # Safety
/// `len` elements at an address that stay as they are while the slice lives.
unsafe fn words<'a>(address: u64, len: usize) -> &'a [u16] {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(address as *const u16, len) }
}

/// # Safety
/// `len` elements at an address that nobody else uses while the slice lives.
unsafe fn words_mut<'a>(address: u64, len: usize) -> &'a mut [u16] {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts_mut(address as *mut u16, len) }
}

/// Of a block in the host's memory.
fn sum(memory: &KvMemory, block: BlockId) -> u64 {
    checksum(memory.regions.iter().map(|region| {
        let start = region.block_address(block) as *const u8;
        // SAFETY: a leased block, or one that a pull has just filled: nobody writes to it.
        unsafe { std::slice::from_raw_parts(start, region.block_len) }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_was_packed_and_unpacked_is_as_it_was() {
        let shape = BlockShape { kv_heads: 2, tokens: 32, head_dim: 32 };
        let words: Arc<[Word]> = zeroed(3 * shape.len());
        let block_len = shape.len() * 2;
        let address = words.as_ptr() as u64;
        let place = KvPlace::Main;
        let region = KvRegion { place, address, block_len, stride: block_len, num_blocks: 3 };
        let pool = KvMemory::of_host(vec![region], Arc::new(words));
        // SAFETY: the test's own memory.
        let block = unsafe { words_mut(region.block_address(1), shape.len()) };
        (0u16..).zip(block.iter_mut()).for_each(|(i, word)| *word = i.wrapping_mul(31));
        let before = block.to_vec();
        let mut packed = Packed::new(pool, CpuAttnIsa::Vec, shape);
        packed.export(&[1]);
        assert_ne!(packed.checksum(1), packed.checksum(0));
        block.fill(0);
        packed.import(&[1]);
        assert_eq!(block, before);
    }
}
