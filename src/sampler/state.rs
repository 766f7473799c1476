//! What one generation carries from token to token.

use crate::types::{SamplingParams, ThinkingBudget, Token};
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
    budget: Option<ThinkingBudget>,
    /// Tokens since reasoning started, while it goes on; only with a budget for it.
    thinking: Option<u32>,
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
        let mut state = Self {
            seed: params.seed.map_or(drawn_seed, |seed| seed as u64),
            prompt_len: prompt.len(),
            seen,
            counts_output: repetition
                || params.frequency_penalty != 0.0
                || params.presence_penalty != 0.0,
            budget: params.thinking_budget,
            thinking: None,
        };
        if params.thinking_budget.is_some() {
            prompt.iter().for_each(|token| state.think(*token));
        }
        state
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
        self.think(token);
    }

    /// Follows reasoning, when there is a budget for it.
    fn think(&mut self, token: Token) {
        let Some(budget) = self.budget else { return };
        self.thinking = match token {
            token if token == budget.start => Some(0),
            token if token == budget.end => None,
            _ => self.thinking.map(|count| count.saturating_add(1)),
        };
    }

    /// The token that has to come now, because all that may be thought has been.
    pub(super) fn forced(&self) -> Option<Token> {
        let budget = self.budget?;
        self.thinking.filter(|count| *count >= budget.tokens).map(|_| budget.end)
    }

    /// The position in the sequence of the last token before the one to sample, which is what
    /// vLLM keys its noise with.
    pub(super) fn position(&self, output: &[Token]) -> u64 {
        (self.prompt_len + output.len()).saturating_sub(1) as u64
    }
}
