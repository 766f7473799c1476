//! Rows that a device can sample by itself.

use super::adjust;
use super::state::SamplerState;
use crate::types::{LogprobsMode, SamplingParams};

/// All that a plain draw depends on, beside the row: see [`super`] for what is done with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// 0 takes the best token.
    pub temperature: f32,
    /// 0: all tokens.
    pub top_k: u32,
    pub top_p: f32,
    pub min_p: f32,
    /// What keys the noise, with the position.
    pub seed: u64,
    pub position: u32,
    /// The token comes with its log-probability and those of so many best ones, of the row as it
    /// is; `None`: it comes alone.
    pub report: Option<u32>,
}

impl Draw {
    /// The best token.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        seed: 0,
        position: 0,
        report: None,
    };

    /// The most log-probabilities that come with a token, beside its own.
    pub const MOST_REPORTED: u32 = 32;

    /// How the token after `generated` ones is drawn; `None` when the row is changed before that
    /// (masks, biases, penalties).
    pub fn of(params: &SamplingParams, state: &SamplerState, generated: usize) -> Option<Self> {
        let changes = adjust::changes(params, state, generated);
        (!changes).then(|| Self::new(params, state, generated))
    }

    /// Like [`Draw::of`], when the last of the `generated` tokens is not known yet, and `state` was
    /// not told of it.
    pub fn ahead(params: &SamplingParams, state: &SamplerState, generated: usize) -> Option<Self> {
        if state.depends_on_output() { None } else { Self::of(params, state, generated) }
    }

    /// With the log-probabilities that `params` ask for; `None` when only the host can tell them.
    pub fn reporting(self, params: &SamplingParams, mode: LogprobsMode) -> Option<Self> {
        let Some(top) = params.logprobs else { return Some(self) };
        let report = u32::try_from(top).ok().filter(|&top| top <= Self::MOST_REPORTED)?;
        let plain = mode == LogprobsMode::RawLogprobs && params.logprob_token_ids.is_none();
        plain.then_some(Self { report: Some(report), ..self })
    }

    /// The draw alone, whatever else is done to the row.
    pub(super) fn new(params: &SamplingParams, state: &SamplerState, generated: usize) -> Self {
        if params.is_greedy() {
            return Self::GREEDY;
        }
        Self {
            temperature: params.temperature,
            top_k: params.top_k,
            top_p: params.top_p,
            min_p: params.min_p,
            seed: state.seed,
            position: state.position(generated),
            report: None,
        }
    }
}
