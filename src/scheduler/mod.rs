//! Planning one step: who computes how many tokens.
//!
//! There is one token budget a step and no distinction between prefill and decode: each sequence
//! has tokens that are known and tokens that are computed, and a step computes some of the
//! difference. Running sequences come first, in the order of their admission; then waiting ones
//! are admitted as long as budget, places and blocks last. When blocks run out, the running
//! sequence that can best wait gives its own back and starts again later; its prefix is usually
//! still cached then.
//!
//! A sequence whose prompt was computed elsewhere takes a place and all its blocks when its turn
//! comes, waits beside the queues while they are filled, and then runs: only its last prompt token
//! is computed here.
//!
//! Planning is pure: it looks at sequences and blocks and changes nothing else, so a simulation
//! can drive it through any history.

mod plan;
mod pulls;
mod queue;
mod sequence;
#[cfg(test)]
mod tests;

pub use plan::{Scheduler, StepPlan, Work};
pub use sequence::{RemoteKv, Sequence, Slot};

use crate::types::Policy;

/// What bounds a step and a sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SchedulerConfig {
    /// Tokens in one step.
    pub max_num_batched_tokens: usize,
    /// Sequences that take part in steps.
    pub max_num_seqs: usize,
    pub policy: Policy,
    /// Without it a prompt is computed in one step or waits.
    pub chunked_prefill: bool,
    /// A cap on the chunk of one prompt, unless it is alone; 0 is none.
    pub long_prefill_token_threshold: usize,
    /// The cap is at least an equal share of the step among all sequences.
    pub adaptive_long_prefill: bool,
    /// Admit a prompt only when the blocks of all of it are free, not just of its first chunk.
    pub reserve_full_prompt: bool,
    /// Share of the blocks that must stay free when a prompt is admitted beside others.
    pub watermark: f64,
}
