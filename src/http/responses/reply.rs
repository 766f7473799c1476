//! The response object.

use super::super::chat::Parsing;
use super::super::fanout::{Fanout, Output};
use super::super::frontend::Frontend;
use super::super::reply::to_json;
use super::super::request::{Sampling, Shown, Tools};
use super::items::{Item, Logprob, OutputText, item_id};
use super::store::{Finished, Store};
use crate::telemetry::metrics::ParserApi;
use crate::types::json::Json;
use crate::types::{FinishReason, Token};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

/// Where a response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Queued,
    InProgress,
    Completed,
    Incomplete,
    Failed,
    Cancelled,
}

/// What all forms of one response have in common.
#[derive(Debug)]
pub struct Outline {
    id: String,
    created_at: u64,
    model: String,
    shown: Shown,
    temperature: f64,
    top_p: f64,
    max_output_tokens: u32,
    presence_penalty: f64,
    frequency_penalty: f64,
    /// Only with log-probabilities.
    top_logprobs: Option<i32>,
}

/// A request under way, with all that its reply needs.
pub struct Turn {
    pub frontend: Arc<Frontend>,
    pub outline: Arc<Outline>,
    /// `None` when output is content and nothing else.
    pub parsing: Option<Parsing>,
    pub tools: Tools,
    pub include_reasoning: bool,
    pub top_logprobs: Option<i32>,
    pub prompt: Arc<[Token]>,
    /// The prompt's text, when the reply shows it.
    pub prompt_text: Option<String>,
    /// The conversation, and where it is kept.
    pub kept: Option<(Arc<Store>, Arc<[Json]>)>,
}

/// What was generated, as far as the reply tells of it.
pub struct Generated {
    pub output: Vec<Item>,
    pub finish: Option<FinishReason>,
    pub tokens: usize,
    pub reasoning_tokens: usize,
    /// Prompt tokens that the cache held, as far as the engine said.
    pub cached: Option<u32>,
    /// The whole text with its tokens, when the reply shows it.
    pub raw: Option<(String, Vec<Token>)>,
    /// The blocks that are kept for a peer.
    pub kv_transfer: Option<Value>,
}

#[derive(Serialize)]
struct Incomplete {
    reason: &'static str,
}

#[derive(Serialize)]
struct InputDetails {
    cached_tokens: u32,
    cache_write_tokens: u32,
    input_tokens_per_turn: [(); 0],
    cached_tokens_per_turn: [(); 0],
}

#[derive(Serialize)]
struct OutputDetails {
    reasoning_tokens: usize,
    tool_output_tokens: usize,
    output_tokens_per_turn: [(); 0],
    tool_output_tokens_per_turn: [(); 0],
}

#[derive(Serialize)]
struct Usage {
    input_tokens: usize,
    input_tokens_details: InputDetails,
    output_tokens: usize,
    output_tokens_details: OutputDetails,
    total_tokens: usize,
}

#[derive(Serialize)]
struct RawMessage<'a> {
    message: &'a str,
    tokens: &'a [Token],
    r#type: &'static str,
}

/// The object itself.
#[derive(Serialize)]
pub struct Reply<'a> {
    id: &'a str,
    created_at: u64,
    incomplete_details: Option<Incomplete>,
    instructions: Option<&'a str>,
    metadata: &'a Value,
    model: &'a str,
    object: &'static str,
    output: &'a [Item],
    parallel_tool_calls: bool,
    temperature: f64,
    tool_choice: &'a Value,
    tools: &'a Value,
    top_p: f64,
    background: bool,
    max_output_tokens: u32,
    max_tool_calls: &'a Value,
    previous_response_id: Option<&'a str>,
    prompt: (),
    reasoning: &'a Value,
    service_tier: &'a Value,
    pub status: Status,
    text: &'a Value,
    top_logprobs: Option<i32>,
    truncation: &'a Value,
    usage: Option<Usage>,
    user: Option<&'a str>,
    presence_penalty: f64,
    frequency_penalty: f64,
    kv_transfer_params: Option<&'a Value>,
    ec_transfer_params: (),
    input_messages: Option<[RawMessage<'a>; 1]>,
    output_messages: Option<Vec<RawMessage<'a>>>,
}

/// The digits that the client wrote, not those of the nearest 64-bit number.
fn written(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

impl Outline {
    pub fn new(
        frontend: &Frontend,
        id: String,
        created_at: u64,
        shown: Shown,
        top_logprobs: Option<i32>,
        sampling: &Sampling,
    ) -> Self {
        let params = &sampling.params;
        Self {
            id,
            created_at,
            model: frontend.model_name().to_owned(),
            shown,
            temperature: written(params.temperature),
            top_p: written(params.top_p),
            max_output_tokens: params.max_tokens,
            presence_penalty: written(params.presence_penalty),
            frequency_penalty: written(params.frequency_penalty),
            top_logprobs,
        }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn is_in_background(&self) -> bool {
        self.shown.background
    }

    /// The object before anything was put out, or when nothing will be.
    pub fn bare(&self, status: Status) -> Reply<'_> {
        let shown = &self.shown;
        Reply {
            id: &self.id,
            created_at: self.created_at,
            incomplete_details: None,
            instructions: shown.instructions.as_deref(),
            metadata: &shown.metadata,
            model: &self.model,
            object: "response",
            output: &[],
            parallel_tool_calls: shown.parallel_tool_calls,
            temperature: self.temperature,
            tool_choice: &shown.tool_choice,
            tools: &shown.tools,
            top_p: self.top_p,
            background: shown.background,
            max_output_tokens: self.max_output_tokens,
            max_tool_calls: &shown.max_tool_calls,
            previous_response_id: shown.previous_response_id.as_deref(),
            prompt: (),
            reasoning: &shown.reasoning,
            service_tier: &shown.service_tier,
            status,
            text: &shown.text,
            top_logprobs: self.top_logprobs,
            truncation: &shown.truncation,
            usage: None,
            user: shown.user.as_deref(),
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            kv_transfer_params: None,
            ec_transfer_params: (),
            input_messages: None,
            output_messages: None,
        }
    }
}

impl Turn {
    /// The object at the end.
    pub fn reply<'a>(&'a self, generated: &'a Generated) -> Reply<'a> {
        let cut = generated.finish == Some(FinishReason::Length);
        let status = match generated.finish {
            Some(FinishReason::Abort) => Status::Cancelled,
            _ if cut => Status::Incomplete,
            _ => Status::Completed,
        };
        let prompt_tokens = self.prompt.len();
        let raw = |message, tokens| RawMessage { message, tokens, r#type: "raw_message_tokens" };
        Reply {
            incomplete_details: cut.then_some(Incomplete { reason: "max_output_tokens" }),
            output: &generated.output,
            usage: Some(Usage {
                input_tokens: prompt_tokens,
                input_tokens_details: InputDetails {
                    cached_tokens: generated.cached.unwrap_or(0),
                    cache_write_tokens: self
                        .frontend
                        .created_cache(prompt_tokens, generated.cached),
                    input_tokens_per_turn: [],
                    cached_tokens_per_turn: [],
                },
                output_tokens: generated.tokens,
                output_tokens_details: OutputDetails {
                    reasoning_tokens: generated.reasoning_tokens,
                    tool_output_tokens: 0,
                    output_tokens_per_turn: [],
                    tool_output_tokens_per_turn: [],
                },
                total_tokens: prompt_tokens + generated.tokens,
            }),
            input_messages: self.prompt_text.as_deref().map(|text| [raw(text, &self.prompt)]),
            output_messages: generated.raw.as_ref().map(|(text, tokens)| {
                let is_empty = text.is_empty() && tokens.is_empty();
                if is_empty { Vec::new() } else { vec![raw(text, tokens)] }
            }),
            kv_transfer_params: generated.kv_transfer.as_ref(),
            ..self.outline.bare(status)
        }
    }

    /// Whether nothing may tell what the tokens are: it would tell the reasoning as well.
    pub fn hides_tokens(&self) -> bool {
        self.parsing.as_ref().is_some_and(Parsing::hides_tokens)
    }

    /// The blocks that are kept of the prompt.
    pub fn kv_transfer(&self, fanout: &Fanout) -> Option<Value> {
        let shown = self.frontend.shown_transfer(fanout)?;
        serde_json::to_value(shown).ok()
    }

    /// The log-probabilities of an output, when they are shown.
    pub fn logprobs(&self, output: &Output) -> Option<Vec<Logprob>> {
        let top = self.top_logprobs.filter(|_| !self.hides_tokens())?;
        let as_token_ids = self.frontend.options.return_tokens_as_token_ids;
        Some(Logprob::all(&output.logprobs, top, as_token_ids))
    }

    /// Reads an output that is there in full.
    pub fn read(&self, output: Output, fanout: &Fanout) -> Generated {
        let logprobs = self.logprobs(&output);
        let mut reasoning_tokens = 0;
        let items = match &self.parsing {
            None => {
                let part = OutputText::new(output.text.clone(), logprobs);
                let part = Some(part).filter(|part| !part.text.is_empty());
                vec![Item::message(item_id("msg_"), part, "completed")]
            }
            Some(parsing) => {
                reasoning_tokens = parsing.reasoning_tokens(&output.tokens);
                self.items(parsing, &output, logprobs)
            }
        };
        Generated {
            output: items,
            finish: output.finish.map(|finish| finish.reason),
            tokens: output.total_tokens,
            reasoning_tokens,
            cached: fanout.cached(0),
            kv_transfer: self.kv_transfer(fanout),
            raw: self.prompt_text.is_some().then_some((output.text, output.tokens)),
        }
    }

    fn items(
        &self,
        parsing: &Parsing,
        output: &Output,
        logprobs: Option<Vec<Logprob>>,
    ) -> Vec<Item> {
        let parsed = parsing.parsed(&self.frontend, &output.text, ParserApi::Responses);
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        let reasoning = text(parsed.reasoning).filter(|_| self.include_reasoning);
        let reasoning = reasoning.map(|text| Item::reasoning(item_id("rs_"), Some(text), None));
        let content = text(parsed.content).map(|text| {
            Item::message(item_id("msg_"), Some(OutputText::new(text, logprobs)), "completed")
        });
        let calls = parsed.tool_calls.into_iter();
        let calls = calls.map(|call| Item::whole_call(&self.tools, &call.name, call.arguments));
        reasoning.into_iter().chain(content).chain(calls).collect()
    }

    /// Keeps the response, if it is to be kept.
    pub fn keep(&self, generated: &Generated) {
        let Some((store, messages)) = &self.kept else { return };
        let said = generated.output.iter().filter_map(Item::said).map(str::to_owned).collect();
        let reply = self.reply(generated);
        let finished = Finished { status: reply.status, body: to_json(&reply).into(), said };
        store.finish(self.outline.id(), finished, messages);
    }
}
