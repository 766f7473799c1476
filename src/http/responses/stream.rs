//! A response as a stream of events: items are opened, grow and are closed, one after the other.

use super::super::chat::tool_call_id;
use super::super::fanout::{Fanout, Output};
use super::super::request::{Callee, custom_input, custom_input_so_far};
use super::super::respond::without_paths;
use super::super::sse::Chunks;
use super::events::{Event, write};
use super::items::{Item, Logprob, OutputText, ReasoningText, item_id};
use super::reply::{Generated, Status, Turn};
use crate::error::ApiError;
use crate::telemetry::metrics::{ParserApi, ParserMode};
use crate::text::parse::{OutputParser, ParsedDelta, ToolDelta};
use crate::types::{FinishReason, Token};
use bytes::BytesMut;
use std::borrow::Cow;

/// Writes the events of one response.
pub struct ResponseEvents {
    turn: Turn,
    parser: Option<OutputParser>,
    /// The number of the next event.
    sequence: usize,
    open: Option<Open>,
    /// Items that are closed.
    items: Vec<Item>,
    tokens: usize,
    finish: Option<FinishReason>,
    /// The whole text with its tokens, when the reply shows it.
    raw: Option<(String, Vec<Token>)>,
}

/// An item that grows.
struct Open {
    id: String,
    /// Its text or arguments so far.
    text: String,
    kind: Kind,
}

enum Kind {
    Reasoning,
    Message { logprobs: Vec<Logprob> },
    Call { index: usize, call_id: String, callee: Callee, sent: String },
}

impl ResponseEvents {
    pub fn new(turn: Turn) -> Self {
        let parser = turn.parsing.as_ref().map(|parsing| parsing.stream(&turn.prompt));
        let raw = turn.prompt_text.is_some().then(Default::default);
        let (items, finish) = (Vec::new(), None);
        Self { turn, parser, sequence: 0, open: None, items, tokens: 0, finish, raw }
    }

    /// The events that open every stream.
    pub fn start(&mut self) -> BytesMut {
        let mut out = BytesMut::new();
        let outline = self.turn.outline.clone();
        self.event(&mut out, Event::Created(outline.bare(Status::InProgress)));
        self.event(&mut out, Event::InProgress(outline.bare(Status::InProgress)));
        out
    }

    fn event(&mut self, out: &mut BytesMut, event: Event<'_>) {
        write(out, event, self.sequence, self.items.len());
        self.sequence += 1;
    }

    /// What was said, piece by piece: reasoning, then content, then calls.
    fn delta(&mut self, out: &mut BytesMut, output: &Output, mut delta: ParsedDelta<'_>) {
        self.turn.parsing.iter().for_each(|parsing| parsing.keep(&mut delta));
        if let Some(text) = delta.reasoning_text() {
            if !matches!(&self.open, Some(Open { kind: Kind::Reasoning, .. })) {
                self.turn_to(out, "rs_", Kind::Reasoning);
            }
            self.grow(out, text, None);
        }
        if let Some(text) = delta.content_text().filter(|text| !text.is_empty()) {
            if !matches!(&self.open, Some(Open { kind: Kind::Message { .. }, .. })) {
                self.turn_to(out, "msg_", Kind::Message { logprobs: Vec::new() });
            }
            let logprobs = self.turn.logprobs(output);
            self.grow(out, text, logprobs);
        }
        let mut calls = delta.tool_calls.into_iter().peekable();
        while let Some(ToolDelta { index, name, arguments }) = calls.next() {
            let mut arguments = arguments.unwrap_or_default();
            while let Some(more) = calls.next_if(|more| more.index == index) {
                arguments.push_str(more.arguments.as_deref().unwrap_or_default());
            }
            let is_open =
                |open: &Open| matches!(open.kind, Kind::Call { index: at, .. } if at == index);
            if !self.open.as_ref().is_some_and(is_open) {
                let callee = self.turn.tools.callee(&name.unwrap_or_default());
                let (prefix, call_id) = (callee.id_prefix(), tool_call_id());
                self.turn_to(
                    out,
                    prefix,
                    Kind::Call { index, call_id, callee, sent: String::new() },
                );
            }
            if !arguments.is_empty() {
                self.grow(out, &arguments, None);
            }
        }
    }

    /// Closes the open item and opens another.
    fn turn_to(&mut self, out: &mut BytesMut, prefix: &str, kind: Kind) {
        self.close_item(out);
        let id = item_id(prefix);
        let item = match &kind {
            Kind::Reasoning => Item::reasoning(id.clone(), None, Some("in_progress")),
            Kind::Message { .. } => Item::message(id.clone(), None, "in_progress"),
            Kind::Call { call_id, callee, .. } => {
                let ids = (id.clone(), call_id.clone());
                Item::call(ids, callee.clone(), String::new(), "in_progress")
            }
        };
        self.event(out, Event::ItemAdded(&item));
        match &kind {
            Kind::Reasoning => {
                self.event(out, Event::ReasoningAdded(&id, ReasoningText::new(String::new())));
            }
            Kind::Message { .. } => {
                let part = OutputText::new(String::new(), Some(Vec::new()));
                self.event(out, Event::TextAdded(&id, part));
            }
            Kind::Call { .. } => {}
        }
        self.open = Some(Open { id, text: String::new(), kind });
    }

    /// Adds to the open item.
    fn grow(&mut self, out: &mut BytesMut, text: &str, logprobs: Option<Vec<Logprob>>) {
        let Some(mut open) = self.open.take() else { return };
        open.text.push_str(text);
        match &mut open.kind {
            Kind::Reasoning => self.event(out, Event::ReasoningDelta(&open.id, text)),
            Kind::Message { logprobs: all } => {
                let new = logprobs.unwrap_or_default();
                self.event(out, Event::TextDelta(&open.id, text, &new));
                all.extend(new);
            }
            Kind::Call { callee, sent, .. } if callee.is_custom => {
                let input = custom_input_so_far(&open.text);
                self.custom_input(out, &open.id, sent, input);
            }
            Kind::Call { .. } => self.event(out, Event::ArgumentsDelta(&open.id, text)),
        }
        self.open = Some(open);
    }

    /// Sends what is new of a custom tool's text.
    fn custom_input(&mut self, out: &mut BytesMut, id: &str, sent: &mut String, input: String) {
        if input != *sent {
            let new = input.strip_prefix(sent.as_str()).unwrap_or(&input);
            self.event(out, Event::CustomDelta(id, new));
            *sent = input;
        }
    }

    /// Closes the open item.
    fn close_item(&mut self, out: &mut BytesMut) {
        let Some(Open { id, text, kind }) = self.open.take() else { return };
        let item = match kind {
            Kind::Reasoning => {
                self.event(out, Event::ReasoningDone(&id, &text));
                self.event(out, Event::ReasoningPartDone(&id, ReasoningText::new(text.clone())));
                Item::reasoning(id, Some(text), Some("completed"))
            }
            Kind::Message { logprobs } => {
                self.event(out, Event::TextDone(&id, &text));
                let part = OutputText::new(text, Some(logprobs).filter(|all| !all.is_empty()));
                self.event(out, Event::TextPartDone(&id, &part));
                let part = Some(part).filter(|part| !part.text.is_empty());
                Item::message(id, part, "completed")
            }
            Kind::Call { call_id, callee, mut sent, .. } => {
                let text = match callee.is_custom {
                    true => {
                        let input = custom_input(&text);
                        self.custom_input(out, &id, &mut sent, input.clone());
                        self.event(out, Event::CustomDone(&id, &input));
                        input
                    }
                    false => {
                        self.event(out, Event::ArgumentsDone(&id, &callee.name, &text));
                        text
                    }
                };
                Item::call((id, call_id), callee, text, "completed")
            }
        };
        self.event(out, Event::ItemDone(&item));
        self.items.push(item);
    }
}

impl Chunks for ResponseEvents {
    fn output(&mut self, out: &mut BytesMut, fanout: &mut Fanout, at: usize) {
        let output = fanout.output(at);
        self.tokens = output.total_tokens;
        self.finish = output.finish.as_ref().map(|finish| finish.reason);
        if let Some((text, tokens)) = &mut self.raw {
            text.push_str(&output.text);
            tokens.extend_from_slice(&output.tokens);
        }
        let Some(parser) = &mut self.parser else {
            let content = Some(Some(Cow::Borrowed(output.text.as_str())));
            return self.delta(out, output, ParsedDelta { content, ..ParsedDelta::default() });
        };
        let step = parser.push(&output.text, &output.tokens, output.finish.is_some());
        if let Some(called) = step.tools_called {
            let metrics = &self.turn.frontend.metrics;
            metrics.tool_parser_invoked(ParserMode::Streaming, ParserApi::Responses, called);
        }
        if let Some(delta) = step.delta {
            self.delta(out, output, delta);
        }
    }

    fn end(&mut self, out: &mut BytesMut, fanout: &Fanout) {
        self.close_item(out);
        let generated = Generated {
            output: std::mem::take(&mut self.items),
            finish: self.finish,
            tokens: self.tokens,
            reasoning_tokens: self.parser.as_ref().map_or(0, OutputParser::reasoning_tokens),
            cached: fanout.cached(0),
            kv_transfer: self.turn.kv_transfer(fanout),
            raw: self.raw.take(),
        };
        self.turn.keep(&generated);
        write(out, Event::Completed(self.turn.reply(&generated)), self.sequence, 0);
    }

    /// OpenAI's event for what went wrong. vLLM breaks the connection off.
    fn fail(&mut self, out: &mut BytesMut, error: &ApiError) {
        let message = without_paths(&error.message);
        let param = error.param.as_deref();
        self.event(out, Event::Error { code: error.kind, message: &message, param });
    }

    fn close(&mut self, _: &mut BytesMut) {}
}
