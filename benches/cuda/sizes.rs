//! How much is measured.

use glassbox::runner::Limits;

/// Batches, contexts and prompts.
pub struct Sizes {
    /// Tokens of a block.
    pub block_size: usize,
    /// Tokens before those that are decoded.
    pub context: usize,
    /// Sequences that are decoded together.
    pub batches: Vec<usize>,
    /// Steps that are not timed, and steps that are.
    pub warm: usize,
    pub decoded: usize,
    /// Tokens of prompts.
    pub prompts: Vec<usize>,
    /// Rows of a step.
    pub rows: Vec<usize>,
    /// Rows that each tiled product is tried with.
    pub tried_rows: Vec<usize>,
    /// Sequences and contexts of single rows.
    pub singles: Vec<(usize, usize)>,
    /// Seconds of one timing, and how many of them the best is taken of.
    pub seconds: f64,
    pub rounds: usize,
    /// Copies of a measurement of the memory.
    pub copies: usize,
}

impl Sizes {
    pub fn full() -> Self {
        Self {
            block_size: 16,
            context: 1024,
            batches: vec![1, 8, 32, 128, 256],
            warm: 8,
            decoded: 64,
            prompts: vec![1024, 4096, 8192],
            rows: vec![1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192],
            tried_rows: vec![64, 128, 256, 512, 2048, 8192],
            singles: vec![(1, 1024), (1, 8192), (32, 1024), (32, 8192), (256, 1024)],
            seconds: 0.01,
            rounds: 3,
            copies: 20,
        }
    }

    /// So little that the emulated device does it in seconds.
    pub fn smoke() -> Self {
        Self {
            block_size: 16,
            context: 20,
            batches: vec![1, 3],
            warm: 1,
            decoded: 2,
            prompts: vec![24],
            rows: vec![1, 9, 33],
            tried_rows: vec![33],
            singles: vec![(2, 20)],
            seconds: 0.0,
            rounds: 1,
            copies: 1,
        }
    }

    /// What a backend must hold for all of it.
    pub fn limits(&self, vocab_size: usize) -> Limits {
        let most = |sizes: &[usize]| sizes.iter().copied().max().unwrap_or(1);
        let decoded = self.context + self.warm + self.decoded;
        let tokens = most(&self.prompts).max(most(&self.rows)).max(most(&self.tried_rows));
        let seqs = self.singles.iter().map(|(seqs, _)| *seqs).max().unwrap_or(1);
        let longest = self.singles.iter().map(|(_, context)| *context).max().unwrap_or(1);
        let blocks = |tokens: usize| tokens.div_ceil(self.block_size);
        let alone = self.singles.iter().map(|(seqs, context)| seqs * blocks(*context));
        let num_blocks = most(&self.batches) * blocks(decoded);
        Limits {
            max_tokens: tokens.max(self.context),
            max_seqs: most(&self.batches).max(seqs),
            max_blocks_per_seq: blocks(tokens.max(longest).max(decoded)),
            num_blocks: alone.fold(num_blocks.max(blocks(tokens)), usize::max),
            block_size: self.block_size,
            vocab_size,
        }
    }
}
