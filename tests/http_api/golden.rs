//! What the real vLLM 0.32 answered to some 900 requests, most of them bad, against what Glassbox
//! answers to the same bytes. `tests/data/http/record.py` made the recording.
//!
//! Errors, and all that holds no generated text, have to be equal byte for byte. The rest has to
//! have the same form: the same members in the same order, of the same types.

use super::support::{Reply, Server, Setup, start};
use serde_json::Value;

const RECORDED: &str = include_str!("../data/http/replies.jsonl");
const FIELDS: &str = include_str!("../data/http/fields.jsonl");

/// Deliberate differences, with the status that Glassbox answers.
const DIFFERENT: &[(&str, u16, &str)] = &[
    ("lone surrogate role", 400, "half a surrogate pair is refused wherever it stands"),
    ("lone surrogate stop", 400, "vLLM crashes (500)"),
    ("lone surrogate model", 404, "vLLM cannot write its own error about the name"),
    ("structured_outputs list", 400, "vLLM crashes (500)"),
    ("echo continue stream", 200, "vLLM fails on its own template format"),
    ("priority header 99999999999999999999", 200, "vLLM crashes (500)"),
    ("trace_decode_token_ids=1", 400, "vLLM crashes (500)"),
    ("batch response format bad", 400, "another form of the error of a schema"),
    ("batch response format list", 400, "another form of the error of a schema"),
    // Their form depends on what is said; the peer suite compares them.
    ("completions stop at", 200, "where the text stops"),
    ("completions stop kept", 200, "where the text stops"),
    ("generate stop text stream", 200, "where the text stops"),
    ("generate stop tokens stream", 200, "where the text stops"),
    ("generate usage 0 None text stream", 200, "vLLM put two tokens into one chunk"),
    ("generate usage 0 None stream", 200, "vLLM put two tokens into one chunk"),
];

fn bytes(case: &Value) -> Option<Vec<u8>> {
    if let Some(hex) = case["hex"].as_str() {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        return Some((0..hex.len()).step_by(2).map(byte).collect());
    }
    if let Some([before, unit, count, after]) = case["repeat"].as_array().map(Vec::as_slice) {
        let text = |part: &Value| part.as_str().unwrap().to_owned();
        let count = count.as_u64().unwrap() as usize;
        return Some((text(before) + &text(unit).repeat(count) + &text(after)).into_bytes());
    }
    Some(case["body"].as_str()?.as_bytes().to_vec())
}

pub fn replay(server: &Server, case: &Value) -> Reply {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let headers: Vec<(String, String)> =
        case["headers"].as_object().unwrap().iter().map(|(k, v)| (k.clone(), text(v))).collect();
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let body = bytes(case);
    server.send(&text(&case["method"]), &text(&case["path"]), &headers, body.as_deref())
}

/// The form of a value: its members in order and their types, with what is fixed as it is.
fn form(key: &str, value: &Value) -> String {
    const FIXED: [&str; 9] = [
        "object",
        "role",
        "model",
        "owned_by",
        "root",
        "max_model_len",
        "prompt_tokens",
        "index",
        "prompt_token_ids",
    ];
    if FIXED.contains(&key) {
        return value.to_string();
    }
    match value {
        // How a generation ends depends on what it says.
        _ if key == "stop_reason" => "any".into(),
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(items) => {
            let mut forms: Vec<String> = items.iter().map(|item| form(key, item)).collect();
            forms.dedup();
            format!("[{}]", forms.join(","))
        }
        // Keyed by what was generated.
        Value::Object(members)
            if members.keys().all(|key| is_id(key))
                || key == "top_logprobs" && members.values().all(Value::is_number) =>
        {
            let mut forms: Vec<String> = members.values().map(|value| form("", value)).collect();
            forms.dedup();
            format!("{{*:{}}}", forms.join(","))
        }
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| format!("{key}:{}", form(key, value));
            let members: Vec<String> = members.iter().map(member).collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

fn is_id(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_digit())
}

/// The forms of a stream's events, each once, in order of appearance: which of several choices goes
/// on first is a matter of timing.
fn stream_form(body: &str) -> Vec<String> {
    let event = |event: &str| match serde_json::from_str::<Value>(&event["data: ".len()..]) {
        Ok(value) if value["error"].is_null() => form("", &value),
        _ => event.to_owned(),
    };
    let mut forms: Vec<String> = Vec::new();
    for form in body.split_terminator("\n\n").map(event) {
        let form = form.replace("index:1", "index:0");
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms
}

pub fn compare(name: &str, case: &Value, ours: &Reply) -> Result<(), String> {
    let theirs = case["reply"].as_str().unwrap();
    let expect = |what: &str, theirs: &str, ours: &str| match theirs == ours {
        true => Ok(()),
        false => Err(format!("{name}: {what}\n  vLLM: {theirs}\n  ours: {ours}")),
    };
    expect("status", &case["status"].to_string(), &ours.status.to_string())?;
    for header in case["reply_headers"].as_array().unwrap() {
        let (header, value) = (header[0].as_str().unwrap(), header[1].as_str().unwrap());
        let got = ours.header(header).unwrap_or("(none)");
        match header {
            "content-length" if ours.status == 200 => {}
            "location" => {
                let path = |url: &str| url.splitn(4, '/').nth(3).unwrap_or_default().to_owned();
                expect(header, &path(value), &path(got))?;
            }
            _ => expect(header, value, got)?,
        }
    }
    let path = case["path"].as_str().unwrap();
    if path == "/metrics" {
        return Ok(());
    }
    let is_asked = case["method"] != "OPTIONS" && ours.status == 200;
    if !is_asked || !is_generated(path) {
        return expect("body", &without_time(theirs), &without_time(&ours.body));
    }
    if theirs.starts_with("data: ") {
        let (theirs, ours) = (stream_form(theirs), stream_form(&ours.body));
        return expect("events", &theirs.join("\n"), &ours.join("\n"));
    }
    let parse = |body: &str| serde_json::from_str(body).map_err(|e| format!("{name}: {e}: {body}"));
    expect("form", &form("", &parse(theirs)?), &form("", &parse(&ours.body)?))
}

/// Whether replies of this path hold ids, times or generated text.
fn is_generated(path: &str) -> bool {
    let paths = [
        "/v1/chat/completions",
        "/v1/chat/completions/batch",
        "/v1/completions",
        "/invocations",
        "/inference/v1/generate",
        "/generative_scoring",
    ];
    paths.contains(&path) || path.ends_with("/v1/models")
}

/// A body without the moment it was made, and without the id that was made for it.
fn without_time(body: &str) -> String {
    let Some((before, after)) = body.split_once("\"created\":") else { return body.to_owned() };
    let before = match before.strip_prefix("{\"id\":\"").map(|rest| rest.split_at_checked(16)) {
        Some(Some((id, rest))) if id.bytes().all(|b| b.is_ascii_hexdigit()) => rest,
        _ => before,
    };
    format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
}

#[test]
fn answers_as_vllm_answers() {
    replay_all(RECORDED, Setup::default());
}

#[test]
fn fields_act_as_in_vllm() {
    let mut setup = Setup::default();
    setup.options.enable_scale_out = true;
    setup.options.enable_per_request_metrics = true;
    replay_all(FIELDS, setup);
}

fn replay_all(recorded: &str, setup: Setup) {
    let server = start(setup);
    let count = replay_each(&server, recorded, |name| known(DIFFERENT, name), compare);
    server.wait_until_idle();
    assert!(count > 700);
}

/// The status of a case whose name holds that of a deliberate difference.
pub fn known(different: &[(&str, u16, &str)], name: &str) -> Option<u16> {
    different.iter().find(|(part, ..)| name.contains(part)).map(|(_, status, _)| *status)
}

/// Sends every recorded request. Those that are known to differ must have that status; the others
/// must be the same to `compare`. Returns how many there were.
pub fn replay_each(
    server: &Server,
    recorded: &str,
    known: impl Fn(&str) -> Option<u16>,
    compare: impl Fn(&str, &Value, &Reply) -> Result<(), String>,
) -> usize {
    let (mut failures, mut count) = (Vec::new(), 0);
    for line in recorded.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = case["name"].as_str().unwrap();
        let ours = replay(server, &case);
        count += 1;
        match known(name) {
            Some(status) => assert_eq!(ours.status, status, "{name}: {ours:?}"),
            None => failures.extend(compare(name, &case, &ours).err()),
        }
    }
    let shown = failures.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {count} differ:\n{shown}", failures.len());
    count
}
