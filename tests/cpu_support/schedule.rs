//! Random steps over a few sequences, however a scheduler might cut them.

use super::{Random, run};
use glassbox::runner::{Backend, StepBatch};
use glassbox::types::{BlockId, Token};

/// A sequence on its way.
pub struct Sequence {
    pub tokens: Vec<Token>,
    done: usize,
    blocks: Vec<BlockId>,
    /// Of every position so far.
    pub logits: Vec<Vec<f32>>,
}

impl Sequence {
    pub fn new(tokens: &[Token]) -> Self {
        Self { tokens: tokens.to_vec(), done: 0, blocks: Vec::new(), logits: Vec::new() }
    }
}

/// Random steps until all sequences are done: any subset of them, any number of tokens each; some
/// steps of single tokens alone.
pub fn random_schedule(backend: &mut dyn Backend, seqs: &mut [Sequence], random: &mut Random) {
    let limits = *backend.limits();
    let mut free: Vec<BlockId> = (0..limits.num_blocks as BlockId).collect();
    let mut batch = StepBatch::new(&limits);
    while seqs.iter().any(|seq| seq.done < seq.tokens.len()) {
        batch.clear();
        let singles = random.below(3) == 0;
        let mut owners = Vec::new();
        for (i, seq) in seqs.iter_mut().enumerate() {
            let left = (seq.tokens.len() - seq.done).min(limits.max_tokens - batch.num_tokens());
            if left == 0 || random.below(4) == 0 {
                continue;
            }
            // Mostly single tokens, as when decoding.
            let n = if singles || random.below(2) == 0 { 1 } else { 1 + random.below(left) };
            while seq.blocks.len() * limits.block_size < seq.done + n {
                seq.blocks.push(free.swap_remove(random.below(free.len())));
            }
            batch.push(&seq.tokens[seq.done..seq.done + n], seq.done, &seq.blocks, n, None);
            seq.done += n;
            owners.extend(std::iter::repeat_n(i, n));
        }
        for (owner, logits) in owners.into_iter().zip(run(backend, &batch)) {
            seqs[owner].logits.push(logits);
        }
    }
}
