//! Tool calls as Qwen3-Coder writes them:
//! `<tool_call><function=f><parameter=city>Oslo</parameter></function></tool_call>`.
//!
//! Values are text, so the schemas of the request's tools decide what they become in JSON.

mod arguments;
mod schema;

pub use schema::ToolSchema;

use super::engine::{Engine, Event};
use super::{FunctionCall, ParsedDelta, ToolDelta, is_space};
use crate::types::Token;
use crate::types::json::dumps;
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

/// Reads calls out of content, whole or in pieces.
#[derive(Debug)]
pub(super) struct XmlTools {
    engine: Engine,
    tools: Arc<[ToolSchema]>,
    /// Calls are left out.
    drops_calls: bool,
    calls: Vec<Call>,
    /// Content that waits: white space that calls may follow, and what stands behind a call.
    waiting: String,
    has_text: bool,
}

/// A call in the making.
#[derive(Debug, Default)]
struct Call {
    name: String,
    /// As written.
    raw: String,
    is_named: bool,
    texts: Option<HashSet<String>>,
    /// JSON that has been given.
    sent: String,
}

impl XmlTools {
    pub fn new(engine: Engine, tools: Arc<[ToolSchema]>, drops_calls: bool) -> Self {
        let (calls, waiting) = (Vec::new(), String::new());
        Self { engine, tools, drops_calls, calls, waiting, has_text: false }
    }

    /// Takes more output.
    pub fn push<'a>(&mut self, text: &'a str, tokens: &[Token]) -> Option<ParsedDelta<'a>> {
        let is_plain = self.has_text && self.waiting.is_empty() && self.engine.is_in_content();
        if is_plain && self.engine.pass(text, tokens).is_some() {
            return Some(ParsedDelta::content(Cow::Borrowed(text)));
        }
        let events = self.engine.feed(text, tokens);
        self.delta(events, false)
    }

    /// Gives what was held back.
    pub fn finish<'a>(&mut self) -> Option<ParsedDelta<'a>> {
        let events = self.engine.finish();
        self.delta(events, true)
    }

    /// Content and calls of all that has been output: for a new reader alone.
    pub fn whole(mut self, output: &str) -> (Option<String>, Vec<FunctionCall>) {
        let mut events = self.engine.feed(output, &[]);
        events.extend(self.engine.finish());
        let content = self.delta(events, true).and_then(|delta| delta.content.flatten());
        let calls: Vec<FunctionCall> =
            self.calls.iter().filter_map(|call| self.function_call(call)).collect();
        let content = content.map(|content| match calls.is_empty() {
            true => content.into_owned(),
            false => content.trim_matches(is_space).to_owned(),
        });
        (content.filter(|content| !content.is_empty()), calls)
    }

    fn function_call(&self, call: &Call) -> Option<FunctionCall> {
        let name = call.name.trim_matches(is_space);
        let is_blank = call.raw.chars().all(is_space);
        let (name, arguments) = match (name.is_empty(), is_blank) {
            (true, true) => return None,
            (true, false) => arguments::from_json(&call.raw)?,
            (false, true) => (name.to_owned(), "{}".to_owned()),
            (false, false) => (name.to_owned(), self.json(&call.raw, name, false)),
        };
        (!name.is_empty()).then_some(FunctionCall { name, arguments })
    }

    /// Arguments as JSON, with the types that the tool's schema says.
    fn json(&self, raw: &str, name: &str, partial: bool) -> String {
        let mut values = arguments::values(raw, partial);
        schema::coerce_all(&mut values, schema::properties(&self.tools, name));
        dumps(&crate::types::json::Json::Dict(values))
    }

    fn delta<'a>(&mut self, events: Vec<Event>, is_last: bool) -> Option<ParsedDelta<'a>> {
        if events.is_empty() && self.waiting.is_empty() {
            return None;
        }
        let mut content = String::new();
        let mut deltas: Vec<ToolDelta> = Vec::new();
        let carried = self.waiting.len();
        let mut has_calls = false;
        for event in events {
            match event {
                Event::Content(text) if has_calls => self.waiting.push_str(&text),
                Event::Content(text) => content.push_str(&text),
                Event::Reasoning(_) | Event::ReasoningEnd => {}
                _ if self.drops_calls => {}
                event => {
                    has_calls = true;
                    self.call_event(event, &mut deltas);
                }
            }
        }
        if !self.waiting.is_empty() && (!has_calls || deltas.is_empty()) {
            let waited = std::mem::take(&mut self.waiting);
            content.insert_str(0, &waited[..carried]);
            content.push_str(&waited[carried..]);
        }
        let content = self.shown(content, is_last);
        let says = !content.is_empty() || !deltas.is_empty();
        says.then(|| ParsedDelta {
            content: Some(content).filter(|text| !text.is_empty()).map(|c| Some(Cow::Owned(c))),
            reasoning: None,
            tool_calls: deltas,
        })
    }

    /// White space alone waits for text, and goes away before calls.
    fn shown(&mut self, content: String, is_last: bool) -> String {
        if self.has_text || content.is_empty() {
            return content;
        }
        self.has_text = !content.chars().all(is_space);
        if self.has_text {
            return content;
        }
        if self.calls.is_empty() {
            if is_last {
                return content;
            }
            self.waiting = content;
        }
        String::new()
    }

    fn call_event(&mut self, event: Event, deltas: &mut Vec<ToolDelta>) {
        match event {
            Event::CallStart(index) => {
                while self.calls.len() <= index {
                    self.calls.push(Call::default());
                }
            }
            Event::CallName(index, text) => self.calls[index].name.push_str(&text),
            Event::CallArguments(index, text) => {
                self.calls[index].raw.push_str(&text);
                if self.calls[index].is_named {
                    let arguments = self.settled(index);
                    merge(deltas, index, None, Some(arguments).filter(|text| !text.is_empty()));
                } else if let Some(name) = self.name(index) {
                    self.set_name(index, &name);
                    merge(deltas, index, Some(name), None);
                }
            }
            Event::CallEnd(index) => {
                let rest = self.rest(index);
                let name = self.name(index).filter(|_| !self.calls[index].is_named);
                if let Some(name) = name {
                    self.set_name(index, &name);
                    merge(deltas, index, Some(name), Some(rest));
                } else if self.calls[index].is_named && !rest.is_empty() {
                    merge(deltas, index, None, Some(rest));
                }
            }
            Event::Content(_) | Event::Reasoning(_) | Event::ReasoningEnd => {}
        }
    }

    /// The name of a call, as far as it is known.
    fn name(&self, index: usize) -> Option<String> {
        let call = self.calls.get(index)?;
        Some(call.name.clone()).filter(|name| !name.is_empty()).or_else(|| name_in(&call.raw))
    }

    fn set_name(&mut self, index: usize, name: &str) {
        let texts = schema::texts(schema::properties(&self.tools, name));
        let call = &mut self.calls[index];
        (call.name, call.is_named, call.texts) = (name.to_owned(), true, texts);
    }

    /// More JSON of a call that goes on; empty when none is certain.
    fn settled(&mut self, index: usize) -> String {
        let call = &self.calls[index];
        let json = self.json(&call.raw, &call.name, true);
        let settled = arguments::settled(&json, call.texts.as_ref());
        self.send(index, settled)
    }

    /// The rest of the JSON of a call that has ended.
    fn rest(&mut self, index: usize) -> String {
        let call = &self.calls[index];
        let json = self.json(&call.raw, &call.name, false);
        self.send(index, &json)
    }

    /// What `json` has more than was sent before.
    fn send(&mut self, index: usize, json: &str) -> String {
        let call = &mut self.calls[index];
        let Some(more) = json.strip_prefix(call.sent.as_str()) else { return String::new() };
        call.sent.push_str(more);
        more.to_owned()
    }
}

/// The first `"name": "…"` of a JSON object that stands where parameters should.
fn name_in(raw: &str) -> Option<String> {
    raw.match_indices("\"name\"")
        .find_map(|(at, key)| {
            let value = raw[at + key.len()..].trim_start().strip_prefix(':')?.trim_start();
            let value = value.strip_prefix('"')?;
            value.find('"').map(|len| value[..len].to_owned())
        })
        .filter(|name| !name.is_empty())
}

/// Adds to the piece of this call, if there is one among `deltas`.
fn merge(
    deltas: &mut Vec<ToolDelta>,
    index: usize,
    name: Option<String>,
    arguments: Option<String>,
) {
    if name.is_none() && arguments.is_none() {
        return;
    }
    let Some(delta) = deltas.iter_mut().find(|delta| delta.index == index) else {
        deltas.push(ToolDelta { index, name, arguments });
        return;
    };
    if delta.name.is_none() {
        delta.name = name;
    }
    if let Some(arguments) = arguments {
        delta.arguments.get_or_insert_default().push_str(&arguments);
    }
}
