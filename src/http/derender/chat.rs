//! Chats: the whole reply, or a chunk.

use super::super::body::read;
use super::super::chat::Parsing;
use super::super::frontend::Frontend;
use super::super::reply::{Usage, random_id, unix_time};
use super::super::request::{DerenderRequest, State};
use super::super::respond;
use super::logprobs::ChatLogprobs;
use super::reply::*;
use super::{advance, bounds, count, given, only, parsed};
use crate::error::ApiError;
use axum::body::Body;
use axum::http::{HeaderMap, Response};

/// Answers one request.
pub fn create(
    frontend: &Frontend,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let (request, surrogates) = read(headers, body, DerenderRequest::chat)?;
    frontend.check_model(request.model.as_deref())?;
    surrogates?;
    let Some(state) = &request.stream else { return whole(frontend, &request) };
    let parsing = parsed::parsing(frontend, &request)?;
    if parsing.is_some() {
        parsed::check_prompt(&request)?;
    }
    bounds::check_chat_chunk(frontend, &request, state.as_ref())?;
    frontend.encoder.check()?;
    match parsing {
        Some(parsing) => parsed::chunk(frontend, &request, state.clone(), &parsing),
        None => chunk(frontend, &request, state.clone()),
    }
}

fn whole(frontend: &Frontend, request: &DerenderRequest) -> Result<Response<Body>, ApiError> {
    bounds::check(frontend, request)?;
    frontend.encoder.check()?;
    let parsing = parsed::parsing(frontend, request)?;
    let (response, task) = only(frontend, request)?;
    // Parsers look for tags that may be special tokens.
    let skips = request.skip_special_tokens && parsing.is_none();
    let detokenizer = task.seeded(frontend, skips);
    let shows_tokens =
        request.return_token_ids && !parsing.as_ref().is_some_and(Parsing::hides_tokens);
    let mut choices = Vec::with_capacity(response.choices.len());
    for choice in &response.choices {
        let ids = given(choice, |index| format!("choice {index} has empty or null token_ids"))?;
        let text = detokenizer.clone().push(ids);
        choices.push(ChatChoice {
            index: int(&choice.index),
            message: match &parsing {
                Some(parsing) => Message::of(parsing.unfiltered(frontend, &text)),
                None => Message::assistant(text),
            },
            logprobs: choice.logprobs.as_ref().map(|all| ChatLogprobs::new(frontend, all, &[])),
            finish_reason: choice.finish_reason.as_deref(),
            stop_reason: choice.stop_reason.as_ref().map(|stop| stop.to_value()),
            token_ids: shows_tokens.then_some(ids),
            routed_experts: (),
        });
    }
    let usage = Usage::counts(task.prompt_tokens, count(&response.choices));
    Ok(respond::json(&ChatReply {
        id: &response.request_id.clone().unwrap_or_else(random_id),
        object: "chat.completion",
        created: unix_time(),
        model: task.model,
        choices,
        service_tier: (),
        system_fingerprint: (),
        usage: usage.in_reply(None, None),
        prompt_logprobs: response.prompt_logprobs.as_ref().map(prompt_logprobs),
        prompt_token_ids: (),
        prompt_text: (),
        kv_transfer_params: response.kv_transfer_params.as_ref().map(|params| params.to_value()),
        ec_transfer_params: (),
        metrics: response.metrics.as_ref().map(Metrics),
    }))
}

fn chunk(
    frontend: &Frontend,
    request: &DerenderRequest,
    state: Option<State>,
) -> Result<Response<Body>, ApiError> {
    let (chunk, task) = only(frontend, request)?;
    let (mut detokenizer, mut state) = task.resumed(frontend, request, state);
    let mut choices = Vec::with_capacity(1);
    for choice in &chunk.choices {
        let ids = choice.token_ids.as_deref().unwrap_or_default();
        let text = detokenizer.push(ids);
        let context = &state.logprob_context_token_ids;
        let logprobs = choice.logprobs.as_ref();
        choices.push(ChatChunkChoice {
            index: int(&choice.index),
            delta: Delta {
                role: (!state.role_sent).then_some("assistant"),
                content: Some(text).filter(|text| !text.is_empty()),
                ..Delta::default()
            },
            logprobs: logprobs.map(|all| ChatLogprobs::new(frontend, all, context)),
            finish_reason: choice.finish_reason.as_deref(),
            stop_reason: choice.stop_reason.as_ref().map(|stop| stop.to_value()),
            token_ids: choice.token_ids.as_deref().filter(|_| request.return_token_ids),
        });
        state.role_sent = true;
        advance(&mut state, ids);
    }
    detokenizer.save(&mut state);
    let chunk = task.chat_chunk(chunk, choices);
    Ok(respond::json(&WithState { chunk, stream_state: &state }))
}
