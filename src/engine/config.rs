//! What the engine is told at start.

use super::estimate::ModelCosts;
use crate::scheduler::SchedulerConfig;
use crate::types::{HashAlgo, LogprobsMode};

/// Settings of the engine; the sizes of the KV pool come from its backend.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    pub scheduler: SchedulerConfig,
    /// A sequence never grows beyond so many tokens.
    pub max_model_len: usize,
    /// `None` turns prefix caching off.
    pub prefix_caching: Option<PrefixCaching>,
    /// Generations in flight, waiting ones included; more are refused.
    pub max_in_flight: usize,
    /// Prompt tokens of generations before their first token; while there are so many, more
    /// generations are refused.
    pub max_queued_tokens: usize,
    /// Seeds the draws of requests that bring no seed of their own.
    pub seed: u64,
    /// Ascending bounds for the histogram of tokens a step; none is one bucket for all.
    pub iteration_buckets: Vec<f64>,
    /// What log-probabilities are taken of.
    pub logprobs: LogprobsMode,
    pub observation: Observation,
}

/// What is measured only on demand.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// How long blocks keep what they hold.
    pub residency: Option<ResidencySample>,
    /// What steps cost.
    pub costs: Option<ModelCosts>,
    /// A line for each step, naming this device.
    pub log_steps: Option<&'static str>,
}

/// Which blocks are followed, and how it is shown.
#[derive(Clone, Debug)]
pub struct ResidencySample {
    /// In (0, 1].
    pub share: f64,
    /// Ascending seconds.
    pub buckets: Vec<f64>,
}

/// How blocks are named.
#[derive(Clone, Debug)]
pub struct PrefixCaching {
    pub algo: HashAlgo,
    /// The environment's PYTHONHASHSEED, when it is set.
    pub hash_seed: Option<String>,
}
