//! A message, whole.

use super::super::chat::{Replies, tool_call_id};
use super::super::fanout::{Fanout, Output};
use super::super::frontend::Frontend;
use super::super::json::{Json, parse_text};
use super::super::kv_transfer::KvTransferReply;
use super::super::reply::{Stop, finish_members, random_id};
use super::super::respond;
use super::super::schema::{Errors, OBJECT, Path, check};
use crate::error::ApiError;
use axum::body::Body;
use axum::http::Response;
use serde::Serialize;
use serde_json::Value;

/// Token counts. Those of the cache are there when replies show them; what it gave and what it got
/// are no input tokens then.
#[derive(Debug, Serialize)]
pub struct Usage {
    input_tokens: usize,
    output_tokens: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_creation_input_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read_input_tokens: Option<u32>,
}

impl Usage {
    /// When a message starts: of the cache nothing is said yet.
    pub fn starting(prompt_tokens: usize) -> Self {
        Self {
            input_tokens: prompt_tokens,
            output_tokens: 0,
            cache_creation_input_tokens: None,
            cache_read_input_tokens: None,
        }
    }

    /// When it has ended.
    pub fn ended(
        frontend: &Frontend,
        replies: &Replies,
        output_tokens: usize,
        fanout: &Fanout,
    ) -> Self {
        let read = frontend.shown_cached(fanout.cached(0));
        let created = read.map(|_| frontend.created_cache(replies.prompt_tokens, read));
        let of_cache = read.unwrap_or(0) + created.unwrap_or(0);
        Self {
            input_tokens: replies.prompt_tokens.saturating_sub(of_cache as usize),
            output_tokens,
            cache_creation_input_tokens: created,
            cache_read_input_tokens: read,
        }
    }
}

/// A block of content. Its members are vLLM's, in its order.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block<'a> {
    Text {
        text: &'a str,
    },
    Thinking {
        thinking: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
    },
    ToolUse {
        id: String,
        name: &'a str,
        input: Value,
    },
}

/// What is known of the calls of a message when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    None,
    /// The last one was cut short.
    Broken,
    Complete,
}

/// `stop_reason` and `stop_sequence`: how a chat's finish reason is told here. A call that a stop
/// string cut short must not run, so then the string is the reason.
pub fn stop_members<'a>(
    finish: Option<&str>,
    stop: Option<&Stop<'a>>,
    calls: Calls,
) -> (Option<&'static str>, Option<&'a str>) {
    match (finish, stop) {
        (Some("length"), _) => (Some("max_tokens"), None),
        (Some("stop" | "tool_calls"), _) if calls == Calls::Complete => (Some("tool_use"), None),
        (Some("stop" | "tool_calls"), Some(Stop::Text(text))) => {
            (Some("stop_sequence"), Some(*text))
        }
        (Some("tool_calls"), _) => (Some("tool_use"), None),
        (Some("stop"), _) if calls != Calls::None => (Some("tool_use"), None),
        (Some("stop"), _) => (Some("end_turn"), None),
        _ => (None, None),
    }
}

/// A signature of thinking: 32 hexadecimal digits, which vLLM draws and never looks at again.
pub fn signature() -> String {
    random_id() + &random_id()
}

#[derive(Serialize)]
struct Message<'a> {
    id: &'a str,
    r#type: &'static str,
    role: &'static str,
    content: Vec<Block<'a>>,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_sequence: Option<&'a str>,
    usage: Usage,
    #[serde(skip_serializing_if = "Option::is_none")]
    kv_transfer_params: Option<KvTransferReply<'a>>,
}

/// The response once the generation has ended.
pub fn whole(
    frontend: &Frontend,
    replies: &Replies,
    outputs: &[Output],
    fanout: &Fanout,
) -> Result<Response<Body>, ApiError> {
    let Some(output) = outputs.first() else { return Err(ApiError::generation_failed()) };
    let said = replies.said(frontend, output);
    let mut content = Vec::new();
    if let Some(thinking) = said.reasoning.as_deref().filter(|text| !text.is_empty()) {
        content.push(Block::Thinking { thinking, signature: Some(signature()) });
    }
    if let Some(text) = said.content.as_deref().filter(|text| !text.is_empty()) {
        content.push(Block::Text { text });
    }
    for call in &said.tool_calls {
        let (id, input) = (tool_call_id(), input(&call.arguments)?);
        content.push(Block::ToolUse { id, name: &call.name, input });
    }
    // Clients rely on the first block.
    if content.is_empty() {
        content.push(Block::Text { text: "" });
    }
    let calls = if said.tool_calls.is_empty() { Calls::None } else { Calls::Complete };
    let (_, stop) = finish_members(output.finish.as_ref());
    let (stop_reason, stop_sequence) = stop_members(said.finish, stop.as_ref(), calls);
    Ok(respond::json(&Message {
        id: &replies.id,
        r#type: "message",
        role: "assistant",
        content,
        model: &replies.model,
        stop_reason,
        stop_sequence,
        usage: Usage::ended(frontend, replies, output.total_tokens, fanout),
        kv_transfer_params: frontend.shown_transfer(fanout),
    }))
}

/// The arguments of a call as a value; clients expect an object.
fn input(arguments: &str) -> Result<Value, ApiError> {
    let input = parse_text(arguments).map_or(Json::Null, |document| document.root);
    let (root, mut errors) = (Path::root(""), Errors::default());
    match check(&OBJECT, &input, &root.key("input"), &mut errors)? {
        Some(_) => Ok(input.to_value()),
        None => Err(errors.into_late_error("AnthropicContentBlock")),
    }
}
