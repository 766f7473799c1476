//! Sequences and their blocks: growing a block table, finding a cached prefix, storing what has
//! been computed.

use super::changes::{Changes, Owner, Since};
use super::hash::{BlockHasher, ExtraKey};
use super::pool::BlockPool;
use super::residency::Residency;
use crate::types::{BlockHash, BlockId, KvEvent, Moment, Token};

/// The blocks of one sequence.
#[derive(Debug, Default)]
pub struct SequenceBlocks {
    /// The block table: block `i` holds positions `i * block_size..(i + 1) * block_size`.
    table: Vec<BlockId>,
    /// Hashes of the sequence's full blocks, as far as they were needed.
    hashes: Vec<BlockHash>,
    /// How many leading blocks of `table` are in the prefix index.
    stored: usize,
}

impl SequenceBlocks {
    /// The block table.
    pub fn table(&self) -> &[BlockId] {
        &self.table
    }
}

/// The block pool together with the rules of prefix caching.
pub struct KvCache {
    pool: BlockPool,
    block_size: usize,
    /// `None` when prefix caching is off.
    hasher: Option<BlockHasher>,
    /// `None` when nobody wants to know.
    changes: Option<Changes>,
    /// `None` when nobody wants to know.
    residency: Option<Residency>,
}

impl KvCache {
    /// A cache of free blocks. Without a hasher nothing is ever shared.
    pub fn new(num_blocks: usize, block_size: usize, hasher: Option<BlockHasher>) -> Self {
        let pool = BlockPool::new(num_blocks);
        Self { pool, block_size, hasher, changes: None, residency: None }
    }

    /// Notes changes of the prefix index from now on.
    pub fn note_changes(&mut self) {
        self.changes = Some(Changes::default());
    }

    /// Measures how long blocks keep what they hold, from now on.
    pub fn measure_residency(&mut self, residency: Residency) {
        self.residency = Some(residency);
    }

    /// A step begins.
    pub fn begin_step(&mut self, now: Moment) {
        if let Some(residency) = &mut self.residency {
            residency.set_now(now);
        }
    }

    /// What changed since the last call, in order; nothing unless changes are noted.
    pub fn take_changes(&mut self) -> Vec<KvEvent> {
        self.changes.as_mut().map(Changes::take).unwrap_or_default()
    }

    /// Tokens in a block.
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// The pool, to look at.
    pub fn pool(&self) -> &BlockPool {
        &self.pool
    }

    /// Whether prefixes are shared at all.
    pub fn shares_prefixes(&self) -> bool {
        self.hasher.is_some()
    }

    /// How many leading blocks of `tokens` are cached, at most `limit` of them.
    pub fn find_prefix(
        &mut self,
        blocks: &mut SequenceBlocks,
        tokens: &[Token],
        salt: Option<&str>,
        limit: usize,
    ) -> usize {
        self.hash_up_to(blocks, tokens, salt, limit);
        let found = blocks.hashes.iter().take(limit);
        found.take_while(|hash| self.pool.lookup(hash).is_some()).count()
    }

    /// Blocks that must be taken from the free list for a table-less sequence of `tokens` tokens
    /// whose first `cached` blocks are hits: the rest, and the hits that are free now.
    pub fn blocks_needed(&self, blocks: &SequenceBlocks, cached: usize, tokens: usize) -> usize {
        let hits = blocks.hashes[..cached].iter().filter_map(|hash| self.pool.lookup(hash));
        tokens.div_ceil(self.block_size) - cached + hits.filter(|&b| self.pool.is_free(b)).count()
    }

    /// Starts a sequence's table with its first `cached` blocks, which must be in the index.
    pub fn take_prefix(&mut self, blocks: &mut SequenceBlocks, cached: usize) {
        debug_assert!(blocks.table.is_empty());
        for hash in &blocks.hashes[..cached] {
            let block = self.pool.lookup(hash).expect("the prefix was found in this step");
            self.pool.hold(block);
            blocks.table.push(block);
            if let Some(residency) = &mut self.residency {
                residency.used(block);
            }
        }
        blocks.stored = cached;
    }

    /// Grows the table to hold `tokens` tokens. Changes nothing when the free blocks do not
    /// suffice.
    #[must_use]
    pub fn grow(&mut self, blocks: &mut SequenceBlocks, tokens: usize) -> bool {
        let wanted = tokens.div_ceil(self.block_size);
        let more = wanted.saturating_sub(blocks.table.len());
        if more > self.pool.num_free() {
            return false;
        }
        for _ in 0..more {
            let (block, gone) = self.pool.allocate().expect("counted above");
            blocks.table.push(block);
            if let Some(residency) = &mut self.residency {
                if self.hasher.is_some() {
                    residency.evicted(block);
                }
                residency.allocated(block);
            }
            if let (Some(changes), Some(gone)) = (&mut self.changes, gone) {
                changes.removed(gone);
            }
        }
        true
    }

    /// Puts the blocks that are full once `computed` tokens have been computed into the prefix
    /// index, parents first.
    pub fn store_computed(
        &mut self,
        blocks: &mut SequenceBlocks,
        tokens: &[Token],
        owner: Owner<'_>,
        computed: usize,
    ) {
        let full = computed / self.block_size;
        if self.hasher.is_none() || full <= blocks.stored {
            return;
        }
        self.hash_up_to(blocks, tokens, owner.salt.map(|salt| &**salt), full);
        // Blocks that another sequence has stored already are no news, and part the others.
        let mut news = blocks.stored;
        for i in blocks.stored..full {
            if !self.pool.store(blocks.table[i], blocks.hashes[i]) {
                self.tell(blocks, tokens, owner, (news, i), Since::Now);
                news = i + 1;
            }
        }
        self.tell(blocks, tokens, owner, (news, full), Since::Now);
        blocks.stored = full;
    }

    /// Tells that a sequence uses its first `cached` blocks, which were there before.
    pub fn report_reuse(
        &mut self,
        blocks: &SequenceBlocks,
        tokens: &[Token],
        owner: Owner<'_>,
        cached: usize,
    ) {
        self.tell(blocks, tokens, owner, (0, cached), Since::Before);
    }

    fn tell(
        &mut self,
        blocks: &SequenceBlocks,
        tokens: &[Token],
        owner: Owner<'_>,
        (from, to): (usize, usize),
        since: Since,
    ) {
        if let Some(changes) = self.changes.as_mut().filter(|_| from < to) {
            changes.stored(&blocks.hashes, (from, to), tokens, self.block_size, owner, since);
        }
    }

    /// Lets go of all blocks of a sequence: the end of a prefix is reused before its beginning,
    /// and what was not stored before all else, its end first. Its hashes stay, for when it starts
    /// again.
    pub fn release(&mut self, blocks: &mut SequenceBlocks) {
        let (stored, others) = blocks.table.split_at(blocks.stored);
        others.iter().chain(stored.iter().rev()).for_each(|&block| self.pool.release(block));
        blocks.table.clear();
        blocks.stored = 0;
    }

    /// Lets go of the blocks behind those that hold the first `tokens` tokens.
    pub fn shrink(&mut self, blocks: &mut SequenceBlocks, tokens: usize) {
        let kept = tokens.div_ceil(self.block_size);
        debug_assert!(blocks.stored <= kept, "what is stored was computed");
        blocks.table.drain(kept..).for_each(|block| self.pool.release(block));
    }

    /// Forgets all content. Refused while any block is held.
    pub fn reset(&mut self) -> bool {
        let is_empty = self.pool.reset();
        if let Some(changes) = self.changes.as_mut().filter(|_| is_empty) {
            changes.clear();
        }
        if let Some(residency) = self.residency.as_mut().filter(|_| is_empty) {
            residency.reset();
        }
        is_empty
    }

    fn hash_up_to(
        &mut self,
        blocks: &mut SequenceBlocks,
        tokens: &[Token],
        salt: Option<&str>,
        count: usize,
    ) {
        let Some(hasher) = &mut self.hasher else { return };
        for i in blocks.hashes.len()..count {
            let parent = blocks.hashes.last().copied();
            let extra: &[ExtraKey] = match salt {
                Some(salt) if i == 0 && !salt.is_empty() => &[ExtraKey::CacheSalt(salt)],
                _ => &[],
            };
            let tokens = &tokens[i * self.block_size..(i + 1) * self.block_size];
            blocks.hashes.push(hasher.block(parent, tokens, extra));
        }
    }

    /// Checks the pool against all sequences that hold blocks, and every stored block's hash
    /// against the tokens that its holder says it holds. For simulations.
    ///
    /// # Panics
    /// Saying what is broken.
    pub fn check<'a>(&self, sequences: impl Iterator<Item = &'a SequenceBlocks>) {
        let mut holders = vec![0; self.pool.num_blocks()];
        for blocks in sequences {
            blocks.table.iter().for_each(|&block| holders[block as usize] += 1);
            assert!(blocks.stored <= blocks.table.len(), "only held blocks are stored");
            for (i, &block) in blocks.table.iter().enumerate() {
                let expected = (i < blocks.stored).then(|| blocks.hashes[i]);
                assert_eq!(self.pool.hash(block), expected, "entry {i} of a block table");
            }
        }
        self.pool.check(&holders);
    }
}
