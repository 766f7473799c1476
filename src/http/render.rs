//! `POST /v1/{chat/completions,completions,responses}/render`: what a request comes to, token
//! by token, without running it. Routers ask for the tokens of a prompt this way.

use super::body::read;
use super::completions::check_prompt_kind;
use super::frontend::Frontend;
use super::headers::request_id;
use super::prompt::TokenPrompt;
use super::reply::random_id;
use super::request::{ChatRequest, CompletionRequest, GenerateFields, ResponsesRequest, Sampling};
use super::respond;
use crate::error::ApiError;
use crate::types::Token;
use axum::body::Body;
use axum::http::{HeaderMap, Response};
use serde::Serialize;
use serde_json::{Map, Value};

/// vLLM's `GenerateRequest`. What no text model has is null.
#[derive(Serialize)]
struct Rendered<'a> {
    request_id: String,
    token_ids: &'a [Token],
    token_offsets: Option<()>,
    features: Option<()>,
    content_parts: Option<()>,
    sampling_params: Map<String, Value>,
    model: Option<&'a str>,
    reasoning_ended: Option<bool>,
    reasoning_parser_kwargs: Option<ParserKwargs>,
    return_token_ids: Option<bool>,
    output_mode: &'static str,
    stream: bool,
    stream_options: Option<StreamOptions>,
    cache_salt: Option<&'a str>,
    priority: i64,
    kv_transfer_params: Option<Value>,
    ec_transfer_params: Option<Value>,
}

/// What the parser of reasoning depends on.
#[derive(Serialize)]
struct ParserKwargs {
    chat_template_kwargs: Map<String, Value>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
    continuous_usage_stats: bool,
}

fn rendered<'a>(
    fields: &'a GenerateFields,
    request_id: String,
    prompt: &'a TokenPrompt,
    sampling: &Sampling,
) -> Result<Rendered<'a>, ApiError> {
    if prompt.tokens.is_empty() {
        return Err(ApiError::bad_request("No token_ids rendered"));
    }
    let options = &fields.stream_options;
    Ok(Rendered {
        request_id,
        token_ids: &prompt.tokens,
        token_offsets: None,
        features: None,
        content_parts: None,
        sampling_params: fields.sampling.rendered(sampling, fields.stream),
        model: fields.model.as_deref(),
        reasoning_ended: None,
        reasoning_parser_kwargs: None,
        return_token_ids: None,
        output_mode: "tokens",
        stream: fields.stream,
        stream_options: (fields.stream && fields.has_stream_options).then_some(StreamOptions {
            include_usage: options.include_usage,
            continuous_usage_stats: options.continuous,
        }),
        cache_salt: fields.cache_salt.as_deref(),
        priority: fields.priority,
        kv_transfer_params: None,
        ec_transfer_params: None,
    })
}

fn refuse_beams(fields: &GenerateFields) -> Result<(), ApiError> {
    match fields.use_beam_search {
        true => Err(ApiError::bad_request("Beam search is not supported by the render endpoint")),
        false => Ok(()),
    }
}

/// A chat: one object.
pub async fn chat(
    frontend: &Frontend,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let (request, surrogates) = read(headers, body, ChatRequest::new)?;
    chat_request(frontend, headers, &request, surrogates, body.len()).await
}

/// The same for a chat that may come from another API, of a body of `len` bytes.
pub async fn chat_request(
    frontend: &Frontend,
    headers: &HeaderMap,
    request: &ChatRequest,
    surrogates: Result<(), ApiError>,
    len: usize,
) -> Result<Response<Body>, ApiError> {
    frontend.check_model(request.common.model.as_deref())?;
    surrogates?;
    refuse_beams(&request.common)?;
    frontend.check_tool_choice(&request.tool_choice)?;
    let (prompt, _) = frontend.chat_prompt(request, len).await?;
    let sampling = frontend.chat_sampling(request, &prompt)?;
    let given = request.common.request_id.as_deref();
    let id = request_id("chatcmpl-", headers, given, random_id);
    let mut rendered = rendered(&request.common, id, &prompt, &sampling)?;
    rendered.reasoning_ended = frontend.reasoning_ended(request, &prompt.tokens);
    rendered.reasoning_parser_kwargs = parser_kwargs(frontend, request);
    Ok(respond::json(&rendered))
}

/// What a parser of reasoning elsewhere has to know of the prompt.
fn parser_kwargs(frontend: &Frontend, request: &ChatRequest) -> Option<ParserKwargs> {
    let parses = frontend.parsers.as_ref().is_some_and(|parsers| parsers.has_reasoning());
    parses.then(|| {
        let chat_template_kwargs = frontend.parser_kwargs(&request.conversation);
        ParserKwargs { chat_template_kwargs }
    })
}

/// A response: one object.
pub async fn responses(
    frontend: &Frontend,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let (request, surrogates) = read(headers, body, ResponsesRequest::new)?;
    frontend.check_model(request.common().model.as_deref())?;
    surrogates?;
    if request.previous_response_id.is_some() {
        let message = "previous_response_id is not supported by the stateless render endpoint.";
        return Err(ApiError::invalid_request(400, message, "previous_response_id"));
    }
    let chat = request.to_chat(request.messages(None)?);
    let (prompt, _) = frontend.chat_prompt(&chat, body.len()).await?;
    request.check_constraints(frontend.parses_tools())?;
    let sampling = frontend.chat_sampling(&chat, &prompt)?;
    let id = request.request_id.clone().unwrap_or_else(|| "resp_".to_owned() + &random_id());
    let mut rendered = rendered(&chat.common, id, &prompt, &sampling)?;
    rendered.reasoning_parser_kwargs = parser_kwargs(frontend, &chat);
    let [kv, ec] = request.transfer_params.clone();
    (rendered.kv_transfer_params, rendered.ec_transfer_params) = (kv, ec);
    let params = &mut rendered.sampling_params;
    let at = params.keys().position(|name| name == "bad_words").unwrap_or(params.len());
    // Empty ones show as well here.
    if !params.contains_key("extra_args") {
        params.shift_insert(at, "extra_args".to_owned(), Map::new().into());
    }
    Ok(respond::json(&rendered))
}

/// Completions: a list, one for each prompt.
pub async fn completions(
    frontend: &Frontend,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let (mut request, surrogates) = read(headers, body, CompletionRequest::new)?;
    frontend.check_model(request.common.model.as_deref())?;
    surrogates?;
    refuse_beams(&request.common)?;
    check_prompt_kind(&request)?;
    let prompts = std::mem::take(&mut request.prompts);
    let prompts = frontend.completion_prompts(&request, prompts).await?;
    let jobs = frontend.completion_jobs(&request, prompts)?;
    let base = request_id("cmpl-", headers, request.common.request_id.as_deref(), random_id);
    let id = |at: usize| if jobs.len() == 1 { base.clone() } else { format!("{base}-{at}") };
    let all: Result<Vec<_>, ApiError> = jobs
        .iter()
        .enumerate()
        .map(|(at, job)| rendered(&request.common, id(at), &job.prompt, &job.sampling))
        .collect();
    Ok(respond::json(&all?))
}

/// What all endpoints for scaling out say while they are off.
pub fn disabled() -> ApiError {
    ApiError::permission_denied(
        "Scale-out endpoints are disabled. Restart vllm serve with --enable-scale-out to enable \
         them.",
    )
}
