//! Running one step of the model, on whatever hardware.
//!
//! A backend works by the step, not by the operation: it gets one [`StepBatch`] of flat arrays and
//! returns one row of logits (or one sampled token) for each row that asked. That is the level at
//! which a CUDA graph can be captured, a simulator written and a CPU kept busy.

mod batch;
pub mod cpu;
pub mod cuda;
mod rotary;
pub mod sim;

pub use batch::{SampleRow, StepBatch};

use crate::types::{KvMemory, Token, TokenLogprobs};
use std::time::Duration;

/// What a backend has allocated for; nothing grows after start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tokens in one step.
    pub max_tokens: usize,
    /// Sequences in one step.
    pub max_seqs: usize,
    /// Blocks in one sequence's block table.
    pub max_blocks_per_seq: usize,
    /// Blocks in the KV pool.
    pub num_blocks: usize,
    /// Tokens in one block.
    pub block_size: usize,
    /// Logits in one row.
    pub vocab_size: usize,
}

/// Parts of a backend's memory that can be given back and taken again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    pub weights: bool,
    pub kv_cache: bool,
}

impl Parts {
    /// Whether there is any.
    pub fn any(self) -> bool {
        self.weights || self.kv_cache
    }

    /// These but for `others`.
    pub fn without(self, others: Self) -> Self {
        Self {
            weights: self.weights && !others.weights,
            kv_cache: self.kv_cache && !others.kv_cache,
        }
    }
}

/// Where the time of one step went, as measured by the backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepTiming {
    /// From the start of the step on the device to its last result.
    pub device: Duration,
}

/// A step that could not be run. The engine cannot go on after one.
#[derive(Debug, thiserror::Error)]
#[error("the {backend} backend failed: {reason}")]
pub struct BackendError {
    pub backend: &'static str,
    pub reason: String,
}

/// Takes the results of a step, in ascending order of `row`.
pub trait RowSink {
    /// The logits of row `row` of [`StepBatch::rows`], `[vocab_size]`, f32. The sink may overwrite
    /// them (penalties, masks); they are gone when it returns.
    fn logits(&mut self, row: usize, logits: &mut [f32]);

    /// The token that the backend sampled for row `row` itself; not for rows that need logits.
    fn sampled(&mut self, row: usize, token: Token);

    /// The same for a row whose draw [reports](crate::sampler::Draw::report): the token with its
    /// log-probabilities.
    fn reported(&mut self, row: usize, sampled: TokenLogprobs);

    /// A part of a long step is done: the device is slow, not stuck.
    fn progress(&mut self) {}
}

/// The hardware behind the engine. One thread calls it.
///
/// `submit` starts a step and may return before it ends; `collect` waits for it and delivers its
/// results. Every `submit` is followed by one `collect` before the next `submit`, unless the
/// backend [runs ahead](Backend::runs_ahead).
///
/// A sequence may share blocks that an earlier sequence of the same batch fills in this step: their
/// KV is there when the later one attends.
///
/// A row's results depend on its sequence's tokens alone: never on the other sequences of the
/// batch, on how the prompt was cut into steps, or on which blocks hold its KV.
pub trait Backend: Send {
    /// What the backend was built for.
    fn limits(&self) -> &Limits;

    /// Starts one step. The KV of every token of `batch` is written at its position's slot.
    fn submit(&mut self, batch: &StepBatch) -> Result<(), BackendError>;

    /// Whether a second step may be submitted before the first one's results are collected, with
    /// tokens that the first one samples ([`StepBatch::feed`]). Results are collected in order. All
    /// rows of both are drawn there then: a step whose logits are wanted is collected at once.
    fn runs_ahead(&self) -> bool {
        false
    }

    /// Waits for the step and gives the result of each of its [`StepBatch::rows`] to `sink`.
    fn collect(&mut self, sink: &mut dyn RowSink) -> Result<StepTiming, BackendError>;

    /// Where the KV pool is, one region a layer, for those who move blocks between servers while
    /// steps run; block for block, they stay out of each other's way. `None` when it has no
    /// address.
    fn kv_memory(&self) -> Option<KvMemory> {
        None
    }

    /// Whether [`Backend::release`] gives memory back.
    fn can_release(&self) -> bool {
        false
    }

    /// Gives the memory of `parts` back to the system; there is no step until they are restored.
    /// What the KV pool held is gone.
    fn release(&mut self, parts: Parts) {
        let _ = parts;
    }

    /// Takes the memory of `parts` again and fills it, as far as it was given back.
    fn restore(&mut self, parts: Parts) -> Result<(), BackendError> {
        let _ = parts;
        Ok(())
    }
}
