//! The block pool: reference counts, the free list, and which block holds which hash.

use super::free_list::FreeList;
use crate::types::{BlockHash, BlockId};
use std::collections::HashMap;

/// All KV blocks of the process. Blocks are never copied, so two blocks may hold the same hash:
/// two prompts that were computed side by side. Each of them can serve a later hit.
#[derive(Debug)]
pub struct BlockPool {
    references: Vec<u32>,
    hashes: Vec<Option<BlockHash>>,
    free: FreeList,
    /// The blocks that hold a hash, first stored first.
    cached: HashMap<BlockHash, Holders>,
}

/// Nearly always one block.
#[derive(Debug)]
struct Holders {
    first: BlockId,
    others: Vec<BlockId>,
}

impl BlockPool {
    /// A pool of `num_blocks` free blocks.
    pub fn new(num_blocks: usize) -> Self {
        Self {
            references: vec![0; num_blocks],
            hashes: vec![None; num_blocks],
            free: FreeList::full(num_blocks),
            cached: HashMap::with_capacity(num_blocks),
        }
    }

    /// Blocks in all.
    pub fn num_blocks(&self) -> usize {
        self.references.len()
    }

    /// Blocks that no sequence holds, cached ones included.
    pub fn num_free(&self) -> usize {
        self.free.len()
    }

    /// Whether nobody holds `block`.
    pub fn is_free(&self, block: BlockId) -> bool {
        self.references[block as usize] == 0
    }

    /// A block for new content, held once. A free one that nobody can hit, or else the least
    /// recently used; what it held is forgotten, and named when no other block holds it. `None`
    /// when all blocks are held.
    pub fn allocate(&mut self) -> Option<(BlockId, Option<BlockHash>)> {
        let block = self.free.pop_front()?;
        let gone = self.forget(block);
        self.references[block as usize] = 1;
        Some((block, gone))
    }

    /// A block that holds this content.
    pub fn lookup(&self, hash: &BlockHash) -> Option<BlockId> {
        self.cached.get(hash).map(|holders| holders.first)
    }

    /// Holds a cached block once more.
    pub fn hold(&mut self, block: BlockId) {
        if self.is_free(block) {
            self.free.remove(block);
        }
        self.references[block as usize] += 1;
    }

    /// Lets go of a block. The last one to do so makes it free: a block that can be hit is reused
    /// after all that are free already, any other before them.
    pub fn release(&mut self, block: BlockId) {
        let references = &mut self.references[block as usize];
        *references = references.checked_sub(1).expect("a block is released by a holder");
        if *references == 0 {
            match self.hashes[block as usize] {
                Some(_) => self.free.push_back(block),
                None => self.free.push_front(block),
            }
        }
    }

    /// Notes that a held block is full and holds `hash`. Called when the step that computes its KV
    /// is certain. False when another block holds the same already.
    pub fn store(&mut self, block: BlockId, hash: BlockHash) -> bool {
        debug_assert!(!self.is_free(block) && self.hashes[block as usize].is_none());
        self.hashes[block as usize] = Some(hash);
        match self.cached.get_mut(&hash) {
            Some(holders) => {
                holders.others.push(block);
                false
            }
            None => {
                self.cached.insert(hash, Holders { first: block, others: Vec::new() });
                true
            }
        }
    }

    /// Forgets all content. Refused while any block is held.
    pub fn reset(&mut self) -> bool {
        if self.num_free() != self.num_blocks() {
            return false;
        }
        self.hashes.fill(None);
        self.cached.clear();
        true
    }

    /// Returns what nobody holds any more.
    fn forget(&mut self, block: BlockId) -> Option<BlockHash> {
        let hash = self.hashes[block as usize].take()?;
        let holders = self.cached.get_mut(&hash).expect("a hashed block is in the index");
        if holders.first != block {
            holders.others.retain(|&other| other != block);
        } else if holders.others.is_empty() {
            self.cached.remove(&hash);
            return Some(hash);
        } else {
            holders.first = holders.others.remove(0);
        }
        None
    }

    /// All that is cached.
    pub fn cached(&self) -> impl Iterator<Item = &BlockHash> {
        self.cached.keys()
    }

    /// The hash that a block holds.
    pub fn hash(&self, block: BlockId) -> Option<BlockHash> {
        self.hashes[block as usize]
    }

    /// Checks everything that must always be true, given how often each block is held by
    /// sequences. For simulations: linear in the pool.
    ///
    /// # Panics
    /// Saying what is broken.
    pub fn check(&self, holders: &[u32]) {
        assert_eq!(self.references, holders, "reference counts are the number of holders");
        let mut on_list = vec![false; self.num_blocks()];
        for block in self.free.iter() {
            assert!(!std::mem::replace(&mut on_list[block as usize], true), "free twice: {block}");
        }
        for (block, &references) in self.references.iter().enumerate() {
            assert_eq!(on_list[block], references == 0, "block {block} is free or held, not both");
        }
        assert_eq!(self.free.iter().count(), self.free.len(), "the free list's length");
        let indexed: usize = self.cached.values().map(|holders| 1 + holders.others.len()).sum();
        assert_eq!(indexed, self.hashes.iter().flatten().count(), "each hashed block is indexed");
        for (hash, holders) in &self.cached {
            for &block in std::iter::once(&holders.first).chain(&holders.others) {
                assert_eq!(self.hashes[block as usize], Some(*hash), "the index is right");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hash::BlockHasher;
    use super::*;
    use crate::types::HashAlgo;

    fn hash(n: u32) -> BlockHash {
        BlockHasher::new(HashAlgo::Xxhash, Some("0")).block(None, &[n], &[])
    }

    #[test]
    fn hands_out_what_nobody_can_hit_and_then_the_least_recently_used() {
        let mut pool = BlockPool::new(5);
        let blocks: Vec<_> = (0..5).map(|_| pool.allocate().unwrap().0).collect();
        assert_eq!(blocks, [0, 1, 2, 3, 4]);
        assert_eq!(pool.allocate(), None);
        assert!(pool.store(0, hash(0)) && pool.store(1, hash(1)));
        [1, 3, 0, 2].into_iter().for_each(|block| pool.release(block));
        let again: Vec<_> = (0..4).filter_map(|_| pool.allocate()).collect();
        assert_eq!(again, [(2, None), (3, None), (1, Some(hash(1))), (0, Some(hash(0)))]);
        pool.check(&[1; 5]);
    }

    #[test]
    fn a_hit_takes_a_block_back_and_reuse_forgets_it() {
        let mut pool = BlockPool::new(2);
        let (block, _) = pool.allocate().unwrap();
        assert!(pool.store(block, hash(7)));
        pool.release(block);
        assert_eq!(pool.lookup(&hash(7)), Some(block));
        pool.hold(block);
        assert_eq!(pool.num_free(), 1);
        pool.release(block);
        // The other block was free for longer; the second allocation takes the cached one.
        assert_ne!(pool.allocate().map(|(other, _)| other), Some(block));
        assert_eq!(pool.allocate(), Some((block, Some(hash(7)))));
        assert_eq!(pool.lookup(&hash(7)), None);
        pool.check(&[1, 1]);
    }

    #[test]
    fn the_same_content_twice_is_found_until_both_are_gone() {
        let mut pool = BlockPool::new(2);
        for is_first in [true, false] {
            let (block, _) = pool.allocate().unwrap();
            assert_eq!(pool.store(block, hash(7)), is_first);
        }
        pool.release(0);
        pool.check(&[0, 1]);
        assert_eq!(pool.allocate(), Some((0, None)), "the other copy is still there");
        assert_eq!(pool.lookup(&hash(7)), Some(1));
        assert!(!pool.reset());
        pool.release(0);
        pool.release(1);
        assert!(pool.reset());
        assert_eq!(pool.lookup(&hash(7)), None);
        pool.check(&[0, 0]);
    }
}
