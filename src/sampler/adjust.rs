//! Everything that changes logits before temperature: masks, biases and penalties.

use super::state::SamplerState;
use crate::types::{SamplingParams, Token};

const IMPOSSIBLE: f32 = f32::NEG_INFINITY;

/// Whether [`apply`] would touch the row at all. May be true when nothing changes in the end.
pub(super) fn changes(params: &SamplingParams, state: &SamplerState, output: &[Token]) -> bool {
    state.allowed.is_some()
        || !params.logit_bias.is_empty()
        || ends_are_masked(params, output)
        || !state.seen.is_empty()
        || !params.bad_words.is_empty()
}

/// Applies all of them in vLLM's order.
pub(super) fn apply(
    params: &SamplingParams,
    state: &SamplerState,
    output: &[Token],
    logits: &mut [f32],
) {
    if let Some(allowed) = &state.allowed {
        keep_only(allowed, logits);
    }
    for &(token, bias) in &params.logit_bias {
        if let Some(logit) = logits.get_mut(token as usize) {
            *logit += bias;
        }
    }
    if ends_are_masked(params, output) {
        let eos = params.eos.iter().chain(&params.ignored_eos);
        for &token in eos.chain(&params.stop_token_ids) {
            mask(token, logits);
        }
    }
    penalise(params, state, logits);
    for word in &params.bad_words {
        if let Some((&last, start)) = word.split_last()
            && output.ends_with(start)
        {
            mask(last, logits);
        }
    }
}

fn ends_are_masked(params: &SamplingParams, output: &[Token]) -> bool {
    output.len() < params.min_tokens as usize
}

fn mask(token: Token, logits: &mut [f32]) {
    if let Some(logit) = logits.get_mut(token as usize) {
        *logit = IMPOSSIBLE;
    }
}

/// Masks all tokens but `allowed`, which is ascending.
fn keep_only(allowed: &[Token], logits: &mut [f32]) {
    let mut next = 0;
    for &token in allowed {
        let token = (token as usize).min(logits.len());
        logits[next.min(token)..token].fill(IMPOSSIBLE);
        next = token + 1;
    }
    let next = next.min(logits.len());
    logits[next..].fill(IMPOSSIBLE);
}

/// Repetition over prompt and output, then frequency and presence over the output.
fn penalise(params: &SamplingParams, state: &SamplerState, logits: &mut [f32]) {
    let repetition = params.repetition_penalty;
    let inverse = 1.0 / repetition;
    for (&token, seen) in &state.seen {
        let Some(logit) = logits.get_mut(token as usize) else { continue };
        let mut value = *logit;
        value *= if value > 0.0 { inverse } else { repetition };
        if seen.generated > 0 {
            value -= params.frequency_penalty * seen.generated as f32;
            value -= params.presence_penalty;
        }
        *logit = value;
    }
}
