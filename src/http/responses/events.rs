//! The events of a stream, in the order of members of OpenAI's types.

use super::items::{Item, Logprob, OutputText, ReasoningText, Top};
use super::reply::Reply;
use bytes::{BufMut, BytesMut};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// What happened. The first string is the id of the item that it happened to.
pub enum Event<'a> {
    Created(Reply<'a>),
    InProgress(Reply<'a>),
    Completed(Reply<'a>),
    ItemAdded(&'a Item),
    ItemDone(&'a Item),
    ReasoningAdded(&'a str, ReasoningText),
    ReasoningDelta(&'a str, &'a str),
    ReasoningDone(&'a str, &'a str),
    ReasoningPartDone(&'a str, ReasoningText),
    TextAdded(&'a str, OutputText),
    TextDelta(&'a str, &'a str, &'a [Logprob]),
    TextDone(&'a str, &'a str),
    TextPartDone(&'a str, &'a OutputText),
    ArgumentsDelta(&'a str, &'a str),
    /// With the name of the tool.
    ArgumentsDone(&'a str, &'a str, &'a str),
    CustomDelta(&'a str, &'a str),
    CustomDone(&'a str, &'a str),
    Error {
        code: &'a str,
        message: &'a str,
        param: Option<&'a str>,
    },
}

impl Event<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Created(_) => "response.created",
            Self::InProgress(_) => "response.in_progress",
            Self::Completed(_) => "response.completed",
            Self::ItemAdded(_) => "response.output_item.added",
            Self::ItemDone(_) => "response.output_item.done",
            Self::ReasoningAdded(..) | Self::TextAdded(..) => "response.content_part.added",
            Self::ReasoningPartDone(..) | Self::TextPartDone(..) => "response.content_part.done",
            Self::ReasoningDelta(..) => "response.reasoning_text.delta",
            Self::ReasoningDone(..) => "response.reasoning_text.done",
            Self::TextDelta(..) => "response.output_text.delta",
            Self::TextDone(..) => "response.output_text.done",
            Self::ArgumentsDelta(..) => "response.function_call_arguments.delta",
            Self::ArgumentsDone(..) => "response.function_call_arguments.done",
            Self::CustomDelta(..) => "response.custom_tool_call_input.delta",
            Self::CustomDone(..) => "response.custom_tool_call_input.done",
            Self::Error { .. } => "error",
        }
    }
}

/// An event with its number, and the number of the item that it happened to.
struct Numbered<'a> {
    event: Event<'a>,
    sequence: usize,
    item: usize,
}

/// A log-probability as deltas show it: without bytes.
#[derive(Serialize)]
struct Brief<'a> {
    token: &'a str,
    logprob: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<Vec<Brief<'a>>>,
}

impl<'a> Brief<'a> {
    fn new(logprob: &'a Logprob) -> Self {
        let top =
            |top: &'a Top| Self { token: &top.token, logprob: top.logprob, top_logprobs: None };
        let Logprob { token, logprob, top_logprobs, .. } = logprob;
        let top_logprobs = Some(top_logprobs.iter().map(top).collect());
        Self { token, logprob: *logprob, top_logprobs }
    }
}

fn brief(logprobs: &[Logprob]) -> Vec<Brief<'_>> {
    logprobs.iter().map(Brief::new).collect()
}

/// Writes members one after the other.
macro_rules! members {
    ($map:expr, $($key:literal: $value:expr),* $(,)?) => {{
        $($map.serialize_entry($key, $value)?;)*
        Ok(())
    }};
}

impl Numbered<'_> {
    /// The members of events about a whole: the response, an item, a part of one.
    fn write_whole<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let (number, item, name) = (&self.sequence, &self.item, self.event.name());
        match &self.event {
            Event::Created(reply) | Event::InProgress(reply) | Event::Completed(reply) => members!(
                map, "response": reply, "sequence_number": number, "type": name,
            ),
            Event::ItemAdded(added) | Event::ItemDone(added) => members!(
                map, "item": added, "output_index": item, "sequence_number": number, "type": name,
            ),
            Event::ReasoningAdded(id, part) | Event::ReasoningPartDone(id, part) => members!(
                map, "content_index": &0, "item_id": id, "output_index": item, "part": part,
                "sequence_number": number, "type": name,
            ),
            Event::TextAdded(id, part) => members!(
                map, "content_index": &0, "item_id": id, "output_index": item, "part": part,
                "sequence_number": number, "type": name,
            ),
            Event::TextPartDone(id, part) => members!(
                map, "content_index": &0, "item_id": id, "output_index": item, "part": part,
                "sequence_number": number, "type": name,
            ),
            Event::Error { code, message, param } => members!(
                map, "type": name, "code": code, "message": message, "param": param,
                "sequence_number": number,
            ),
            _ => self.write_text(map),
        }
    }

    /// The members of events about text.
    fn write_text<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let (number, item, name) = (&self.sequence, &self.item, self.event.name());
        match &self.event {
            Event::ReasoningDelta(id, delta) => members!(
                map, "content_index": &0, "delta": delta, "item_id": id, "output_index": item,
                "sequence_number": number, "type": name,
            ),
            Event::ReasoningDone(id, text) => members!(
                map, "content_index": &0, "item_id": id, "output_index": item,
                "sequence_number": number, "text": text, "type": name,
            ),
            Event::TextDelta(id, delta, logprobs) => members!(
                map, "content_index": &0, "delta": delta, "item_id": id,
                "logprobs": &brief(logprobs), "output_index": item, "sequence_number": number,
                "type": name,
            ),
            Event::TextDone(id, text) => members!(
                map, "content_index": &0, "item_id": id, "logprobs": &[(); 0],
                "output_index": item, "sequence_number": number, "text": text, "type": name,
            ),
            Event::ArgumentsDelta(id, delta) | Event::CustomDelta(id, delta) => members!(
                map, "delta": delta, "item_id": id, "output_index": item,
                "sequence_number": number, "type": name,
            ),
            Event::ArgumentsDone(id, tool, arguments) => members!(
                map, "arguments": arguments, "item_id": id, "output_index": item,
                "sequence_number": number, "type": name, "name": tool,
            ),
            Event::CustomDone(id, input) => members!(
                map, "input": input, "item_id": id, "output_index": item,
                "sequence_number": number, "type": name,
            ),
            _ => Ok(()),
        }
    }
}

impl Serialize for Numbered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.write_whole(&mut map)?;
        map.end()
    }
}

/// Writes an event: the `sequence`th of its stream, about the `item`th item.
pub fn write(out: &mut BytesMut, event: Event<'_>, sequence: usize, item: usize) {
    out.put_slice(b"event: ");
    out.put_slice(event.name().as_bytes());
    out.put_slice(b"\ndata: ");
    let numbered = Numbered { event, sequence, item };
    // Writing to memory cannot fail, and events hold only JSON's types.
    let written = serde_json::to_writer(out.writer(), &numbered);
    debug_assert!(written.is_ok());
    out.put_slice(b"\n\n");
}
