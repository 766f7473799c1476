//! `POST /generative_scoring`: how likely a label is as the next token after a query and an item.

use super::body::read;
use super::call::Call;
use super::frontend::Frontend;
use super::headers::request_id;
use super::json::Int;
use super::label_reads::Reads;
use super::prompt::TokenPrompt;
use super::reply::{Usage, random_id, unix_time};
use super::request::{Piece, ScoringRequest, checked_label_ids, label_params};
use super::respond;
use crate::error::ApiError;
use axum::body::Body;
use axum::http::{HeaderMap, Response};
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
struct Reply<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    data: Vec<Item>,
    usage: Usage,
}

#[derive(Serialize)]
struct Item {
    index: usize,
    object: &'static str,
    score: f64,
}

/// Answers one request.
pub async fn create(
    frontend: &Frontend,
    mut call: Call,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let (request, surrogates) = read(headers, body, ScoringRequest::new)?;
    call.arrived();
    frontend.check_model(request.common.model.as_deref())?;
    surrogates?;
    drop(frontend.engine.reserve(request.items.len())?);
    check(frontend, &request)?;
    let given = request.common.request_id.as_deref();
    let id = request_id("generative-scoring-", headers, given, random_id);
    let created = unix_time();
    let prompts = frontend.scoring_prompts(&request).await?;
    let labels = &request.label_token_ids;
    let ids = checked_label_ids(labels, &frontend.options.limits)?;
    let params = Arc::new(label_params(&ids, 1.0, frontend.eos));
    let prompt_tokens = prompts.iter().map(|prompt| prompt.tokens.len()).sum();
    let reads = Reads { frontend, call: &call, id: &id, fields: &request.common };
    let asked = prompts.into_iter().map(|prompt| (prompt, params.clone())).collect();
    let done = reads.run(asked).await?;
    let score = |logprobs: &[f64]| match request.apply_softmax {
        true => share_of_first(logprobs),
        false => logprobs[0].exp(),
    };
    let data: Vec<Item> = done
        .iter()
        .enumerate()
        .map(|(index, read)| Item { index, object: "score", score: score(&read.logprobs) })
        .collect();
    Ok(respond::json(&Reply {
        id: &id,
        object: "list",
        created,
        model: frontend.model_name(),
        usage: Usage::counts(prompt_tokens, data.len()).in_reply(None, None),
        data,
    }))
}

/// What vLLM checks before it tokenises.
fn check(frontend: &Frontend, request: &ScoringRequest) -> Result<(), ApiError> {
    if !frontend.encoder.has_tokenizer() {
        let message = "Tokenizer not available. Cannot process generative scoring request.";
        return Err(ApiError::bad_request(message));
    }
    let vocab = frontend.options.limits.vocab_size;
    let outside = |id: &&Int| **id < 0 || **id >= i64::from(vocab);
    let message = if let Some(id) = request.label_token_ids.iter().find(outside) {
        format!(
            "label_token_id {id} is out of vocabulary range [0, {vocab}). Please provide valid \
             token IDs."
        )
    } else if request.label_token_ids.is_empty() {
        "label_token_ids must contain at least one token ID.".to_owned()
    } else if request.items.is_empty() {
        "items must contain at least one item.".to_owned()
    } else {
        return Ok(());
    };
    Err(ApiError::bad_request(message))
}

/// The first label's probability among all labels.
fn share_of_first(logprobs: &[f64]) -> f64 {
    let best = logprobs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights = logprobs.iter().map(|logprob| (logprob - best).exp());
    (logprobs[0] - best).exp() / weights.sum::<f64>()
}

impl Frontend {
    /// The prompt of each item, cut where one token more would not fit.
    async fn scoring_prompts(
        &self,
        request: &ScoringRequest,
    ) -> Result<Vec<TokenPrompt>, ApiError> {
        let query = self.piece(&request.query, request.add_special_tokens).await?;
        let most = self.options.limits.max_model_len.saturating_sub(1) as usize;
        let mut prompts = Vec::with_capacity(request.items.len());
        for item in &request.items {
            let item = self.piece(item, false).await?;
            let mut ids = match request.item_first {
                true => [item, query.clone()].concat(),
                false => [query.clone(), item].concat(),
            };
            ids.truncate(most);
            prompts.push(self.unchecked_prompt(&ids));
        }
        Ok(prompts)
    }

    async fn piece(&self, piece: &Piece, add_special_tokens: bool) -> Result<Vec<Int>, ApiError> {
        match piece {
            Piece::Tokens(ids) => Ok(ids.clone()),
            Piece::Text(text) => {
                let encoded = self.encoder.encode(text.clone(), add_special_tokens, None).await?;
                Ok(encoded.tokens.into_iter().map(|id| Int::Small(i64::from(id))).collect())
            }
        }
    }
}
