//! The checks that vLLM makes where the engine takes a request: in a stream, its response has
//! started by then.

use super::super::super::json::Int;
use super::super::ranges::{checked_logprobs, checked_tokens, list, outside, python_int, to_token};
use super::{Limits, Sampling, SamplingFields, dedup};
use crate::error::ApiError;
use crate::grammar::GrammarSpec;
use crate::model::GenerationDefaults;
use crate::types::{SamplingParams, ThinkingBudget, Token};
use std::sync::Arc;

const MAX_LOGPROB_TOKEN_IDS: usize = 128;

impl SamplingFields {
    /// Makes the checks that are the same for all prompts, then fills in what they cover. `eos` is
    /// the tokenizer's end token.
    pub fn finish(
        &self,
        sampling: &mut Sampling,
        limits: &Limits,
        defaults: &GenerationDefaults,
        eos: Option<Token>,
    ) -> Result<(), ApiError> {
        let params = &mut sampling.params;
        params.logprobs = checked_logprobs(self.logprobs.as_ref(), "sample", "logprobs", limits)?;
        let prompt = self.prompt_logprobs.as_ref();
        let labels = self.logprob_token_ids.as_deref();
        params.logprob_token_ids = labels.map(|ids| checked_labels(ids, limits)).transpose()?;
        params.logprobs = match (labels, params.logprobs) {
            (Some(ids), Some(count)) if ids.len() as i64 != i64::from(count) => {
                return Err(labels_and_count(ids.len(), count));
            }
            (Some(ids), _) => Some(ids.len() as i32),
            (None, count) => count,
        };
        params.prompt_logprobs = checked_logprobs(prompt, "prompt", "prompt_logprobs", limits)?;
        self.check_logit_bias(limits)?;
        let stop_ids = checked_tokens(&dedup(&self.stop_token_ids), "stop_token_ids", limits)?;
        params.allowed_token_ids = self.checked_allowed(limits)?;
        let grammar = self.grammar(sampling.grammar.take(), limits)?;
        params.thinking_budget = self.thinking_budget(limits)?;
        params.repetition = self.repetition;
        let more = defaults.eos_token_ids.iter().copied().filter(|id| Some(*id) != eos);
        let mut stop_ids = stop_ids;
        if self.ignore_eos {
            params.ignored_eos = dedup(&eos.into_iter().chain(more).collect::<Vec<_>>());
        } else {
            params.eos = eos;
            stop_ids.extend(more);
        }
        params.stop_token_ids = dedup(&stop_ids).into();
        sampling.grammar = grammar;
        Ok(())
    }

    /// What the output has to keep to: what was set before wins.
    pub fn grammar(
        &self,
        set: Option<GrammarSpec>,
        limits: &Limits,
    ) -> Result<Option<GrammarSpec>, ApiError> {
        if set.is_some() {
            return Ok(set);
        }
        let constraints = self.constraints.as_ref().map_err(ApiError::clone)?;
        if !limits.has_tokenizer && !constraints.is_empty() {
            return Err(ApiError::bad_request(
                "Structured outputs requires a tokenizer so it can't be used with \
                 'skip_tokenizer_init'",
            ));
        }
        constraints.check()
    }

    /// The same for what a prompt of `prompt_len` tokens bounds.
    pub fn check_prompt(&self, prompt_len: usize) -> Result<(), ApiError> {
        let start = &self.routed_experts_prompt_start;
        if *start < 0 || *start > i64::try_from(prompt_len).unwrap_or(i64::MAX) {
            let message = format!(
                "routed_experts_prompt_start must be between 0 and the prompt length \
                 ({prompt_len}), inclusive."
            );
            let value = start.to_string();
            let name = "routed_experts_prompt_start";
            return Err(ApiError::parameter(message, name, Some(&value)));
        }
        Ok(())
    }

    fn thinking_budget(&self, limits: &Limits) -> Result<Option<ThinkingBudget>, ApiError> {
        let Some(tokens) = self.thinking_token_budget else { return Ok(None) };
        let marks = limits.reasoning.clone().ok_or_else(|| {
            ApiError::bad_request(
                "thinking_token_budget is set but reasoning_config is not configured. Please set \
                 --reasoning-parser and/or --reasoning-config to use thinking_token_budget.",
            )
        })?;
        Ok(Some(ThinkingBudget { tokens, marks }))
    }

    fn check_logit_bias(&self, limits: &Limits) -> Result<(), ApiError> {
        let keys = self.logit_bias.iter().flatten().filter_map(|(key, _)| python_int(key));
        checked_tokens(&keys.collect::<Vec<_>>(), "logit_bias", limits).map(drop)
    }

    fn checked_allowed(&self, limits: &Limits) -> Result<Option<Arc<[Token]>>, ApiError> {
        let Some(ids) = &self.allowed_token_ids else { return Ok(None) };
        let name = "allowed_token_ids";
        if ids.is_empty() {
            let message = "allowed_token_ids is not None and empty!";
            return Err(ApiError::parameter(message, name, Some("[]")));
        }
        let outside = outside(ids, limits);
        if !outside.is_empty() {
            let message = "allowed_token_ids contains out-of-vocab token id!";
            return Err(ApiError::parameter(message, name, Some(&list(&outside))));
        }
        let mut tokens: Vec<Token> = ids.iter().map(to_token).collect();
        tokens.sort_unstable();
        tokens.dedup();
        Ok(Some(tokens.into()))
    }
}

/// The parameters of a read of one token that tells the log-probabilities of `labels`.
pub fn label_params(labels: &[Token], temperature: f32, eos: Option<Token>) -> SamplingParams {
    SamplingParams {
        temperature,
        logprobs: Some(labels.len() as i32),
        logprob_token_ids: Some(labels.into()),
        eos,
        ..SamplingParams::greedy(1)
    }
}

/// The labels of a read that counts them as log-probabilities, each once.
pub fn checked_label_ids(labels: &[Int], limits: &Limits) -> Result<Arc<[Token]>, ApiError> {
    let count = Int::Small(labels.len() as i64);
    checked_logprobs(Some(&count), "sample", "logprobs", limits)?;
    checked_labels(labels, limits)
}

/// Tokens whose log-probabilities are asked for, each once.
fn checked_labels(ids: &[Int], limits: &Limits) -> Result<Arc<[Token]>, ApiError> {
    let len = ids.len();
    if len > MAX_LOGPROB_TOKEN_IDS {
        let message = format!(
            "Requested logprob_token_ids of length {len}, which is greater than max allowed: \
             {MAX_LOGPROB_TOKEN_IDS}"
        );
        return Err(ApiError::parameter(message, "logprob_token_ids", Some(&len.to_string())));
    }
    Ok(dedup(&checked_tokens(ids, "logprob_token_ids", limits)?).into())
}

fn labels_and_count(len: usize, count: i32) -> ApiError {
    let message = format!(
        "When both logprobs and logprob_token_ids are set, logprobs must equal \
         len(logprob_token_ids). Got logprobs={count}, len(logprob_token_ids)={len}."
    );
    ApiError::parameter(message, "logprob_token_ids", Some(&len.to_string()))
}
