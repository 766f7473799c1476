//! What one generation carries from token to token.

use super::thinking::Thinking;
use crate::types::{SamplingParams, Token};
use std::collections::HashMap;

/// The sampler's memory of one generation. It lives with the request, so a preemption loses
/// nothing; its size follows the number of distinct tokens seen, and only when a penalty is on.
#[derive(Clone, Debug)]
pub struct SamplerState {
    /// Keys the noise.
    pub(super) seed: u64,
    prompt_len: usize,
    /// Empty unless a penalty is on.
    pub(super) seen: HashMap<Token, Seen>,
    /// Which tokens a penalty looks at.
    counts_output: bool,
    /// With a budget for reasoning.
    thinking: Option<Thinking>,
}

/// How often a token was generated; tokens of the prompt alone have a count of 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) generated: u32,
}

impl SamplerState {
    /// The state before the first token. `drawn_seed` is used when the request has no seed.
    /// Tokens outside of `vocab` have no logit and are left out.
    pub fn new(params: &SamplingParams, prompt: &[Token], vocab: usize, drawn_seed: u64) -> Self {
        let known = |token: &Token| (*token as usize) < vocab;
        let repetition = params.repetition_penalty != 1.0;
        let mut seen = HashMap::new();
        if repetition {
            seen.extend(prompt.iter().copied().filter(known).map(|t| (t, Seen::default())));
        }
        Self {
            seed: params.seed.map_or(drawn_seed, |seed| seed as u64),
            prompt_len: prompt.len(),
            seen,
            counts_output: repetition
                || params.frequency_penalty != 0.0
                || params.presence_penalty != 0.0,
            thinking: params.thinking_budget.clone().map(|budget| Thinking::new(budget, prompt)),
        }
    }

    /// The state of the `number`th generation of one prompt: each draws otherwise.
    pub fn numbered(self, number: u32) -> Self {
        Self { seed: self.seed.wrapping_add(u64::from(number)), ..self }
    }

    /// Must be told each token that becomes part of the output, once.
    pub fn accept(&mut self, token: Token) {
        if self.counts_output {
            self.seen.entry(token).or_default().generated += 1;
        }
        if let Some(thinking) = &mut self.thinking {
            thinking.push(token);
        }
    }

    /// The token that has to come now, because all that may be thought has been.
    pub(super) fn forced(&self) -> Option<Token> {
        self.thinking.as_ref()?.forced()
    }

    /// The position in the sequence of the last token before the one to sample, which is what
    /// vLLM keys its noise with.
    pub(super) fn position(&self, generated: usize) -> u32 {
        (self.prompt_len + generated).saturating_sub(1) as u32
    }

    /// Whether what was generated decides what is done to the next row.
    pub(super) fn depends_on_output(&self) -> bool {
        self.counts_output || self.thinking.is_some()
    }
}
