//! What a request must come to, by the plainest means.

use super::super::NewRequest;
use crate::runner::Limits;
use crate::runner::sim::{context_hash, fill_logits};
use crate::sampler::{Sampler, SamplerState};
use crate::types::{FinishReason, LogprobsMode, Repetition, StopReason, Token, TokenLogprobs};

/// Everything a generation sends.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outcome {
    pub prompt_logprobs: Option<Vec<TokenLogprobs>>,
    pub tokens: Vec<(Token, Option<TokenLogprobs>)>,
    pub finish: Option<(FinishReason, Option<StopReason>)>,
}

/// What the request gives alone: plain loops, no scheduler, no blocks.
pub(super) fn alone(request: &NewRequest, limits: &Limits, mode: LogprobsMode) -> Outcome {
    let params = &request.params;
    let mut sampler = Sampler::new(limits.vocab_size).reporting(mode);
    let state = SamplerState::new(params, &request.prompt, limits.vocab_size, 0);
    let mut state = state.numbered(request.number);
    let mut logits = vec![0.0; limits.vocab_size];
    let mut outcome = Outcome::default();
    let (mut context, mut output) = (0, Vec::new());
    for (at, &token) in request.prompt.iter().enumerate() {
        context = context_hash(context, token);
        if let (Some(top), Some(&next)) = (params.prompt_logprobs, request.prompt.get(at + 1)) {
            fill_logits(context, &mut logits);
            let scored = sampler.score(next, top, &logits);
            outcome.prompt_logprobs.get_or_insert_default().push(scored);
        }
    }
    if params.prompt_logprobs.is_some() {
        outcome.prompt_logprobs.get_or_insert_default();
    }
    while outcome.finish.is_none() {
        fill_logits(context, &mut logits);
        let sampled = sampler.sample(params, &state, &output, &mut logits);
        state.accept(sampled.token);
        output.push(sampled.token);
        context = context_hash(context, sampled.token);
        outcome.tokens.push((sampled.token, sampled.logprobs.map(|boxed| *boxed)));
        outcome.finish = if output.len() < params.min_tokens as usize {
            None
        } else if params.eos == Some(sampled.token) {
            Some((FinishReason::Stop, None))
        } else if params.stop_token_ids.contains(&sampled.token) {
            Some((FinishReason::Stop, Some(StopReason::Token(sampled.token))))
        } else if output.len() == params.max_tokens as usize {
            Some((FinishReason::Length, None))
        } else {
            let stop = || Some(StopReason::Text("repetition_detected".to_owned()));
            repeats(params.repetition, &output).then(|| (FinishReason::Repetition, stop()))
        };
    }
    outcome
}

/// The rule as vLLM words it: the last tokens, pattern by pattern.
fn repeats(rule: Option<Repetition>, output: &[Token]) -> bool {
    let Some(Repetition { min_pattern, max_pattern, min_count }) = rule else { return false };
    (min_pattern..=max_pattern).filter(|length| length * min_count <= output.len()).any(|length| {
        let pattern = &output[output.len() - length..];
        output.rchunks(length).take(min_count).all(|part| part == pattern)
    })
}
