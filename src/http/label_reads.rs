//! One-token reads: the log-probabilities of chosen tokens as the next one after each prompt.

use super::account::{Account, Siblings};
use super::call::Call;
use super::frontend::Frontend;
use super::prompt::TokenPrompt;
use super::request::LabelFields;
use crate::engine::{Generation, NewRequest, Transfer};
use crate::error::ApiError;
use crate::types::{FinishReason, Generated, SamplingParams, Token, TokenLogprobs};
use std::sync::Arc;

/// What all reads of a request have in common.
pub struct Reads<'a> {
    pub frontend: &'a Frontend,
    pub call: &'a Call,
    /// The reply's id.
    pub id: &'a str,
    pub fields: &'a LabelFields,
}

/// What one read gave.
pub struct LabelRead {
    /// Over the whole vocabulary, in the order of the labels asked for.
    pub logprobs: Vec<f64>,
    /// The token that the model took.
    pub token: Token,
}

impl Reads<'_> {
    /// Reads all prompts at once; each with parameters for one token.
    pub async fn run(
        &self,
        reads: Vec<(TokenPrompt, Arc<SamplingParams>)>,
    ) -> Result<Vec<LabelRead>, ApiError> {
        let (engine, limits) = (&self.frontend.engine, &self.frontend.options.limits);
        for (prompt, _) in &reads {
            prompt.check(limits.max_model_len)?;
        }
        let mut room = engine.reserve(reads.len())?;
        let mut started = Vec::with_capacity(reads.len());
        for (at, (prompt, params)) in reads.into_iter().enumerate() {
            let id = format!("{}-{at}", self.id);
            let (siblings, len) = (Siblings::new(1), prompt.tokens.len());
            let account = Account::open(self.call, &siblings, &id, (&params, 0), len);
            let generation = room.start(NewRequest {
                prompt: prompt.tokens,
                params: params.clone(),
                number: 0,
                priority: self.fields.priority,
                cache_salt: self.fields.cache_salt.as_deref().map(Arc::from),
                session: None,
                reports_prefix: false,
                transfer: Transfer::None,
                constraint: None,
                timeline: account.timeline(),
            })?;
            started.push((generation, account, params));
        }
        let mut done = Vec::with_capacity(started.len());
        for (at, (generation, account, params)) in started.into_iter().enumerate() {
            let logprobs = listen(generation, account, at).await?;
            done.push(read(&params, &logprobs));
        }
        Ok(done)
    }
}

/// The log-probabilities of the labels; the sampled token stands for itself.
fn read(params: &SamplingParams, logprobs: &TokenLogprobs) -> LabelRead {
    let labels = params.logprob_token_ids.as_deref().unwrap_or_default();
    let of = |label: &Token| {
        let found = logprobs.top.iter().find(|(token, _)| token == label);
        found.map_or(f64::NEG_INFINITY, |(_, logprob)| f64::from(*logprob))
    };
    LabelRead { logprobs: labels.iter().map(of).collect(), token: logprobs.token }
}

/// Waits for the one token of the read `at`.
async fn listen(
    mut generation: Generation,
    mut account: Account,
    at: usize,
) -> Result<TokenLogprobs, ApiError> {
    loop {
        match generation.next().await {
            Some(Generated::Prompt { .. } | Generated::Leased(_)) => {}
            Some(Generated::Token { logprobs, at, finish, .. }) => {
                account.token(at);
                let reason = finish.map_or(FinishReason::Length, |finish| finish.reason);
                account.finished(reason);
                generation.finish(reason);
                return logprobs.map(|boxed| *boxed).ok_or_else(ApiError::generation_failed);
            }
            Some(Generated::End(finish)) if finish.reason == FinishReason::Error => {
                return Err(ApiError::bad_request(format!("Generation error for item {at}")));
            }
            Some(Generated::End(_)) => {
                return Err(ApiError::bad_request(format!(
                    "No logprobs available for item {at}. This might indicate an issue with \
                     logprobs configuration."
                )));
            }
            None => return Err(ApiError::engine_dead()),
        }
    }
}
