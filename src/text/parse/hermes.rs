//! Tool calls as hermes models write them:
//! `<tool_call>{"name": "f", "arguments": {…}}</tool_call>`, any number of them behind the text.

use super::{FunctionCall, ToolDelta, is_space};
use crate::types::json::{self, Json};
use std::borrow::Cow;

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";

/// The text before the calls and the calls of a whole output. `None` when there are none, or when
/// any of them is not as it should be: then all of it is text.
pub(super) fn parse(output: &str) -> Option<(&str, Vec<FunctionCall>)> {
    let (content, mut rest) = output.split_once(OPEN)?;
    let mut calls = Vec::new();
    loop {
        let (call, behind) = rest.split_once(CLOSE).unwrap_or((rest, ""));
        calls.push(function_call(call)?);
        match behind.split_once(OPEN) {
            Some((_, next)) => rest = next,
            None => return Some((content, calls)),
        }
    }
}

fn function_call(text: &str) -> Option<FunctionCall> {
    let call = json::parse_text(text).ok()?.root;
    let name = call.get("name").and_then(Json::as_str)?.to_owned();
    Some(FunctionCall { name, arguments: json::dumps(call.get("arguments")?) })
}

/// Reads a stream. Arguments come out as they were written, not as JSON would be written anew.
#[derive(Debug)]
pub(super) struct HermesStream {
    place: Place,
    /// Text that has not been used up: since the last tag, or what may become the next one.
    text: String,
    /// Calls begun, and whether the last one has given arguments.
    calls: usize,
    has_arguments: bool,
}

#[derive(Debug)]
enum Place {
    /// Before the first call.
    Content,
    Call(Box<Call>),
    /// Behind a call; text here is dropped.
    Between,
    /// Behind a call without a name: nothing more is found.
    Lost,
}

/// How far the current call is understood. All offsets are into [`HermesStream::text`].
#[derive(Debug, Default)]
struct Call {
    is_named: bool,
    /// Where the closing tag may start, at the earliest.
    end: usize,
    /// Where the name's key may start, at the earliest.
    name: usize,
    /// Where the arguments' key may start, at the earliest.
    key: usize,
    /// Where the arguments start: behind their colon.
    arguments: Option<usize>,
    /// Where arguments that have been given end.
    sent: Option<usize>,
    json: Braces,
}

impl HermesStream {
    pub fn new() -> Self {
        Self { place: Place::Content, text: String::new(), calls: 0, has_arguments: false }
    }

    /// Takes more output. Gives text that stands before the calls, and appends to `deltas` what
    /// there is of calls.
    pub fn push<'a>(&mut self, output: &'a str, deltas: &mut Vec<ToolDelta>) -> Cow<'a, str> {
        if matches!(self.place, Place::Content) && self.text.is_empty() && !output.contains('<') {
            return Cow::Borrowed(output);
        }
        self.text.push_str(output);
        let mut content = String::new();
        loop {
            match &mut self.place {
                Place::Lost => {
                    self.text.clear();
                    break;
                }
                Place::Content | Place::Between => {
                    let open = self.text.find(OPEN);
                    let plain = open.unwrap_or(self.text.len() - overlap(&self.text, OPEN));
                    if matches!(self.place, Place::Content) {
                        content.push_str(&self.text[..plain]);
                    }
                    self.text.drain(..plain + open.map_or(0, |_| OPEN.len()));
                    if open.is_none() {
                        break;
                    }
                    self.place = Place::Call(Box::default());
                    self.calls += 1;
                    self.has_arguments = false;
                }
                Place::Call(call) => {
                    let found = self.text[call.end..].find(CLOSE).map(|at| call.end + at);
                    let end = found.unwrap_or(self.text.len() - overlap(&self.text, CLOSE));
                    let index = self.calls - 1;
                    call.read(&self.text[..end], found.is_some(), index, deltas);
                    self.has_arguments |= call.sent.is_some();
                    let is_named = call.is_named;
                    call.end = end;
                    if found.is_none() {
                        break;
                    }
                    self.text.drain(..end + CLOSE.len());
                    self.place = if is_named { Place::Between } else { Place::Lost };
                }
            }
        }
        Cow::Owned(content)
    }

    /// What vLLM appends to the arguments of the last delta of a stream: an object when the call
    /// that was begun last has given no arguments.
    pub fn missing_arguments(&self) -> &'static str {
        if self.calls > 0 && !self.has_arguments { "{}" } else { "" }
    }
}

impl Call {
    /// Looks at the call as far as it is written.
    fn read(&mut self, text: &str, is_closed: bool, index: usize, deltas: &mut Vec<ToolDelta>) {
        let end = trim_end(text).len();
        if !self.is_named {
            let Some(name) = self.find_name(&text[..end]) else { return };
            self.is_named = true;
            deltas.push(ToolDelta { index, name: Some(name), arguments: None });
        }
        if self.arguments.is_none() {
            self.arguments = find_colon(&text[..end], "\"arguments\"", &mut self.key);
        }
        let Some(colon) = self.arguments else { return };
        let space = text[colon..end].len() - text[colon..end].trim_start().len();
        let start = self.sent.unwrap_or(colon + space);
        let mut arguments = &text[..end];
        if is_closed || self.json.are_whole(arguments) {
            // The last brace closes the call.
            if let Some(inner) = trim_end(&arguments[colon + space..]).strip_suffix('}') {
                arguments = &text[..colon + space + trim_end(inner).len()];
            }
        }
        if arguments.len() > start {
            let given = arguments[start..].to_owned();
            self.sent = Some(arguments.len());
            deltas.push(ToolDelta { index, name: None, arguments: Some(given) });
        }
    }

    /// The first `"name": "…"`, once it is whole.
    fn find_name(&mut self, text: &str) -> Option<String> {
        loop {
            let mut from = self.name;
            let found = find_colon(text, "\"name\"", &mut from);
            self.name = from;
            let colon = found?;
            let value = text[colon..].trim_start();
            let Some(value) = value.strip_prefix('"') else {
                if value.is_empty() {
                    return None;
                }
                self.name = from + 1;
                continue;
            };
            match value.find('"') {
                Some(0) => self.name = from + 1,
                Some(len) => return Some(value[..len].to_owned()),
                None => return None,
            }
        }
    }
}

/// Finds the first `key` with a colon behind it, and gives where that ends. `from` becomes the
/// place of this key, or where to look once there is more text.
fn find_colon(text: &str, key: &str, from: &mut usize) -> Option<usize> {
    while let Some(at) = text.get(*from..).and_then(|rest| rest.find(key)) {
        *from += at;
        let behind = &text[*from + key.len()..];
        let value = behind.trim_start();
        match value.chars().next() {
            Some(':') => return Some(text.len() - value.len() + 1),
            None => return None,
            // Its last quote may be the first one of the key that is looked for.
            Some(_) => *from += key.len() - 1,
        }
    }
    *from = (*from).max(text.len() - overlap(text, key));
    None
}

/// The length of the longest start of `tag` that `text` ends with.
fn overlap(text: &str, tag: &str) -> usize {
    let most = text.len().min(tag.len() - 1);
    (1..=most).rev().find(|len| text.ends_with(&tag[..*len])).unwrap_or(0)
}

/// Python's `rstrip`.
fn trim_end(text: &str) -> &str {
    text.trim_end_matches(is_space)
}

/// Follows the brackets of a growing text, to see when it is one whole JSON value.
#[derive(Debug, Default)]
struct Braces {
    at: usize,
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// Where the first value ends, and whether it can be read.
    closed: Option<(usize, bool)>,
}

impl Braces {
    /// Whether `text`, which only grows from call to call except for what was cut off its end as
    /// space, is one object or list.
    fn are_whole(&mut self, text: &str) -> bool {
        let bytes = text.as_bytes();
        while self.closed.is_none() && self.at < bytes.len() {
            let byte = bytes[self.at];
            self.at += 1;
            if self.in_string {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        let value = text[..self.at].trim_start_matches(is_space);
                        self.closed = Some((self.at, json::parse_text(value).is_ok()));
                    }
                }
                _ => {}
            }
        }
        self.closed == Some((text.len(), true))
    }
}
