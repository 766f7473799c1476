//! Everything that changes logits before temperature: masks, biases and penalties.

use super::state::SamplerState;
use crate::types::{SamplingParams, Token};

const IMPOSSIBLE: f32 = f32::NEG_INFINITY;
/// vLLM's logit for a token that has to come.
const CERTAIN: f32 = 1e9;

/// Whether [`apply`] would touch the row at all. May be true when nothing changes in the end.
pub(super) fn changes(params: &SamplingParams, state: &SamplerState, generated: usize) -> bool {
    params.allowed_token_ids.is_some()
        || !params.logit_bias.is_empty()
        || ends_are_masked(params, generated)
        || !state.seen.is_empty()
        || !params.bad_words.is_empty()
        || state.forced().is_some()
}

/// Applies all of them in vLLM's order.
pub(super) fn apply(
    params: &SamplingParams,
    state: &SamplerState,
    output: &[Token],
    logits: &mut [f32],
) {
    if let Some(allowed) = &params.allowed_token_ids {
        keep_only(allowed, logits);
    }
    for &(token, bias) in params.logit_bias.iter() {
        if let Some(logit) = logits.get_mut(token as usize) {
            *logit += bias;
        }
    }
    if ends_are_masked(params, output.len()) {
        let eos = params.eos.iter().chain(&params.ignored_eos);
        for &token in eos.chain(params.stop_token_ids.iter()) {
            mask(token, logits);
        }
    }
    penalise(params, state, logits);
    for word in params.bad_words.iter() {
        if let Some((&last, start)) = word.split_last()
            && output.ends_with(start)
        {
            mask(last, logits);
        }
    }
    // Last, so that nothing above keeps it from coming.
    if let Some(logit) = state.forced().and_then(|token| logits.get_mut(token as usize)) {
        *logit = CERTAIN;
    }
}

fn ends_are_masked(params: &SamplingParams, generated: usize) -> bool {
    generated < params.min_tokens as usize
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

#[cfg(test)]
mod tests {
    use super::super::Sampler;
    use super::*;
    use crate::types::{ReasoningMarks, ThinkingBudget};
    use std::sync::Arc;

    #[test]
    fn reasoning_ends_with_its_budget() {
        let (start, end) = (5, 6);
        let (mark, ends) = (vec![start], vec![end]);
        let marks = Arc::new(ReasoningMarks { start: mark, forced: ends.clone(), end: ends });
        let budget = |tokens| Some(ThinkingBudget { tokens, marks: marks.clone() });
        let forced = |tokens, prompt: &[Token], output: &[Token], temperature| {
            let params = SamplingParams {
                thinking_budget: budget(tokens),
                temperature,
                ..SamplingParams::greedy(100)
            };
            let mut state = SamplerState::new(&params, prompt, 8, 1);
            output.iter().for_each(|&token| state.accept(token));
            let mut logits = vec![0.0, 9.0, 0.0, 0.0, 0.0, 0.0, f32::NEG_INFINITY, 0.0];
            Sampler::new(8).sample(&params, &state, output, &mut logits).token == end
        };
        for (tokens, prompt, output, is_forced) in [
            // Nothing has started, so nothing can end.
            (0, [1, 2].as_slice(), [].as_slice(), false),
            (0, &[1, 2], &[start], true),
            (2, &[1], &[start, 1], false),
            (2, &[1], &[start, 1, 1], true),
            (2, &[1], &[start, 1, 1, end], false),
            (2, &[1], &[start, 1, 1, end, 1, 1, 1], false),
            (2, &[1], &[start, 1, 1, end, start, 1], false),
            (2, &[1], &[start, 1, 1, end, start, 1, 1], true),
            // What the prompt has thought counts.
            (2, &[start, 1], &[1], true),
            (2, &[start, 1, end], &[1, 1], false),
        ] {
            for temperature in [0.0, 1.0] {
                let case = (tokens, prompt, output, temperature);
                assert_eq!(forced(tokens, prompt, output, temperature), is_forced, "{case:?}");
            }
        }
    }
}
