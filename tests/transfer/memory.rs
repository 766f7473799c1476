//! Memory that transports read from and write to behind the compiler's back.

use glassbox::types::{BlockId, KvMemory, KvPlace, KvRegion};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::sync::Arc;

/// A pool, as regions of blocks.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub regions: usize,
    pub blocks: usize,
    pub block_len: usize,
    /// Bytes between blocks that belong to none.
    pub gap: usize,
    /// Bytes between regions.
    pub apart: usize,
}

impl Shape {
    pub const fn plain(regions: usize, blocks: usize, block_len: usize) -> Self {
        Self { regions, blocks, block_len, gap: 0, apart: 0 }
    }

    fn region_len(self) -> usize {
        self.blocks * (self.block_len + self.gap) + self.apart
    }
}

/// Bytes that are touched only through pointers.
pub struct Memory {
    start: *mut u8,
    layout: Layout,
    shape: Shape,
}

// SAFETY: the bytes are the allocation's own. Whoever uses one of them while a transport does too
// is a test that is wrong.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// All zeros, on huge pages where it is large and the system has them.
    pub fn new(shape: Shape) -> Arc<Self> {
        let len = shape.regions * shape.region_len();
        let align = if len >= 2 << 20 { 2 << 20 } else { 4096 };
        let layout = Layout::from_size_align(len.max(1), align).expect("a size");
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        // SAFETY: advice about memory that is ours.
        unsafe { libc::madvise(start.cast(), len, libc::MADV_HUGEPAGE) };
        Arc::new(Self { start, layout, shape })
    }

    pub fn regions(&self) -> Vec<KvRegion> {
        let Shape { regions, blocks, block_len, gap, .. } = self.shape;
        let start = self.start.expose_provenance() as u64;
        let region = |i: usize| KvRegion {
            place: KvPlace::Main,
            address: start + (i * self.shape.region_len()) as u64,
            block_len,
            stride: block_len + gap,
            num_blocks: blocks,
        };
        (0..regions).map(region).collect()
    }

    pub fn kv(self: &Arc<Self>) -> KvMemory {
        KvMemory::of_host(self.regions(), self.clone())
    }

    /// Fills all of it with bytes that `seed` decides.
    pub fn fill(&self, seed: u64) {
        for at in 0..self.layout.size() {
            let mixed = (seed ^ at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            // SAFETY: within the allocation.
            unsafe { self.start.add(at).write((mixed >> 56) as u8) };
        }
    }

    /// A copy of all of it.
    pub fn bytes(&self) -> Vec<u8> {
        let mut copy = vec![0; self.layout.size()];
        // SAFETY: as long as the allocation.
        unsafe { self.start.copy_to(copy.as_mut_ptr(), copy.len()) };
        copy
    }

    /// Where a block is in [`Memory::bytes`].
    pub fn range(&self, region: usize, block: BlockId) -> std::ops::Range<usize> {
        let Shape { block_len, gap, .. } = self.shape;
        let start = region * self.shape.region_len() + block as usize * (block_len + gap);
        start..start + block_len
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: made in `new`, with this layout.
        unsafe { dealloc(self.start, self.layout) };
    }
}
