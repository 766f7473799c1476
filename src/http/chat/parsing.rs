//! What a chat's output says to its client: parsed, and shown as `tool_choice` wants it.

use super::super::fanout::Output;
use super::super::frontend::Frontend;
use super::super::reply::random_id;
use super::super::request::{ChatRequest, Conversation, ToolChoice};
use crate::telemetry::metrics::{ParserApi, ParserMode};
use crate::text::Parsers;
use crate::text::parse::{
    FunctionCall, OutputParser, Parsed, ParsedDelta, Reading, ToolSchema, ToolUse,
};
use crate::types::{FinishReason, Token};
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;

/// How the outputs of one request are read.
#[derive(Clone, Debug)]
pub struct Parsing {
    parsers: Arc<Parsers>,
    reading: Reading,
    choice: ToolChoice,
    /// Only the first call is shown.
    single_call: bool,
}

/// A whole output, as its message shows it.
#[derive(Debug, Default)]
pub struct Said {
    pub content: Option<String>,
    pub reasoning: Option<String>,
    pub tool_calls: Vec<FunctionCall>,
    pub finish: Option<&'static str>,
    pub reasoning_tokens: usize,
}

impl Parsing {
    /// `None` when the server parses nothing.
    pub fn new(frontend: &Frontend, request: &ChatRequest) -> Option<Self> {
        Some(Self {
            parsers: frontend.parsers.clone()?,
            reading: Reading {
                thinking: frontend.thinking(&request.conversation),
                tools: request.tool_choice.tool_use(),
                include_reasoning: request.include_reasoning,
                schemas: schemas(request.conversation.tools.as_ref()),
            },
            choice: request.tool_choice.clone(),
            single_call: request.single_tool_call,
        })
    }

    /// Whether what tells of tokens (their ids, log-probabilities) must not show: it would tell
    /// the reasoning that the request does not want.
    pub fn hides_tokens(&self) -> bool {
        !self.reading.include_reasoning
    }

    /// A parser for one streamed generation.
    pub fn stream(&self, prompt: &[Token]) -> OutputParser {
        self.parsers.stream(self.reading.clone(), prompt)
    }

    /// What the text of a whole output says, for a client of `api`.
    pub fn parsed(&self, frontend: &Frontend, text: &str, api: ParserApi) -> Parsed {
        let mut parsed = self.all(frontend, text, api);
        if self.single_call {
            parsed.tool_calls.truncate(1);
        }
        parsed
    }

    /// The same with all calls, however many are wanted.
    fn all(&self, frontend: &Frontend, text: &str, api: ParserApi) -> Parsed {
        let parsed = self.parsers.whole(&self.reading, text);
        if let Some(called) = parsed.tools_called {
            frontend.metrics.tool_parser_invoked(ParserMode::Whole, api, called);
        }
        parsed
    }

    /// Reads a text that some server has generated, whatever was asked for.
    pub fn unfiltered(&self, frontend: &Frontend, text: &str) -> Said {
        let parsed = self.all(frontend, text, ParserApi::Chat);
        let mut said = Said {
            content: parsed.content,
            reasoning: parsed.reasoning.filter(|_| self.reading.include_reasoning),
            tool_calls: parsed.tool_calls,
            ..Said::default()
        };
        if matches!(self.choice, ToolChoice::Named(_) | ToolChoice::Required) {
            said.content.get_or_insert_default();
        }
        said
    }

    /// Reads a whole output.
    pub fn whole(&self, frontend: &Frontend, output: &Output) -> Said {
        let mut said = self.unfiltered(frontend, &output.text);
        let reason = output.finish.as_ref().map(|finish| finish.reason);
        let called = match &self.choice {
            ToolChoice::Auto => !said.tool_calls.is_empty(),
            ToolChoice::Required => reason == Some(FinishReason::Stop),
            ToolChoice::Named(_) => false,
            ToolChoice::None | ToolChoice::Null => {
                // vLLM leaves calls out that an explicit null let the model make.
                said.tool_calls.clear();
                false
            }
        };
        if self.single_call {
            said.tool_calls.truncate(1);
        }
        said.finish = if called { Some("tool_calls") } else { reason.map(FinishReason::as_str) };
        said.reasoning_tokens = self.reasoning_tokens(&output.tokens);
        said
    }

    /// How many tokens of a whole output are reasoning.
    pub fn reasoning_tokens(&self, tokens: &[Token]) -> usize {
        self.parsers.reasoning_tokens(self.reading.thinking, tokens)
    }

    /// The finish reason of a stream that ended in `reason`.
    pub fn stream_finish(&self, reason: FinishReason, has_calls: bool) -> &'static str {
        match has_calls && !self.is_named() && reason == FinishReason::Stop {
            true => "tool_calls",
            false => reason.as_str(),
        }
    }

    /// Whether the tool to call was named.
    pub fn is_named(&self) -> bool {
        matches!(self.choice, ToolChoice::Named(_))
    }

    /// Whether only the first call is wanted.
    pub fn is_single(&self) -> bool {
        self.single_call
    }

    /// Keeps of a delta what the request wants to see.
    pub fn keep(&self, delta: &mut ParsedDelta<'_>) {
        if self.single_call {
            delta.tool_calls.retain(|call| call.index == 0);
        }
    }
}

impl ToolChoice {
    /// What it means for reading an output.
    pub fn tool_use(&self) -> ToolUse {
        match self {
            Self::None => ToolUse::Never,
            Self::Auto | Self::Null => ToolUse::Free,
            Self::Required | Self::Named(_) => ToolUse::Forced,
        }
    }
}

impl Frontend {
    /// The variables of a chat's template as parsers see them: the server's, the request's, and
    /// what vLLM adds to them.
    pub fn parser_kwargs(&self, conversation: &Conversation) -> Map<String, Value> {
        let given = &conversation.chat_template_kwargs;
        let mut kwargs: Map<String, Value> =
            given.iter().map(|(name, value)| (name.clone(), value.to_value())).collect();
        let mut add = |name: &str, value: Value| drop(kwargs.insert(name.to_owned(), value));
        add("add_generation_prompt", conversation.add_generation_prompt.into());
        add("continue_final_message", conversation.continue_final_message.into());
        if let Some(documents) = &conversation.documents {
            add("documents", documents.to_value());
        }
        if let Some(effort) = &conversation.reasoning_effort {
            add("reasoning_effort", effort.as_str().into());
            if !given.contains_key("enable_thinking") {
                add("enable_thinking", (effort != "none").into());
            }
        }
        let mut all = self.options.default_chat_template_kwargs.clone();
        // A variable for another model's template, which vLLM always has among its defaults.
        if !all.contains_key("cohere_format") {
            all.insert("cohere_format".to_owned(), "cmd4".into());
        }
        let is_set = |value: &Value| !value.is_null() && value != "auto";
        all.extend(kwargs.into_iter().filter(|(_, value)| is_set(value)));
        all
    }

    /// Whether parsers take the output of a chat to start with reasoning.
    pub fn thinking(&self, conversation: &Conversation) -> bool {
        self.parser_kwargs(conversation).get("enable_thinking").is_none_or(truthy)
    }

    /// Whether what a request asks of the output's form holds from its first token on, for there
    /// is no reasoning before it; `None` without a parser of reasoning.
    pub fn reasoning_ended(&self, request: &ChatRequest, prompt: &[Token]) -> Option<bool> {
        if !request.include_reasoning {
            return Some(true);
        }
        let thinking = self.thinking(&request.conversation);
        self.parsers.as_ref()?.reasoning_ended(thinking, prompt)
    }
}

/// The names of tools and the schemas of their parameters.
fn schemas(tools: Option<&Value>) -> Arc<[ToolSchema]> {
    let schema = |tool: &Value| {
        let function = &tool["function"];
        let properties = function["parameters"]["properties"].as_object();
        let name = function["name"].as_str().unwrap_or_default().to_owned();
        ToolSchema { name, properties: properties.cloned().unwrap_or_default() }
    };
    tools.and_then(Value::as_array).into_iter().flatten().map(schema).collect()
}

/// Python's `bool(value)`.
fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(value) => value.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

/// The id of a tool call.
pub fn tool_call_id() -> String {
    format!("chatcmpl-tool-{}", random_id())
}

/// A tool call of a message.
#[derive(Debug, Serialize)]
pub struct ToolCall {
    id: String,
    r#type: &'static str,
    function: Function,
}

#[derive(Debug, Serialize)]
struct Function {
    name: String,
    arguments: String,
}

impl ToolCall {
    pub fn new(id: String, call: FunctionCall) -> Self {
        let function = Function { name: call.name, arguments: call.arguments };
        Self { id, r#type: "function", function }
    }
}

impl From<FunctionCall> for ToolCall {
    fn from(call: FunctionCall) -> Self {
        Self::new(tool_call_id(), call)
    }
}
