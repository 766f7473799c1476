//! The replies, in vLLM's order of members.

use super::super::chat::{Said, ToolCall};
use super::super::json::{Dict, Int, Json};
use super::super::reply::{Usage, random_id};
use super::super::request::State;
use super::logprobs::{ChatLogprobs, CompletionLogprobs};
use crate::types::Token;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

#[derive(serde::Serialize)]
pub struct ChatReply<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created: u64,
    pub model: &'a str,
    pub choices: Vec<ChatChoice<'a>>,
    pub service_tier: (),
    pub system_fingerprint: (),
    pub usage: Usage,
    pub prompt_logprobs: Option<Value>,
    pub prompt_token_ids: (),
    pub prompt_text: (),
    pub kv_transfer_params: Option<Value>,
    pub ec_transfer_params: (),
    pub metrics: Option<Metrics<'a>>,
}

#[derive(serde::Serialize)]
pub struct ChatChoice<'a> {
    pub index: Value,
    pub message: Message,
    pub logprobs: Option<ChatLogprobs>,
    pub finish_reason: Option<&'a str>,
    pub stop_reason: Option<Value>,
    pub token_ids: Option<&'a [Token]>,
    pub routed_experts: (),
}

#[derive(Default, serde::Serialize)]
pub struct Message {
    role: &'static str,
    content: Option<String>,
    refusal: (),
    annotations: (),
    audio: (),
    function_call: (),
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall>,
    reasoning: Option<String>,
}

impl Message {
    pub fn assistant(content: String) -> Self {
        Self { role: "assistant", content: Some(content), ..Self::default() }
    }

    /// A message that was parsed.
    pub fn of(said: Said) -> Self {
        let calls = said.tool_calls.into_iter();
        Self {
            role: "assistant",
            content: said.content,
            tool_calls: calls.map(|call| ToolCall::new(random_id(), call)).collect(),
            reasoning: said.reasoning,
            ..Self::default()
        }
    }
}

#[derive(serde::Serialize)]
pub struct CompletionReply<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created: u64,
    pub model: &'a str,
    pub choices: Vec<CompletionChoice<'a>>,
    pub service_tier: (),
    pub system_fingerprint: (),
    pub usage: Usage,
    pub kv_transfer_params: Option<Value>,
    pub ec_transfer_params: (),
    pub metrics: Option<Metrics<'a>>,
}

#[derive(serde::Serialize)]
pub struct CompletionChoice<'a> {
    pub index: usize,
    pub text: String,
    pub logprobs: Option<CompletionLogprobs>,
    pub finish_reason: Option<&'a str>,
    pub stop_reason: Option<Value>,
    pub token_ids: (),
    pub prompt_logprobs: (),
    pub prompt_token_ids: (),
    pub routed_experts: (),
}

/// A chunk beside the state for the next one.
#[derive(serde::Serialize)]
pub struct WithState<'a, C> {
    pub chunk: C,
    pub stream_state: &'a State,
}

#[derive(serde::Serialize)]
pub struct ChatChunk<'a> {
    pub id: String,
    pub object: &'static str,
    pub created: u64,
    pub model: &'a str,
    pub choices: Vec<ChatChunkChoice<'a>>,
    pub usage: Option<Usage>,
    pub system_fingerprint: (),
    pub prompt_token_ids: (),
    pub prompt_text: (),
    pub metrics: Option<Metrics<'a>>,
}

#[derive(serde::Serialize)]
pub struct ChatChunkChoice<'a> {
    pub index: Value,
    pub delta: Delta,
    pub logprobs: Option<ChatLogprobs>,
    pub finish_reason: Option<&'a str>,
    pub stop_reason: Option<Value>,
    pub token_ids: Option<&'a [Token]>,
}

#[derive(Default, serde::Serialize)]
pub struct Delta {
    pub role: Option<&'static str>,
    pub content: Option<String>,
    pub reasoning: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<CallDelta>,
}

#[derive(serde::Serialize)]
pub struct CallDelta {
    pub id: Option<String>,
    pub r#type: Option<&'static str>,
    pub index: usize,
    pub function: FunctionDelta,
}

#[derive(serde::Serialize)]
pub struct FunctionDelta {
    pub name: Option<String>,
    pub arguments: Option<String>,
}

#[derive(serde::Serialize)]
pub struct CompletionChunk<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created: u64,
    pub model: &'a str,
    pub choices: Vec<CompletionChunkChoice<'a>>,
    pub usage: Option<Usage>,
    pub system_fingerprint: (),
    pub metrics: Option<Metrics<'a>>,
}

#[derive(serde::Serialize)]
pub struct CompletionChunkChoice<'a> {
    pub index: Value,
    pub text: String,
    pub logprobs: Option<CompletionLogprobs>,
    pub finish_reason: Option<&'a str>,
    pub stop_reason: Option<Value>,
    pub prompt_token_ids: (),
    pub token_ids: (),
}

/// The times that another server has measured.
pub struct Metrics<'a>(pub &'a [Option<f64>; 5]);

impl Serialize for Metrics<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let names = super::super::request::METRICS_MEMBERS;
        let mut map = serializer.serialize_map(Some(6))?;
        for (name, value) in names.iter().zip(self.0) {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("speculative_decoding", &())?;
        map.end()
    }
}

/// A number of any size.
pub fn int(value: &Int) -> Value {
    Json::Int(value.clone()).to_value()
}

/// Log-probabilities of a prompt with all members of each entry.
pub fn prompt_logprobs(all: &Json) -> Value {
    let entry = |entry: &Dict| {
        let member = |name: &str| entry.get(name).cloned().unwrap_or(Json::Null);
        let names = ["logprob", "rank", "decoded_token"];
        Json::Dict(names.iter().map(|name| ((*name).to_owned(), member(name))).collect())
    };
    let position = |position: &Json| match position.as_dict() {
        None => Json::Null,
        Some(tokens) => Json::Dict(
            tokens
                .iter()
                .filter_map(|(token, value)| Some((token.clone(), entry(value.as_dict()?))))
                .collect(),
        ),
    };
    let positions = all.as_list().unwrap_or_default();
    Json::List(positions.iter().map(position).collect()).to_value()
}
