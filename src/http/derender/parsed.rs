//! Chats beside parsers of reasoning and tool calls. What a parser has read so far is no part of
//! the state that a client carries along: each chunk reads all of the output again.

use super::super::chat::{Parsing, tool_call_id};
use super::super::frontend::Frontend;
use super::super::request::{DerenderRequest, Generated, State};
use super::super::respond;
use super::detokenize::Detokenizer;
use super::only;
use super::reply::*;
use crate::error::ApiError;
use crate::telemetry::metrics::{ParserApi, ParserMode};
use crate::text::parse::{OutputParser, ParsedDelta, ToolDelta};
use crate::types::Token;
use axum::body::Body;
use axum::http::Response;

/// How the request's output is read; `None` without parsers.
pub fn parsing(
    frontend: &Frontend,
    request: &DerenderRequest,
) -> Result<Option<Parsing>, ApiError> {
    if frontend.parsers.is_none() {
        return Ok(None);
    }
    let chat = request.chat.as_ref().ok_or_else(|| {
        ApiError::bad_request(
            "chat_request is required when a tool or reasoning parser is configured because \
             plain detokenization would leak raw parser markup into content.",
        )
    })?;
    Ok(Parsing::new(frontend, chat))
}

/// Whether the prompt has left reasoning open only its tokens tell.
pub fn check_prompt(request: &DerenderRequest) -> Result<(), ApiError> {
    if request.prompt_token_ids.iter().all(Option::is_some) {
        return Ok(());
    }
    Err(ApiError::bad_request(
        "prompt_token_ids is required when a tool or reasoning parser is configured. Without it \
         parse_delta cannot tell whether the prompt left reasoning open (e.g. a chat template \
         that pre-opens <think>) and would misclassify reasoning content as plain content.",
    ))
}

/// A chunk, of at most one choice.
pub fn chunk(
    frontend: &Frontend,
    request: &DerenderRequest,
    state: Option<State>,
    parsing: &Parsing,
) -> Result<Response<Body>, ApiError> {
    let (chunk, task) = only(frontend, request)?;
    let mut state = state.unwrap_or_default();
    let mut choices = Vec::with_capacity(1);
    if let Some(choice) = chunk.choices.first() {
        let prompt = request.prompt_token_ids[0].as_deref().unwrap_or_default();
        let mut reader = Reader::new(frontend, parsing, prompt);
        reader.read_again(&state);
        let mut delta = reader.read(frontend, choice, &mut state);
        if !state.role_sent {
            delta.role = Some("assistant");
            state.role_sent = true;
        }
        if parsing.is_single() {
            delta.tool_calls.retain(|call| call.index == 0);
        }
        let calls = state.tools_streamed && !parsing.is_named();
        let finish_reason = choice.finish_reason.as_deref();
        let shows_tokens = request.return_token_ids && !parsing.hides_tokens();
        choices.push(ChatChunkChoice {
            index: int(&choice.index),
            delta,
            logprobs: None,
            finish_reason: finish_reason.map(|reason| if calls { "tool_calls" } else { reason }),
            stop_reason: choice.stop_reason.as_ref().map(|stop| stop.to_value()),
            token_ids: choice.token_ids.as_deref().filter(|_| shows_tokens),
        });
    }
    let chunk = task.chat_chunk(chunk, choices);
    Ok(respond::json(&WithState { chunk, stream_state: &state }))
}

/// Turns the tokens of one reply into text and reads that.
struct Reader<'a> {
    detokenizer: Detokenizer<'a>,
    parser: OutputParser,
}

impl<'a> Reader<'a> {
    fn new(frontend: &'a Frontend, parsing: &Parsing, prompt: &[Token]) -> Self {
        // Tags may be special tokens.
        let detokenizer = Detokenizer::after(&frontend.encoder, prompt, false);
        Self { detokenizer, parser: parsing.stream(prompt) }
    }

    /// Reads what the chunks before have brought, in the same pieces.
    fn read_again(&mut self, state: &State) {
        let mut rest = state.output_token_ids.as_slice();
        for len in &state.output_chunk_lens {
            let (tokens, behind) = rest.split_at((*len).min(rest.len()));
            let text = self.detokenizer.push(tokens);
            self.parser.push(&text, tokens, false);
            rest = behind;
        }
    }

    /// What a chunk adds.
    fn read(&mut self, frontend: &Frontend, choice: &Generated, state: &mut State) -> Delta {
        let tokens = choice.token_ids.as_deref().unwrap_or_default();
        let is_last = choice.finish_reason.is_some();
        if tokens.is_empty() && !is_last {
            return Delta::default();
        }
        let text = self.detokenizer.push(tokens);
        let step = self.parser.push(&text, tokens, is_last);
        if let Some(called) = step.tools_called {
            frontend.metrics.tool_parser_invoked(ParserMode::Streaming, ParserApi::Chat, called);
        }
        if !tokens.is_empty() {
            state.output_token_ids.extend_from_slice(tokens);
            state.output_chunk_lens.push(tokens.len());
        }
        shown(step.delta.unwrap_or_default(), state)
    }
}

fn shown(delta: ParsedDelta<'_>, state: &mut State) -> Delta {
    state.tools_streamed |= !delta.tool_calls.is_empty();
    Delta {
        role: None,
        content: delta.content.flatten().map(Into::into),
        reasoning: delta.reasoning.flatten().map(Into::into),
        tool_calls: delta.tool_calls.into_iter().map(|call| call_delta(call, state)).collect(),
    }
}

/// A piece of a call. A call keeps the id that a chunk has given it.
fn call_delta(call: ToolDelta, state: &mut State) -> CallDelta {
    let opens = call.name.is_some();
    let ids = &mut state.last_tool_call_ids;
    let id = opens.then(|| match ids.get(call.index) {
        Some(id) => id.clone(),
        None => {
            let id = tool_call_id();
            ids.push(id.clone());
            id
        }
    });
    CallDelta {
        id,
        r#type: opens.then_some("function"),
        index: call.index,
        function: FunctionDelta { name: call.name, arguments: call.arguments },
    }
}
