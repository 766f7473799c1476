//! Anthropic's API: what the real vLLM 0.32 answered to some 900 requests, against what Glassbox
//! answers to the same bytes with the same model. `tests/data/http/record.py` made the recording.
//!
//! Replies have to be equal byte for byte, generated text and counts of cached tokens included,
//! but for what is random (ids, signatures). In streams, pieces of one block count as one piece:
//! how much of a text a chunk holds is a matter of timing.

use super::support::{Reply, Server, start};
use serde_json::Value;

const RECORDED: &str = include_str!("../data/http/messages.jsonl");
const FLAGS: &[&str] = &[
    "--served-model-name",
    "qwen3-tiny",
    "alias-b",
    "--max-model-len",
    "4096",
    "--block-size",
    "64",
    "--enable-prompt-tokens-details",
    "--reasoning-parser",
    "qwen3",
    "--enable-auto-tool-choice",
    "--tool-call-parser",
    "hermes",
    "--enable-scale-out",
];

/// Deliberate differences, with the status that Glassbox answers.
const DIFFERENT: &[(&str, u16, &str)] = &[
    ("count_tokens no utf-8", 404, "vLLM cannot write its own error about the name"),
    ("result_image_odd", 400, "vLLM crashes (500)"),
];

fn replay(server: &Server, case: &Value) -> Reply {
    let text = |name: &str| case[name].as_str().unwrap_or_default();
    let headers = case["headers"].as_object().into_iter().flatten();
    let headers: String = headers
        .map(|(name, value)| format!("{name}: {}\r\n", value.as_str().unwrap_or_default()))
        .collect();
    Reply::read(server.send_with(text("method"), text("path"), &headers, text("body")))
}

/// The text without what is random: runs of 16 or 32 hexadecimal digits.
fn masked(text: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(word);
        let is_hex = run.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        out.push_str(if is_hex && [16, 32].contains(&run.len()) { "#" } else { run });
        let next = behind.find(is_word).unwrap_or(behind.len());
        out.push_str(&behind[..next]);
        rest = &behind[next..];
    }
    out
}

/// The events of a stream, with runs of pieces of one block joined.
fn folded(body: &str) -> Vec<String> {
    let mut events: Vec<(String, Value)> = Vec::new();
    for event in body.split_terminator("\n\n") {
        let (name, data) = event.split_once("\ndata: ").unwrap_or((event, "null"));
        let data: Value = serde_json::from_str(data).unwrap_or_else(|e| panic!("{e}: {event}"));
        if let Some((_, before)) = events.last_mut()
            && before["index"] == data["index"]
            && let Some((kind, more)) = piece(&data)
            && let Some(text) = before["delta"].get_mut(kind)
        {
            *text = Value::from(text.as_str().unwrap_or_default().to_owned() + more);
        } else {
            events.push((name.to_owned(), data));
        }
    }
    events.into_iter().map(|(name, data)| format!("{name} {data}")).collect()
}

/// The text of a piece of a block, and the member that holds it.
fn piece(event: &Value) -> Option<(&'static str, &str)> {
    let kinds = ["text", "thinking", "partial_json"];
    kinds.into_iter().find_map(|kind| Some((kind, event["delta"].get(kind)?.as_str()?)))
}

/// Each event has the form that vLLM gives it, to the byte.
fn is_stream(body: &str) -> bool {
    body.split_terminator("\n\n").all(|event| {
        let Some((name, data)) = event.split_once("\ndata: ") else { return false };
        let value: Value = serde_json::from_str(data).unwrap_or_default();
        let is_compact = serde_json::to_string(&value).is_ok_and(|text| text == data);
        name.strip_prefix("event: ") == value["type"].as_str() && is_compact
    })
}

fn compare(name: &str, case: &Value, ours: &Reply) -> Result<(), String> {
    let expect = |what: &str, theirs: &str, ours: &str| match theirs == ours {
        true => Ok(()),
        false => Err(format!("{name}: {what}\n  vLLM: {theirs}\n  ours: {ours}")),
    };
    let theirs = masked(case["reply"].as_str().unwrap_or_default());
    let body = masked(&ours.body);
    expect("status", &case["status"].to_string(), &ours.status.to_string())?;
    for header in case["reply_headers"].as_array().into_iter().flatten() {
        let (header, value) = (header[0].as_str(), header[1].as_str());
        let line = format!("{}: {}", header.unwrap_or_default(), value.unwrap_or_default());
        let is_there = ours.head.lines().any(|head| head == line);
        // The length is that of the body, the rest the name of the host and measured.
        const OTHERS: [&str; 3] = ["content-length", "location", "endpoint-load-metrics"];
        let varies = header.is_some_and(|header| OTHERS.contains(&header));
        if !is_there && !varies {
            return Err(format!("{name}: no header {line:?} in {:?}", ours.head));
        }
    }
    if theirs.starts_with("event: ") {
        expect("form", "", if is_stream(&ours.body) { "" } else { &ours.body })?;
        return expect("events", &folded(&theirs).join("\n"), &folded(&body).join("\n"));
    }
    expect("body", &theirs, &body)
}

#[test]
fn messages_are_those_of_vllm() {
    let server = start(FLAGS);
    let mut failures = Vec::new();
    let mut count = 0;
    for line in RECORDED.lines() {
        let case: Value = serde_json::from_str(line).expect("JSON");
        let name = case["name"].as_str().expect("a name");
        let ours = replay(&server, &case);
        count += 1;
        match DIFFERENT.iter().find(|(part, ..)| name.contains(part)) {
            Some((_, status, _)) => assert_eq!(ours.status, *status, "{name}: {ours:?}"),
            None => failures.extend(compare(name, &case, &ours).err()),
        }
    }
    let shown = failures.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {count} differ:\n{shown}", failures.len());
    assert!(count > 800);
}
