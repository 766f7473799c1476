//! A message, event by event.

use super::super::chat::{Progress, Replies, tool_call_id};
use super::super::fanout::Fanout;
use super::super::frontend::Frontend;
use super::super::json::{Int, Json, parse_text};
use super::super::reply::Stop;
use super::super::respond::{AnthropicBody, without_paths};
use super::super::schema::{Errors, ObjectKind, Path, Schema, check, required};
use super::super::sse::Chunks;
use super::conversation::{object, string};
use super::reply::{Block, Calls, Usage, signature, stop_members};
use crate::error::ApiError;
use crate::text::parse::{ParsedDelta, ToolDelta};
use bytes::{BufMut, BytesMut};
use serde::Serialize;
use std::sync::Arc;

/// Writes the events of one message.
pub struct MessageEvents {
    frontend: Arc<Frontend>,
    replies: Replies,
    progress: Progress,
    has_started: bool,
    blocks: Blocks,
    /// The finish reason, and the string that stopped it.
    finish: (Option<&'static str>, Option<String>),
}

impl MessageEvents {
    pub fn new(frontend: Arc<Frontend>, replies: Replies) -> Self {
        let (progress, blocks) = (Progress::new(&replies), Blocks::default());
        Self { frontend, replies, progress, has_started: false, blocks, finish: (None, None) }
    }

    fn start(&self, out: &mut BytesMut) {
        let message = Opening {
            id: &self.replies.id,
            r#type: "message",
            role: "assistant",
            content: [],
            model: &self.replies.model,
            stop_reason: (),
            stop_sequence: (),
            usage: Usage::starting(self.replies.prompt_tokens),
        };
        write(out, "message_start", &Start { r#type: "message_start", message });
    }
}

impl Chunks for MessageEvents {
    fn output(&mut self, out: &mut BytesMut, fanout: &mut Fanout, at: usize) {
        if !self.has_started {
            self.start(out);
            self.has_started = true;
        }
        let output = fanout.output(at);
        if output.text.is_empty() && output.total_tokens == 0 {
            return;
        }
        let delta = self.progress.read(&self.frontend, &self.replies, output);
        if output.finish.is_some() {
            let (reason, stop) = self.progress.finish(&self.replies, output);
            let text = match stop {
                Some(Stop::Text(text)) => Some(text.to_owned()),
                _ => None,
            };
            self.finish = (reason, text);
        }
        if let Some(delta) = delta {
            self.blocks.push(out, delta);
        }
    }

    fn end(&mut self, out: &mut BytesMut, fanout: &Fanout) {
        self.blocks.stop(out);
        let stop = self.finish.1.as_deref().map(Stop::Text);
        let reason = self.finish.0.or(Some("stop"));
        let (stop_reason, stop_sequence) = stop_members(reason, stop.as_ref(), self.blocks.calls());
        let event = Last {
            r#type: "message_delta",
            delta: Stopped { stop_reason, stop_sequence },
            usage: Usage::ended(&self.frontend, &self.replies, self.progress.tokens, fanout),
        };
        write(out, "message_delta", &event);
        write(out, "message_stop", &Bare { r#type: "message_stop" });
    }

    fn fail(&mut self, out: &mut BytesMut, error: &ApiError) {
        let message = unreadable_chunk(error).unwrap_or_else(|error| error).message;
        write(out, "error", &AnthropicBody::new("internal_error", &message));
    }

    fn close(&mut self, _: &mut BytesMut) {}
}

/// What vLLM says of an error in a chat's stream, which it reads as if it were a chunk.
fn unreadable_chunk(error: &ApiError) -> Result<ApiError, ApiError> {
    const CHUNK: Schema = Schema::Object {
        kind: ObjectKind::Model,
        fields: &[required("model", &Schema::Any), required("choices", &Schema::Any)],
    };
    let info = object([
        ("message", string(&without_paths(&error.message))),
        ("type", string(error.kind)),
        ("param", error.param.as_deref().map_or(Json::Null, string)),
        ("code", Json::Int(Int::Small(i64::from(error.status)))),
    ]);
    let mut errors = Errors::default();
    check(&CHUNK, &object([("error", info)]), &Path::root(""), &mut errors)?;
    Ok(errors.into_late_error("ChatCompletionStreamResponse"))
}

/// The blocks of content: at most one is open.
#[derive(Default)]
pub(super) struct Blocks {
    open: Option<Open>,
    /// The place of the open block, or of the next one.
    index: usize,
    /// Text that came while the block of a call was open; it becomes a block behind it.
    held: String,
    /// The arguments of the last call so far.
    arguments: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Text,
    Thinking,
    /// The call of this number.
    Call(usize),
}

impl Blocks {
    pub fn push(&mut self, out: &mut BytesMut, delta: ParsedDelta<'_>) {
        if let Some(thinking) = delta.reasoning_text().filter(|text| !text.is_empty()) {
            if self.open != Some(Open::Thinking) {
                let block = Block::Thinking { thinking: "", signature: None };
                self.start(out, Open::Thinking, block);
            }
            self.delta(out, Piece::Thinking { thinking });
        }
        if let Some(text) = delta.content_text().filter(|text| !text.is_empty()) {
            match self.open {
                Some(Open::Call(_)) => self.held.push_str(text),
                Some(Open::Text) => self.delta(out, Piece::Text { text }),
                _ => self.text(out, text),
            }
        }
        for call in &delta.tool_calls {
            self.call(out, call);
        }
    }

    fn call(&mut self, out: &mut BytesMut, call: &ToolDelta) {
        if let Some(name) = &call.name {
            let block = Block::ToolUse { id: tool_call_id(), name, input: serde_json::json!({}) };
            self.start(out, Open::Call(call.index), block);
            self.arguments = Some(String::new());
        }
        let part = call.arguments.as_deref().filter(|part| !part.is_empty());
        if let Some(part) = part.filter(|_| self.open == Some(Open::Call(call.index))) {
            self.arguments.get_or_insert_default().push_str(part);
            self.delta(out, Piece::InputJson { partial_json: part });
        }
    }

    fn text(&mut self, out: &mut BytesMut, text: &str) {
        self.start(out, Open::Text, Block::Text { text: "" });
        self.delta(out, Piece::Text { text });
    }

    fn start(&mut self, out: &mut BytesMut, open: Open, content_block: Block<'_>) {
        self.stop(out);
        let (name, index) = ("content_block_start", self.index);
        write(out, name, &BlockStart { r#type: name, content_block, index });
        self.open = Some(open);
    }

    fn delta(&self, out: &mut BytesMut, delta: Piece<'_>) {
        let (name, index) = ("content_block_delta", self.index);
        write(out, name, &BlockDelta { r#type: name, delta, index });
    }

    /// Ends the open block, and gives the text that was held back for it.
    pub fn stop(&mut self, out: &mut BytesMut) {
        let Some(open) = self.open.take() else { return };
        if open == Open::Thinking {
            self.delta(out, Piece::Signature { signature: signature() });
        }
        let (name, index) = ("content_block_stop", self.index);
        write(out, name, &BlockStop { r#type: name, index });
        self.index += 1;
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            self.text(out, &held);
            self.stop(out);
        }
    }

    pub fn calls(&self) -> Calls {
        match &self.arguments {
            None => Calls::None,
            Some(arguments) if parse_text(arguments).is_ok() => Calls::Complete,
            Some(_) => Calls::Broken,
        }
    }
}

fn write(out: &mut BytesMut, name: &str, event: &impl Serialize) {
    for part in ["event: ", name, "\ndata: "] {
        out.put_slice(part.as_bytes());
    }
    // Writing to memory cannot fail, and events hold only JSON's types.
    let written = serde_json::to_writer(out.writer(), event);
    debug_assert!(written.is_ok());
    out.put_slice(b"\n\n");
}

#[derive(Serialize)]
struct Bare {
    r#type: &'static str,
}

#[derive(Serialize)]
struct Start<'a> {
    r#type: &'static str,
    message: Opening<'a>,
}

#[derive(Serialize)]
struct Opening<'a> {
    id: &'a str,
    r#type: &'static str,
    role: &'static str,
    content: [(); 0],
    model: &'a str,
    stop_reason: (),
    stop_sequence: (),
    usage: Usage,
}

#[derive(Serialize)]
struct BlockStart<'a> {
    r#type: &'static str,
    content_block: Block<'a>,
    index: usize,
}

#[derive(Serialize)]
struct BlockDelta<'a> {
    r#type: &'static str,
    delta: Piece<'a>,
    index: usize,
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Piece<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: String },
}

#[derive(Serialize)]
struct BlockStop {
    r#type: &'static str,
    index: usize,
}

#[derive(Serialize)]
struct Last<'a> {
    r#type: &'static str,
    delta: Stopped<'a>,
    usage: Usage,
}

#[derive(Serialize)]
struct Stopped<'a> {
    stop_reason: Option<&'static str>,
    stop_sequence: Option<&'a str>,
}
