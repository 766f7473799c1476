//! `POST /v1/messages` and what belongs to it: Anthropic's API, as vLLM has it over its chats.

mod conversation;
mod reply;
mod stream;
mod template;
#[cfg(test)]
mod tests;
mod tools;

pub use template::merges_systems;

use super::body::read;
use super::call::Call;
use super::chat::Started;
use super::fanout::{Numbering, Origin};
use super::frontend::Frontend;
use super::headers::request_id;
use super::json::{Dict, Json};
use super::reply::random_id;
use super::request::{ChatRequest, Fields, MessagesRequest, Thinking};
use super::request_log::{RequestLog, with_reply_id};
use super::{render, respond, sse};
use crate::error::ApiError;
use crate::types::ReasoningEffort;
use axum::body::Body;
use axum::http::{HeaderMap, Response};
use conversation::{object, string};
use serde::Serialize;
use std::sync::Arc;

/// Answers one request.
pub async fn create(
    frontend: Arc<Frontend>,
    mut call: Call,
    headers: HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let (request, surrogates) = read(&headers, body, MessagesRequest::new)?;
    call.arrived();
    let id = request_id("chatcmpl-", &headers, None, random_id);
    let log = RequestLog::new(&frontend.options, &id, call.span());
    log.iter().for_each(|log| log.body(body));
    let origin =
        Origin { id: &id, numbers: Numbering::None, headers: &headers, call: call.clone(), log };
    let response = answer(frontend, &request, surrogates, origin, body.len()).await;
    response.map(|response| with_reply_id(response, id)).map_err(ApiError::for_anthropic)
}

async fn answer(
    frontend: Arc<Frontend>,
    request: &MessagesRequest,
    surrogates: Result<(), ApiError>,
    origin: Origin<'_>,
    len: usize,
) -> Result<Response<Body>, ApiError> {
    let chat = frontend.as_chat(request, frontend.thinking_off(request))?;
    origin.call.asks_for(&chat.common, origin.headers);
    let Started { fanout, replies } = frontend.start_chat(&chat, surrogates, origin, len).await?;
    if chat.common.stream {
        let events = stream::MessageEvents::new(frontend, replies);
        return Ok(respond::events(sse::body(fanout, events)));
    }
    let mut fanout = fanout?;
    let outputs = fanout.finish().await?;
    reply::whole(&frontend, &replies, &outputs, &fanout)
}

#[derive(Serialize)]
struct Count {
    input_tokens: usize,
    context_management: ContextManagement,
}

#[derive(Serialize)]
struct ContextManagement {
    original_input_tokens: usize,
}

/// Counts the tokens of a prompt.
pub async fn count_tokens(
    frontend: &Frontend,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let (request, surrogates) = read(headers, body, MessagesRequest::to_count)?;
    let count = async {
        let chat = frontend.as_chat(&request, frontend.thinking_off(&request))?;
        frontend.check_model(chat.common.model.as_deref())?;
        surrogates?;
        let _room = frontend.engine.reserve(1)?;
        frontend.check_tool_choice(&chat.tool_choice)?;
        frontend.chat_prompt(&chat, body.len()).await
    };
    let (prompt, _) = count.await.map_err(ApiError::for_anthropic)?;
    let input_tokens = prompt.tokens.len();
    let context_management = ContextManagement { original_input_tokens: input_tokens };
    Ok(respond::json(&Count { input_tokens, context_management }))
}

/// What a request comes to, token by token, without running it.
pub async fn render(
    frontend: &Frontend,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let (request, surrogates) = read(headers, body, MessagesRequest::new)?;
    let chat = frontend.as_chat(&request, ReasoningEffort::None)?;
    render::chat_request(frontend, headers, &chat, surrogates, body.len()).await
}

impl Frontend {
    /// The effort that stands for no thinking, as far as a request asks for none.
    fn thinking_off(&self, request: &MessagesRequest) -> ReasoningEffort {
        match request.thinking() {
            Some(Thinking::Disabled) => self.effort_of_no_thinking(),
            _ => ReasoningEffort::None,
        }
    }

    /// The chat that a request comes to.
    fn as_chat(
        &self,
        request: &MessagesRequest,
        disabled_effort: ReasoningEffort,
    ) -> Result<ChatRequest, ApiError> {
        let body = request.fields();
        let messages = conversation::to_chat(body, self.merges_systems)?;
        let mut chat = Dict::new();
        chat.insert("messages".to_owned(), Json::List(messages));
        // What the schema of counts does not know was dropped with the rest that it does not know.
        let shared: &[(&str, &str)] = match request.counts_only {
            true => &SHARED[..2],
            false => &SHARED,
        };
        for (name, chat_name) in shared {
            let value = body.get(name).cloned();
            chat.extend(value.map(|value| ((*chat_name).to_owned(), value)));
        }
        ChatRequest::check_converted(&mut chat)?;
        if !request.counts_only && body.flag("stream") {
            let options = ["include_usage", "continuous_usage_stats"];
            let options = object(options.map(|name| (name, Json::Bool(true))));
            chat.insert("stream".to_owned(), Json::Bool(true));
            chat.insert("stream_options".to_owned(), options);
        }
        write_output(request, &mut chat);
        match request.thinking() {
            Some(Thinking::Disabled) => {
                chat.insert("reasoning_effort".to_owned(), string(disabled_effort.name()));
            }
            Some(Thinking::Enabled) => {
                let budget = body
                    .dict("thinking")
                    .and_then(|thinking| Fields(thinking).int("budget_tokens").map(Json::Int));
                chat.extend(budget.map(|budget| ("thinking_token_budget".to_owned(), budget)));
            }
            Some(Thinking::Adaptive) | None => {}
        }
        tools::write(body, &mut chat)?;
        ChatRequest::from_checked(chat)
    }
}

/// Members that a chat has as well, and their names there. The first two also shape prompts.
const SHARED: [(&str, &str); 13] = [
    ("model", "model"),
    ("chat_template_kwargs", "chat_template_kwargs"),
    ("max_tokens", "max_tokens"),
    ("max_tokens", "max_completion_tokens"),
    ("stop_sequences", "stop"),
    ("temperature", "temperature"),
    ("top_p", "top_p"),
    ("top_k", "top_k"),
    ("watermarking", "watermarking"),
    ("cache_salt", "cache_salt"),
    ("kv_transfer_params", "kv_transfer_params"),
    ("ec_transfer_params", "ec_transfer_params"),
    ("vllm_xargs", "vllm_xargs"),
];

/// Writes what `output_config` says of the form of the output and of the effort.
fn write_output(request: &MessagesRequest, chat: &mut Dict) {
    let Some(config) = request.fields().dict("output_config").map(Fields) else {
        return;
    };
    let format = config.dict("format").map(Fields);
    let schema = format.and_then(|format| format.dict("schema"));
    if let Some(schema) = schema.filter(|schema| !schema.is_empty()) {
        let named = [("name", string("json_schema")), ("schema", Json::Dict(schema.clone()))];
        let format = [("type", string("json_schema")), ("json_schema", object(named))];
        chat.insert("response_format".to_owned(), object(format));
    }
    if let Some(effort) = config.str("effort") {
        chat.insert("reasoning_effort".to_owned(), string(effort));
    }
}
