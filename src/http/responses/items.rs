//! What a response puts out: reasoning, messages and calls.

use super::super::chat::tool_call_id;
use super::super::reply::random_id;
use super::super::request::{Callee, Tools, custom_input};
use crate::text::{ChatLogprob, PositionTexts, TopLogprob};
use serde::Serialize;

/// One thing that was put out; members in the order of OpenAI's types.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Item {
    Reasoning {
        id: String,
        summary: [(); 0],
        r#type: &'static str,
        content: Option<[ReasoningText; 1]>,
        encrypted_content: (),
        status: Option<&'static str>,
    },
    Message {
        id: String,
        content: Vec<OutputText>,
        role: &'static str,
        status: &'static str,
        r#type: &'static str,
        phase: (),
    },
    FunctionCall {
        arguments: String,
        call_id: String,
        name: String,
        r#type: &'static str,
        id: String,
        r#async: (),
        caller: (),
        namespace: Option<String>,
        status: &'static str,
    },
    CustomCall {
        call_id: String,
        input: String,
        name: String,
        r#type: &'static str,
        id: String,
        r#async: (),
        caller: (),
        namespace: (),
    },
}

/// A part of an item of reasoning.
#[derive(Clone, Debug, Serialize)]
pub struct ReasoningText {
    text: String,
    r#type: &'static str,
}

/// A part of a message.
#[derive(Clone, Debug, Serialize)]
pub struct OutputText {
    annotations: [(); 0],
    pub text: String,
    r#type: &'static str,
    logprobs: Option<Vec<Logprob>>,
}

/// The log-probability of a token, with those of the most likely ones.
#[derive(Clone, Debug, Serialize)]
pub struct Logprob {
    pub token: String,
    bytes: Vec<u8>,
    pub logprob: f64,
    pub top_logprobs: Vec<Top>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Top {
    pub token: String,
    bytes: Vec<u8>,
    pub logprob: f64,
}

impl From<TopLogprob> for Top {
    fn from(top: TopLogprob) -> Self {
        Self { token: top.token, bytes: top.bytes, logprob: top.logprob }
    }
}

impl Logprob {
    /// The entries of some tokens, with the `top` most likely ones each.
    pub fn all(positions: &[PositionTexts], top: i32, as_token_ids: bool) -> Vec<Self> {
        let entry = |position: &PositionTexts| {
            let ChatLogprob { token, logprob, top_logprobs, .. } = position.chat(top, as_token_ids);
            let bytes = token.clone().into_bytes();
            let top_logprobs = top_logprobs.into_iter().map(Top::from).collect();
            Self { token, bytes, logprob, top_logprobs }
        };
        positions.iter().map(entry).collect()
    }
}

impl ReasoningText {
    pub fn new(text: String) -> Self {
        Self { text, r#type: "reasoning_text" }
    }
}

impl OutputText {
    pub fn new(text: String, logprobs: Option<Vec<Logprob>>) -> Self {
        Self { annotations: [], text, r#type: "output_text", logprobs }
    }
}

/// A new id of an item.
pub fn item_id(prefix: &str) -> String {
    prefix.to_owned() + &random_id()
}

impl Item {
    /// Reasoning; `None` for content that has yet to come.
    pub fn reasoning(id: String, text: Option<String>, status: Option<&'static str>) -> Self {
        Self::Reasoning {
            id,
            summary: [],
            r#type: "reasoning",
            content: text.map(|text| [ReasoningText::new(text)]),
            encrypted_content: (),
            status,
        }
    }

    /// A message of at most one part.
    pub fn message(id: String, part: Option<OutputText>, status: &'static str) -> Self {
        let content = part.into_iter().collect();
        Self::Message { id, content, role: "assistant", status, r#type: "message", phase: () }
    }

    /// A call under the id of its item and its own.
    pub fn call(
        (id, call_id): (String, String),
        callee: Callee,
        arguments: String,
        status: &'static str,
    ) -> Self {
        let Callee { name, namespace, is_custom } = callee;
        match is_custom {
            true => Self::CustomCall {
                call_id,
                input: arguments,
                name,
                r#type: "custom_tool_call",
                id,
                r#async: (),
                caller: (),
                namespace: (),
            },
            false => Self::FunctionCall {
                arguments,
                call_id,
                name,
                r#type: "function_call",
                id,
                r#async: (),
                caller: (),
                namespace,
                status,
            },
        }
    }

    /// A finished call that the model made.
    pub fn whole_call(tools: &Tools, name: &str, arguments: String) -> Self {
        let callee = tools.callee(name);
        let ids = (item_id(callee.id_prefix()), tool_call_id());
        let arguments = if callee.is_custom { custom_input(&arguments) } else { arguments };
        Self::call(ids, callee, arguments, "completed")
    }

    /// What a message says, which the next turn starts from.
    pub fn said(&self) -> Option<&str> {
        match self {
            Self::Message { content, .. } => content.first().map(|part| part.text.as_str()),
            _ => None,
        }
    }
}

impl Callee {
    /// How ids of its calls begin.
    pub fn id_prefix(&self) -> &'static str {
        if self.is_custom { "ctc_" } else { "fc_" }
    }
}
