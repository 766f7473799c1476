//! Events of streams, and how messages end.

use super::super::reply::Stop;
use super::reply::{Calls, stop_members};
use super::stream::Blocks;
use crate::text::parse::{ParsedDelta, ToolDelta};
use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::borrow::Cow;

fn content(text: &str) -> ParsedDelta<'_> {
    ParsedDelta { content: Some(Some(Cow::Borrowed(text))), ..ParsedDelta::default() }
}

fn reasoning(text: &str) -> ParsedDelta<'_> {
    ParsedDelta { reasoning: Some(Some(Cow::Borrowed(text))), ..ParsedDelta::default() }
}

fn call(index: usize, name: Option<&str>, arguments: &str) -> ParsedDelta<'static> {
    let arguments = Some(arguments.to_owned());
    let call = ToolDelta { index, name: name.map(str::to_owned), arguments };
    ParsedDelta { content: Some(None), tool_calls: vec![call], ..ParsedDelta::default() }
}

/// The events of these deltas, without what is random, and what is known of the calls.
fn events(deltas: impl IntoIterator<Item = ParsedDelta<'static>>) -> (Vec<Value>, Calls) {
    let (mut blocks, mut out) = (Blocks::default(), BytesMut::new());
    deltas.into_iter().for_each(|delta| blocks.push(&mut out, delta));
    blocks.stop(&mut out);
    let text = String::from_utf8(out.to_vec()).expect("text");
    let event = |event: &str| {
        let (name, data) = event.split_once("\ndata: ").expect("two lines");
        let mut data: Value = serde_json::from_str(data).expect("JSON");
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
        for (part, member) in [("content_block", "id"), ("delta", "signature")] {
            if let Some(random) = data.get_mut(part).and_then(|part| part.get_mut(member)) {
                *random = "#".into();
            }
        }
        data
    };
    (text.split_terminator("\n\n").map(event).collect(), blocks.calls())
}

fn start(index: usize, block: Value) -> Value {
    json!({"type": "content_block_start", "content_block": block, "index": index})
}

fn delta(index: usize, delta: Value) -> Value {
    json!({"type": "content_block_delta", "delta": delta, "index": index})
}

fn stop(index: usize) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

#[test]
fn thinking_text_and_calls_are_blocks() {
    let (events, calls) = events([
        reasoning("Sun"),
        reasoning("ny"),
        content(""),
        content("Hi"),
        call(0, Some("f"), ""),
        call(0, None, "{\"a\""),
        content("between"),
        call(0, None, ": 1}"),
        call(1, Some("g"), "{}"),
    ]);
    let tool = |name| json!({"type": "tool_use", "id": "#", "name": name, "input": {}});
    let json_part = |part| json!({"type": "input_json_delta", "partial_json": part});
    let wanted = [
        start(0, json!({"type": "thinking", "thinking": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "Sun"})),
        delta(0, json!({"type": "thinking_delta", "thinking": "ny"})),
        delta(0, json!({"type": "signature_delta", "signature": "#"})),
        stop(0),
        start(1, json!({"type": "text", "text": ""})),
        delta(1, json!({"type": "text_delta", "text": "Hi"})),
        stop(1),
        start(2, tool("f")),
        delta(2, json_part("{\"a\"")),
        delta(2, json_part(": 1}")),
        stop(2),
        // Text that came inside of the call follows it.
        start(3, json!({"type": "text", "text": ""})),
        delta(3, json!({"type": "text_delta", "text": "between"})),
        stop(3),
        start(4, tool("g")),
        delta(4, json_part("{}")),
        stop(4),
    ];
    assert_eq!(events, wanted);
    assert_eq!(calls, Calls::Complete);
}

#[test]
fn a_call_is_complete_when_its_arguments_are_json() {
    let broken = [call(0, Some("f"), "{}"), call(1, Some("f"), "{\"a\": ")];
    assert_eq!(events(broken).1, Calls::Broken);
    assert_eq!(events([call(0, Some("f"), "")]).1, Calls::Broken);
    assert_eq!(events([content("{}")]).1, Calls::None);
}

#[test]
fn endings_have_reasons() {
    let text = Some(Stop::Text("x"));
    let cases = [
        (Some("length"), None, Calls::Complete, (Some("max_tokens"), None)),
        (Some("stop"), None, Calls::None, (Some("end_turn"), None)),
        (Some("stop"), Some(Stop::Token(5)), Calls::None, (Some("end_turn"), None)),
        (Some("stop"), Some(Stop::Text("x")), Calls::None, (Some("stop_sequence"), Some("x"))),
        (Some("stop"), Some(Stop::Text("x")), Calls::Broken, (Some("stop_sequence"), Some("x"))),
        (Some("stop"), text, Calls::Complete, (Some("tool_use"), None)),
        (Some("stop"), None, Calls::Broken, (Some("tool_use"), None)),
        (Some("tool_calls"), None, Calls::None, (Some("tool_use"), None)),
        (
            Some("tool_calls"),
            Some(Stop::Text("x")),
            Calls::None,
            (Some("stop_sequence"), Some("x")),
        ),
        (Some("abort"), None, Calls::Complete, (None, None)),
        (None, None, Calls::None, (None, None)),
    ];
    for (finish, stop, calls, wanted) in cases {
        assert_eq!(stop_members(finish, stop.as_ref(), calls), wanted, "{finish:?} {calls:?}");
    }
}

fn any_delta() -> impl Strategy<Value = ParsedDelta<'static>> {
    let text = || prop_oneof![Just(String::new()), "[ab]{1,3}"];
    let member = || proptest::option::of(proptest::option::of(text().prop_map(Cow::Owned)));
    let call = (0..3usize, proptest::option::of(text()), proptest::option::of(text()));
    let call = call.prop_map(|(index, name, arguments)| ToolDelta { index, name, arguments });
    (member(), member(), proptest::collection::vec(call, 0..3))
        .prop_map(|(content, reasoning, tool_calls)| ParsedDelta { content, reasoning, tool_calls })
}

proptest! {
    /// Blocks open and close one after the other, and no text is lost.
    #[test]
    fn streams_are_well_formed(deltas in proptest::collection::vec(any_delta(), 0..12)) {
        let said = |text: fn(&ParsedDelta<'static>) -> Option<String>| {
            deltas.iter().filter_map(text).collect::<String>()
        };
        let wanted = (
            said(|delta| delta.content_text().map(str::to_owned)),
            said(|delta| delta.reasoning_text().map(str::to_owned)),
        );
        let (mut open, mut next, mut got) = (false, 0, (String::new(), String::new()));
        for event in events(deltas.clone()).0 {
            prop_assert_eq!(event["index"].as_u64(), Some(next));
            match event["type"].as_str() {
                Some("content_block_start") => {
                    prop_assert!(!open);
                    open = true;
                }
                Some("content_block_stop") => {
                    prop_assert!(open);
                    (open, next) = (false, next + 1);
                }
                _ => {
                    prop_assert!(open);
                    got.0.push_str(event["delta"]["text"].as_str().unwrap_or_default());
                    got.1.push_str(event["delta"]["thinking"].as_str().unwrap_or_default());
                }
            }
        }
        prop_assert!(!open);
        prop_assert_eq!(got, wanted);
    }
}
