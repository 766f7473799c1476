//! From a row of logits to a token, on the engine thread.
//!
//! The order is that of vLLM's default CUDA path (model runner V2), after [`keep_masked`] where a
//! grammar rules:
//!
//! 1. log-probabilities are taken from the unmodified row (or, in the processed modes, from what
//!    is left after 3);
//! 2. `allowed_token_ids`, `logit_bias` and the `min_tokens` mask, penalties, `bad_words`,
//!    the end of reasoning that is over its budget ([`adjust`]);
//! 3. temperature, `min_p`, `top_k`, `top_p` decide which tokens may be drawn ([`draw`]);
//! 4. the token with the largest sum of scaled logit and Gumbel noise wins ([`noise`]).
//!
//! A token depends on the row and the request alone: the noise is a hash of the request's seed,
//! the token's position and its id, so neither the batch nor a preemption changes a text. Ties
//! go to the lower id everywhere. A NaN logit counts as impossible, and a row without a single
//! possible token gives token 0, as an argmax over nothing but −∞ does.

mod adjust;
mod draw;
mod mask;
mod math;
mod noise;
mod plain;
mod select;
mod state;
mod thinking;

pub use mask::keep_masked;
pub use plain::Draw;
pub use state::SamplerState;

use crate::types::{LogprobsMode, SamplingParams, Token, TokenLogprobs};
use select::Selection;

/// A sampled token and, when the request asked for them, the log-probabilities at its position.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    pub token: Token,
    pub logprobs: Option<Box<TokenLogprobs>>,
}

/// Scratch memory for sampling one row at a time; allocated once for a vocabulary.
pub struct Sampler {
    selection: Selection,
    /// A row to report that is not the one to draw from: as the model gave it, or with all that
    /// may not be drawn taken out.
    shown: Vec<f32>,
    mode: LogprobsMode,
}

impl Sampler {
    /// Scratch for rows of `vocab` logits.
    pub fn new(vocab: usize) -> Self {
        Self {
            selection: Selection::with_capacity(vocab),
            shown: Vec::with_capacity(vocab),
            mode: LogprobsMode::default(),
        }
    }

    /// With other log-probabilities.
    pub fn reporting(self, mode: LogprobsMode) -> Self {
        Self { mode, ..self }
    }

    /// Chooses the token that follows `output`, the tokens generated so far (all of which
    /// `state` was told of). Overwrites `logits`.
    ///
    /// # Panics
    /// When `logits` is empty.
    pub fn sample(
        &mut self,
        params: &SamplingParams,
        state: &SamplerState,
        output: &[Token],
        logits: &mut [f32],
    ) -> Sampled {
        let Some(count) = params.logprobs else {
            adjust::apply(params, state, output, logits);
            let token = self.choose(params, state, output, logits);
            return Sampled { token, logprobs: None };
        };
        let adjusted = adjust::changes(params, state, output.len());
        if adjusted && !self.mode.is_processed() {
            self.shown.clear();
            self.shown.extend_from_slice(logits);
        }
        if adjusted {
            adjust::apply(params, state, output, logits);
        }
        let token = self.choose(params, state, output, logits);
        let draws = !params.is_greedy();
        if self.mode.is_processed() && draws {
            let draw = Draw::new(params, state, output.len());
            draw::process(&draw, &mut self.selection, logits, &mut self.shown);
        }
        let has_other = if self.mode.is_processed() { draws } else { adjusted };
        let row = if has_other { &self.shown } else { &*logits };
        let top = match &params.logprob_token_ids {
            Some(ids) => Top::These(ids),
            None => Top::Best(count),
        };
        let logprobs = logprobs(&mut self.selection, token, top, row, self.mode);
        Sampled { token, logprobs: Some(Box::new(logprobs)) }
    }

    /// The log-probabilities of a known token (for prompt tokens) with the `top` most likely
    /// ones; −1 is the whole vocabulary.
    pub fn score(&mut self, token: Token, top: i32, logits: &[f32]) -> TokenLogprobs {
        logprobs(&mut self.selection, token, Top::Best(top), logits, self.mode)
    }

    fn choose(
        &mut self,
        params: &SamplingParams,
        state: &SamplerState,
        output: &[Token],
        logits: &[f32],
    ) -> Token {
        self.draw(&Draw::new(params, state, output.len()), logits)
    }

    /// Draws a token from a row as it is.
    pub fn draw(&mut self, draw: &Draw, logits: &[f32]) -> Token {
        match draw.temperature {
            0.0 => math::argmax(logits),
            _ => draw::draw(draw, &mut self.selection, logits),
        }
    }
}

/// Which log-probabilities are reported beside a token's own.
enum Top<'a> {
    /// Those of so many most likely tokens; −1 is the whole vocabulary.
    Best(i32),
    These(&'a [Token]),
}

/// The rank counts ties, as vLLM's does: two tokens that share the best logit both have rank 2.
fn logprobs(
    selection: &mut Selection,
    token: Token,
    top: Top<'_>,
    logits: &[f32],
    mode: LogprobsMode,
) -> TokenLogprobs {
    let (best, log_sum) = match mode.shows_logits() {
        true => (0.0, 0.0),
        false => {
            let best = math::max(logits);
            (best, math::sum_exp(logits, 1.0, best).ln() as f32)
        }
    };
    let logprob = |logit: f32| {
        let value = logit - best - log_sum;
        if value.is_nan() { f32::NEG_INFINITY } else { value }
    };
    let logit_of = |token: Token| logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
    let logit = logit_of(token);
    let top = match top {
        Top::These(ids) => ids.iter().map(|&id| (id, logprob(logit_of(id)))).collect(),
        Top::Best(count) => {
            let wanted = usize::try_from(count).unwrap_or(logits.len()).min(logits.len());
            selection.take_best(logits, wanted);
            selection.sort();
            selection.iter().map(|(token, logit)| (token, logprob(logit))).collect()
        }
    };
    TokenLogprobs {
        token,
        logprob: logprob(logit),
        rank: math::count_at_least(logits, logit).max(1),
        top,
    }
}
#[cfg(test)]
mod modes;
#[cfg(test)]
mod tests;
