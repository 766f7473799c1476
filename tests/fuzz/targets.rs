//! What must hold for any input of each parser.

use glassbox::config::{self, Env};
use glassbox::model::{ChatTemplate, RenderInput};
use glassbox::telemetry::trace::context;
use glassbox::{http, transfer, zmq};
use serde_json::{Map, Value, json};

/// What serde_json takes for JSON is JSON here, with the same value. (Python takes more.)
pub fn json(input: &[u8]) {
    let ours = http::fuzz::json(input);
    // Its own limit of nesting, and half surrogates, are where they part.
    if let Ok(theirs) = serde_json::from_slice::<Value>(input) {
        let ours = ours.expect("valid JSON");
        if !holds_big_number(&theirs) {
            assert_eq!(ours, theirs);
        }
    }
}

/// Integers beyond 64 bits are integers to Python and floats to serde_json.
fn holds_big_number(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(holds_big_number),
        Value::Object(members) => members.values().any(holds_big_number),
        _ => false,
    }
}

/// A body is taken, or refused with a status of the client's fault.
fn check_status(refused: Option<u16>) {
    assert!(refused.is_none_or(|status| (400..500).contains(&status)), "{refused:?}");
}

pub fn chat(input: &[u8]) {
    check_status(http::fuzz::chat(input));
}

pub fn completions(input: &[u8]) {
    check_status(http::fuzz::completions(input));
}

pub fn messages(input: &[u8]) {
    check_status(http::fuzz::messages(input));
}

pub fn responses(input: &[u8]) {
    check_status(http::fuzz::responses(input));
}

pub fn tokenize(input: &[u8]) {
    check_status(http::fuzz::tokenize(input));
    check_status(http::fuzz::detokenize(input));
}

pub fn query(input: &[u8]) {
    check_status(http::fuzz::query(&String::from_utf8_lossy(input)));
}

/// Whatever an error says, it is one event of ASCII and its data is JSON.
pub fn error_event(input: &[u8]) {
    let event = http::fuzz::error_event(&String::from_utf8_lossy(input));
    assert!(event.is_ascii(), "{event}");
    let data = event.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\n\n"));
    let data = data.expect("one event");
    assert!(!data.contains(['\n', '\r']), "{data:?}");
    assert!(serde_json::from_str::<Value>(data).expect("JSON")["error"]["message"].is_string());
}

/// A template is refused, fails, or gives a text of bounded size: it has no files, and only so
/// much fuel.
pub fn template(input: &[u8]) {
    let Ok(template) = ChatTemplate::new(&String::from_utf8_lossy(input)) else { return };
    let messages = json!([
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"role": "assistant", "content": "yes", "tool_calls": [
            {"function": {"name": "f", "arguments": {"a": 1}}}]},
        {"role": "tool", "content": "2"},
    ]);
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {}}}]);
    let kwargs = Map::from_iter([("enable_thinking".to_owned(), Value::Bool(false))]);
    for (tools, continue_final_message) in [(None, false), (Some(&tools), true)] {
        let input = RenderInput {
            messages: &messages,
            tools,
            add_generation_prompt: !continue_final_message,
            continue_final_message,
            kwargs: &kwargs,
        };
        if let Ok(text) = template.render(&input, &Map::new()) {
            assert!(text.len() < 256 << 20, "{} bytes", text.len());
        }
    }
}

/// A command line is read, or refused with argparse's code or that of bad settings.
pub fn flags(input: &[u8]) {
    let line = String::from_utf8_lossy(input);
    let args: Vec<String> = line.split('\n').map(str::to_owned).collect();
    // A file that happens to have the name is none of the parser's business.
    if args.iter().any(|arg| arg.starts_with("--config") || arg.starts_with("--c")) {
        return;
    }
    let args: Vec<String> = ["vllm", "serve"].map(str::to_owned).into_iter().chain(args).collect();
    if let Err(exit) = config::parse(&args, Env::read(|_| None)) {
        assert!([0, 1, 2].contains(&exit.code), "{exit:?}");
        assert!(exit.code == 0 || !exit.stderr.is_empty());
    }
}

/// What a peer sends comes to the same however the network cuts it.
pub fn zmtp(input: &[u8]) {
    let whole = zmq::fuzz::frames([input]);
    let bytes = zmq::fuzz::frames(input.chunks(1));
    let some = zmq::fuzz::frames(input.chunks(7));
    assert_eq!((&whole, &whole), (&bytes, &some));
    zmq::fuzz::commands(input);
}

/// What a peer of KV transfer says of itself: a payload, or the metadata in one.
pub fn nixl_metadata(input: &[u8]) {
    transfer::fuzz::metadata(input);
}

/// A query to the side channel is answered or refused with a reason.
pub fn nixl_query(input: &[u8]) {
    if let Err(reason) = transfer::side_channel::answer(input) {
        assert!(!reason.is_empty() && reason.len() < 300, "{reason}");
    }
}

/// A context that is taken is what the header says, letter by letter.
pub fn trace_context(input: &[u8]) {
    for line in input.split(|byte| *byte == b'\n') {
        if let Some(parent) = context::traceparent(line) {
            let flags = parent.flags.to_u8();
            let tail = format!("-{}-{}-{flags:02x}", parent.trace_id, parent.span_id);
            // Versions to come may say anything after it.
            assert_eq!(&line.trim_ascii_start()[2..55], tail.as_bytes());
        }
        let state = context::tracestate(line);
        assert!(state.header().len() <= line.len(), "{state:?}");
    }
}

/// A list of ciphers selects some of TLS 1.2's, or is refused with a reason.
pub fn ciphers(input: &[u8]) {
    match http::fuzz::ciphers(&String::from_utf8_lossy(input)) {
        Ok(count) => assert!((4..=9).contains(&count), "{count}"),
        Err(reason) => assert!(!reason.is_empty()),
    }
}
