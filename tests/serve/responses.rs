//! The Responses API: what the real vLLM 0.32 answered to a list of requests, on the same model and
//! in the same order, against what the program answers. `tests/data/http/record.py` recorded it.
//!
//! All is compared to the byte, but for ids, times and the numbers of log-probabilities. How many
//! tokens an event of a stream brings is a matter of timing: neighbours are put together.

use super::support::{Reply, Server, command, spawn};
use serde_json::Value;

const PLAIN: &str = include_str!("../data/http/responses.jsonl");
const STORED: &str = include_str!("../data/http/responses_store.jsonl");
const FLAGS: [&str; 12] = [
    "--served-model-name",
    "tiny",
    "--max-model-len",
    "2048",
    "--block-size",
    "32",
    "--reasoning-parser",
    "qwen3",
    "--tool-call-parser",
    "hermes",
    "--enable-auto-tool-choice",
    "--enable-scale-out",
];

/// Deliberate differences, with the status that Glassbox answers.
const DIFFERENT: &[(&str, u16, &str)] = &[("refusal part", 400, "vLLM crashes (500)")];

/// A text without what differs from run to run: ids and times.
fn masked(text: &str) -> String {
    const PREFIXES: [&str; 6] =
        ["\"resp_", "\"rs_", "\"msg_", "\"fc_", "\"ctc_", "\"chatcmpl-tool-"];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(quote) = rest.find('"') {
        out.push_str(&rest[..quote]);
        rest = &rest[quote..];
        let prefix = PREFIXES.iter().find(|prefix| rest.starts_with(**prefix));
        let id = prefix.and_then(|prefix| rest[prefix.len()..].get(..16));
        let is_hex = id.is_some_and(|id| id.bytes().all(|b| b.is_ascii_hexdigit()));
        let taken = match (prefix, rest.strip_prefix("\"created_at\":")) {
            (Some(prefix), _) if is_hex => {
                out.push_str(prefix);
                prefix.len() + 16
            }
            (_, Some(time)) => {
                out.push_str("\"created_at\":0");
                rest.len() - time.trim_start_matches(|c: char| c.is_ascii_digit()).len()
            }
            _ => {
                out.push('"');
                1
            }
        };
        rest = &rest[taken..];
    }
    out + rest
}

/// The same without the numbers of log-probabilities.
fn without_logprobs(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(without_logprobs),
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::Number(_) if name == "logprob" => *member = 0.into(),
                    member => without_logprobs(member),
                }
            }
        }
        _ => {}
    }
}

fn parsed(text: &str) -> Value {
    let mut value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    without_logprobs(&mut value);
    value
}

/// The events of a stream, neighbours of one kind put together; numbers have to run on.
fn events(body: &str) -> Vec<String> {
    let mut all: Vec<Value> = Vec::new();
    let mut next = None;
    for event in body.split_terminator("\n\n") {
        let (name, data) = event.split_once('\n').expect("a name and data");
        let mut data = parsed(data.strip_prefix("data: ").expect("data"));
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
        let members = data.as_object_mut().expect("an object");
        let number = members.shift_remove("sequence_number").and_then(|number| number.as_u64());
        let number = number.expect("a number");
        assert_eq!(number, next.unwrap_or(number), "numbers run on: {body}");
        next = Some(number + 1);
        match all.last_mut().filter(|last| !data["delta"].is_null() && last["type"] == data["type"])
        {
            Some(last) => {
                let text =
                    last["delta"].as_str().unwrap().to_owned() + data["delta"].as_str().unwrap();
                last["delta"] = text.into();
                let more = data["logprobs"].as_array().cloned().unwrap_or_default();
                if let Some(logprobs) = last["logprobs"].as_array_mut() {
                    logprobs.extend(more);
                }
            }
            None => all.push(data),
        }
    }
    all.iter().map(Value::to_string).collect()
}

fn replay(server: &Server, case: &Value) -> Reply {
    let text = |name: &str| case[name].as_str().unwrap_or_default();
    let kind = case["headers"]["content-type"].as_str().unwrap_or("application/json");
    let headers = format!("content-type: {kind}\r\n");
    Reply::read(server.send_with(text("method"), text("path"), &headers, text("body")))
}

fn compare(name: &str, case: &Value, ours: &Reply) -> Result<(), String> {
    let (theirs, ours) =
        ((case["status"].as_u64(), &case["reply"]), (u64::from(ours.status), &ours.body));
    let (their_body, our_body) = (masked(theirs.1.as_str().unwrap()), masked(ours.1));
    let differ = |what: &str, theirs: &str, ours: &str| match theirs == ours {
        true => Ok(()),
        false => Err(format!("{name}: {what}\n  vLLM: {theirs}\n  ours: {ours}")),
    };
    differ("status", &theirs.0.unwrap_or_default().to_string(), &ours.0.to_string())?;
    if their_body.starts_with("event: ") {
        let (theirs, ours) = (events(&their_body), events(&our_body));
        for (theirs, ours) in theirs.iter().zip(&ours) {
            differ("event", theirs, ours)?;
        }
        return differ("count of events", &theirs.len().to_string(), &ours.len().to_string());
    }
    if !their_body.contains("\"logprob\":") {
        return differ("body", &their_body, &our_body);
    }
    differ("body", &parsed(&their_body).to_string(), &parsed(&our_body).to_string())
}

fn replay_all(server: &Server, recorded: &str) -> usize {
    let mut failures = Vec::new();
    for line in recorded.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = case["name"].as_str().unwrap();
        let ours = replay(server, &case);
        match DIFFERENT.iter().find(|(part, ..)| name.contains(part)) {
            Some((_, status, _)) => assert_eq!(ours.status, *status, "{name}: {ours:?}"),
            None => failures.extend(compare(name, &case, &ours).err()),
        }
    }
    let shown = failures.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} differ:\n{shown}", failures.len());
    recorded.lines().count()
}

#[test]
fn answers_as_vllm_answers() {
    assert!(replay_all(&spawn(command(&FLAGS)), PLAIN) > 280);
}

#[test]
fn stores_as_vllm_stores() {
    let mut command = command(&FLAGS);
    command.env("VLLM_ENABLE_RESPONSES_API_STORE", "1");
    assert!(replay_all(&spawn(command), STORED) > 20);
}
