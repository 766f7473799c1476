//! Reasoning and tool calls, whole and streamed: what the real vLLM 0.32 answered, against what
//! Glassbox answers when its model writes the same tokens. `tests/peers/vllm.py --set parsed
//! --record` made the recording.

use super::scripted::Script;
use super::support::{Server, Setup, start};
use glassbox::http::Options;
use glassbox::types::{ReasoningFormat, Token, ToolFormat};
use serde_json::{Map, Value, json};

const RECORDED: &str = include_str!("../data/recorded/parsed-0.32.json");

/// A server with vLLM's flags of the recording, and what its model writes.
fn server() -> (Server, Script) {
    let setup = Setup::default();
    let script = Script::default();
    let options = Options {
        enable_prompt_tokens_details: false,
        enable_scale_out: true,
        reasoning_format: Some(ReasoningFormat::Qwen3),
        tool_format: Some(ToolFormat::Hermes),
        ..setup.options
    };
    (start(Setup { options, script: Some(script.clone()), ..setup }), script)
}

/// The value with everything masked that differs from run to run.
fn masked(key: &str, value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            members.iter().map(|(key, value)| (key.clone(), masked(key, value))).collect()
        }
        Value::Array(_) if key == "prompt_logprobs" => json!("<of the model>"),
        Value::Array(items) => items.iter().map(|item| masked(key, item)).collect(),
        Value::Number(_) if key == "created" => json!("<time>"),
        Value::Number(_) if key == "logprob" => json!("<number>"),
        Value::String(_) if ["system_fingerprint", "version", "root"].contains(&key) => {
            json!(format!("<{key}>"))
        }
        Value::String(id) if ["id", "request_id"].contains(&key) => match id.rsplit_once('-') {
            Some((before, _)) => json!(format!("{before}-<hex>")),
            None => value.clone(),
        },
        other => other.clone(),
    }
}

/// Appends the text of a delta's member to that of an earlier one.
fn append(to: &mut Map<String, Value>, from: &Map<String, Value>, key: &str) {
    if let Some(Value::String(text)) = from.get(key) {
        let before = to.get(key).and_then(Value::as_str).unwrap_or_default();
        to.insert(key.to_owned(), json!(format!("{before}{text}")));
    }
}

/// A stream with all that one choice says in one event: a slow reader of vLLM gets several tokens
/// with one chunk.
fn folded(events: &[Value]) -> Vec<Value> {
    let mut others = Vec::new();
    let (mut said, mut calls, mut end) = (Map::new(), Vec::<Map<String, Value>>::new(), Map::new());
    for event in events {
        let delta = event.pointer("/choices/0/delta").and_then(Value::as_object);
        let Some(delta) = delta.filter(|delta| !delta.contains_key("role")) else {
            others.push(event.clone());
            continue;
        };
        append(&mut said, delta, "reasoning");
        append(&mut said, delta, "content");
        for call in delta.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            let index = call["index"].as_u64().unwrap() as usize;
            if calls.len() <= index {
                calls.resize(index + 1, Map::new());
            }
            let function = call["function"].as_object().unwrap();
            append(&mut calls[index], function, "name");
            append(&mut calls[index], function, "arguments");
        }
        end = event["choices"][0].as_object().unwrap().clone();
    }
    end.remove("delta");
    end.remove("logprobs");
    end.remove("token_ids");
    others.push(json!({"said": said, "calls": calls, "end": end}));
    others
}

/// The events of a stream, as the recording has them.
fn events(body: &str) -> Vec<Value> {
    let event = |event: &str| {
        let data = event.strip_prefix("data: ").unwrap();
        serde_json::from_str(data).unwrap_or_else(|_| json!(event))
    };
    body.split_terminator("\n\n").map(event).collect()
}

fn replay(server: &Server, script: &Script, case: &Value) -> Result<(), String> {
    let ids = |ids: &Vec<Value>| ids.iter().map(|id| id.as_u64().unwrap() as Token).collect();
    let tokens: Vec<Token> = case["tokens"].as_array().map(ids).unwrap_or_default();
    script.set(tokens);
    let reply = server.post(case["path"].as_str().unwrap(), case["body"].as_str().unwrap());
    server.wait_until_idle();
    let (name, wanted) = (case["name"].as_str().unwrap(), &case["reply"]);
    // As text, for the order of members counts.
    let expect = |wanted: &Value, ours: &Value| {
        let (wanted, ours) = (wanted.to_string(), ours.to_string());
        match wanted == ours {
            true => Ok(()),
            false => Err(format!("{name}\n  vLLM: {wanted}\n  ours: {ours}")),
        }
    };
    expect(&wanted["status"], &json!(reply.status))?;
    let Some(theirs) = wanted["events"].as_array() else {
        return expect(&masked("", &wanted["json"]), &masked("", &reply.json()));
    };
    let theirs: Vec<Value> = theirs.iter().map(|event| masked("", event)).collect();
    let ours: Vec<Value> = events(&reply.body).iter().map(|event| masked("", event)).collect();
    match theirs.len() == ours.len() {
        true => expect(&json!(theirs), &json!(ours)),
        false => expect(&json!(folded(&theirs)), &json!(folded(&ours))),
    }
}

#[test]
fn outputs_are_parsed_as_vllm_parses_them() {
    let (server, script) = server();
    let cases: Vec<Value> = serde_json::from_str(RECORDED).unwrap();
    // What the completions endpoint says depends on the model alone.
    let cases = cases.iter().filter(|case| case["path"] != "/v1/completions");
    let results: Vec<_> = cases.map(|case| replay(&server, &script, case)).collect();
    let count = results.len();
    let failures: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    let shown = failures.iter().take(12).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {count} differ:\n{shown}", failures.len());
    assert!(count > 120);
}
