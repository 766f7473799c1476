//! `POST /v1/chat/completions/derender` and `/v1/completions/derender`: from the tokens that
//! `/inference/v1/generate` gave to the reply that a client sees, without running anything.

mod bounds;
mod chat;
mod detokenize;
mod logprobs;
mod parsed;
mod reply;

pub use chat::create as chat;

use super::body::read;
use super::frontend::Frontend;
use super::reply::{Usage, random_id, unix_time};
use super::request::{DerenderRequest, GenerateResponse, Generated, State};
use super::respond;
use crate::error::ApiError;
use crate::types::Token;
use axum::body::Body;
use axum::http::{HeaderMap, Response};
use detokenize::Detokenizer;
use logprobs::CompletionLogprobs;
use reply::*;

/// Completions: the whole reply to several prompts, or a chunk.
pub fn completions(
    frontend: &Frontend,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let (request, surrogates) = read(headers, body, DerenderRequest::completions)?;
    frontend.check_model(request.model.as_deref())?;
    surrogates?;
    if let Some(state) = &request.stream {
        bounds::check_prompts(frontend, &request)?;
        frontend.encoder.check()?;
        return completion_chunk(frontend, &request, state.clone());
    }
    let Some(first) = request.responses.first() else {
        return Err(ApiError::bad_request("generate_responses must not be empty"));
    };
    bounds::check(frontend, &request)?;
    frontend.encoder.check()?;
    let mut choices = Vec::new();
    let (mut prompt_tokens, mut completion_tokens) = (0, 0);
    for (at, response) in request.responses.iter().enumerate() {
        let task = Task::new(frontend, &request, at);
        let detokenizer = task.seeded(frontend, request.skip_special_tokens);
        for choice in &response.choices {
            let id = response.request_id.clone().unwrap_or_else(random_id);
            let ids = given(choice, |index| {
                format!("choice {index} in response {id} has empty or null token_ids")
            })?;
            let logprobs = choice.logprobs.as_ref();
            choices.push(CompletionChoice {
                index: choices.len(),
                text: detokenizer.clone().push(ids),
                logprobs: logprobs.map(|all| CompletionLogprobs::new(frontend, all, &[], 0)),
                finish_reason: choice.finish_reason.as_deref(),
                stop_reason: choice.stop_reason.as_ref().map(|stop| stop.to_value()),
                token_ids: (),
                prompt_logprobs: (),
                prompt_token_ids: (),
                routed_experts: (),
            });
        }
        prompt_tokens += task.prompt_tokens;
        completion_tokens += count(&response.choices);
    }
    let params = first.kv_transfer_params.as_ref();
    let agree = request.responses.iter().all(|r| r.kv_transfer_params.as_ref() == params);
    Ok(respond::json(&CompletionReply {
        id: &first.request_id.clone().unwrap_or_else(random_id),
        object: "text_completion",
        created: unix_time(),
        model: Task::new(frontend, &request, 0).model,
        choices,
        service_tier: (),
        system_fingerprint: (),
        usage: Usage::counts(prompt_tokens, completion_tokens).in_reply(None, None),
        kv_transfer_params: params.filter(|_| agree).map(|params| params.to_value()),
        ec_transfer_params: (),
        metrics: first.metrics.as_ref().filter(|_| request.responses.len() == 1).map(Metrics),
    }))
}

fn completion_chunk(
    frontend: &Frontend,
    request: &DerenderRequest,
    state: Option<State>,
) -> Result<Response<Body>, ApiError> {
    let (chunk, task) = only(frontend, request)?;
    if chunk.choices.len() > 1 {
        let message = "derender_completion_stream expects at most one choice per chunk";
        return Err(ApiError::bad_request(message));
    }
    let (mut detokenizer, mut state) = task.resumed(frontend, request, state);
    let mut choices = Vec::with_capacity(1);
    for choice in &chunk.choices {
        let ids = choice.token_ids.as_deref().unwrap_or_default();
        let text = detokenizer.push(ids);
        let (context, offset) = (&state.logprob_context_token_ids, state.logprob_text_offset);
        let logprobs = choice.logprobs.as_ref();
        let logprobs = logprobs.map(|all| CompletionLogprobs::new(frontend, all, context, offset));
        state.logprob_text_offset += text.chars().count();
        advance(&mut state, ids);
        choices.push(CompletionChunkChoice {
            index: int(&choice.index),
            text,
            logprobs,
            finish_reason: choice.finish_reason.as_deref(),
            stop_reason: choice.stop_reason.as_ref().map(|stop| stop.to_value()),
            prompt_token_ids: (),
            token_ids: (),
        });
    }
    detokenizer.save(&mut state);
    let chunk = CompletionChunk {
        id: &chunk.request_id.clone().unwrap_or_else(random_id),
        object: "text_completion",
        created: unix_time(),
        model: task.model,
        choices,
        usage: task.chunk_usage(chunk),
        system_fingerprint: (),
        metrics: chunk.metrics.as_ref().map(Metrics),
    };
    Ok(respond::json(&WithState { chunk, stream_state: &state }))
}

/// What a request says about one of its responses.
struct Task<'a> {
    model: &'a str,
    prompt_tokens: usize,
    /// `None` when nobody counted them.
    counted: Option<i64>,
    prompt: Option<&'a [Token]>,
}

impl<'a> Task<'a> {
    fn new(frontend: &'a Frontend, request: &'a DerenderRequest, at: usize) -> Self {
        let model = request.model.as_deref().filter(|model| !model.is_empty());
        let own = request.prompt_token_ids[at].as_deref();
        let counted = request.prompt_tokens[at];
        Self {
            model: model.unwrap_or(frontend.model_name()),
            prompt_tokens: counted.map_or(0, |count| count.max(0) as usize),
            counted,
            prompt: own.or(request.responses[at].prompt_token_ids.as_deref()),
        }
    }

    /// Text that goes on where the prompt ends.
    fn seeded<'f>(&self, frontend: &'f Frontend, skip_special_tokens: bool) -> Detokenizer<'f> {
        let prompt = self.prompt.unwrap_or_default();
        Detokenizer::after(&frontend.encoder, prompt, skip_special_tokens)
    }

    /// Text that goes on where the chunk before has ended.
    fn resumed<'f>(
        &self,
        frontend: &'f Frontend,
        request: &DerenderRequest,
        state: Option<State>,
    ) -> (Detokenizer<'f>, State) {
        let skip = request.skip_special_tokens;
        match state {
            None => (self.seeded(frontend, skip), State::default()),
            Some(state) => (Detokenizer::resume(&frontend.encoder, &state, skip), state),
        }
    }

    /// A chunk of a chat.
    fn chat_chunk<'c>(
        &'c self,
        chunk: &'c GenerateResponse,
        choices: Vec<ChatChunkChoice<'c>>,
    ) -> ChatChunk<'c> {
        ChatChunk {
            id: chunk.request_id.clone().unwrap_or_else(random_id),
            object: "chat.completion.chunk",
            created: unix_time(),
            model: self.model,
            choices,
            usage: self.chunk_usage(chunk),
            system_fingerprint: (),
            prompt_token_ids: (),
            prompt_text: (),
            metrics: chunk.metrics.as_ref().map(Metrics),
        }
    }

    fn chunk_usage(&self, chunk: &GenerateResponse) -> Option<Usage> {
        let (prompt, completion) = chunk.usage?;
        let prompt = self.counted.unwrap_or(prompt);
        let size = |count: i64| count.max(0) as usize;
        Some(Usage::counts(size(prompt), size(completion)).in_reply(None, None))
    }
}

/// The one response of a request, and what is said about it.
fn only<'a>(
    frontend: &'a Frontend,
    request: &'a DerenderRequest,
) -> Result<(&'a GenerateResponse, Task<'a>), ApiError> {
    let response = request.responses.first();
    let response = response.ok_or_else(|| ApiError::internal("no response"))?;
    Ok((response, Task::new(frontend, request, 0)))
}

/// The tokens of a reply, which has to have some.
fn given(choice: &Generated, message: impl Fn(&str) -> String) -> Result<&[Token], ApiError> {
    let ids = choice.token_ids.as_deref().filter(|ids| !ids.is_empty());
    ids.ok_or_else(|| ApiError::bad_request(message(&choice.index.to_string())))
}

/// How many tokens the replies have.
fn count(choices: &[Generated]) -> usize {
    choices.iter().map(|choice| choice.token_ids.as_ref().map_or(0, Vec::len)).sum()
}

/// The last tokens, of which log-probabilities of later chunks may finish a character.
fn advance(state: &mut State, ids: &[Token]) {
    const CONTEXT: usize = 4;
    let context = &mut state.logprob_context_token_ids;
    context.extend_from_slice(ids);
    context.drain(..context.len().saturating_sub(CONTEXT));
}
