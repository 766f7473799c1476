//! Anthropic's API where a recording of a healthy server has nothing to say: keys, limits, failures
//! and settings. `tests/serve/messages.rs` holds the rest.

use super::support::{Setup, start};
use glassbox::types::ReasoningEffort;
use serde_json::{Value, json};

const MESSAGES: &str = "/v1/messages";
const COUNT: &str = "/v1/messages/count_tokens";

fn ask(more: Value) -> String {
    let mut body = json!({
        "model": "qwen3-tiny", "max_tokens": 8, "temperature": 0,
        "messages": [{"role": "user", "content": "hi"}]
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body.to_string()
}

fn error(kind: &str, message: &str) -> Value {
    json!({"type": "error", "error": {"type": kind, "message": message}})
}

#[test]
fn keys_are_asked_for_as_everywhere() {
    let mut setup = Setup::default();
    setup.options.api_keys = vec!["k".to_owned()];
    let server = start(setup);
    let json_type = ("content-type", "application/json");
    // Anthropic's own header says nothing to vLLM.
    for headers in [vec![json_type], vec![json_type, ("x-api-key", "k")]] {
        for path in [MESSAGES, COUNT, "/v1/messages/render"] {
            let reply = server.send("POST", path, &headers, Some(ask(json!({})).as_bytes()));
            assert_eq!((reply.status, reply.json()), (401, json!({"error": "Unauthorized"})));
        }
    }
    let headers = [json_type, ("authorization", "Bearer k")];
    let reply = server.send("POST", MESSAGES, &headers, Some(ask(json!({})).as_bytes()));
    assert_eq!(reply.status, 200, "{}", reply.body);
}

#[test]
fn a_full_server_says_so_in_anthropics_form() {
    let server = start(Setup { max_in_flight: 0, ..Setup::default() });
    let message = "The engine is currently busy and cannot accept new requests. Please try again \
                   later or on a different instance.";
    for (path, stream) in [(MESSAGES, false), (MESSAGES, true), (COUNT, false)] {
        let reply = server.post(path, &ask(json!({"stream": stream})));
        assert_eq!((reply.status, reply.json()), (503, error("Service Unavailable", message)));
    }
}

#[test]
fn a_failure_ends_a_stream_with_an_error() {
    let server = start(Setup { fails_at: Some(4), ..Setup::default() });
    let body = ask(json!({"stream": true, "max_tokens": 50}));
    let reply = server.post(MESSAGES, &body);
    assert_eq!(reply.status, 200);
    let names: Vec<&str> =
        reply.body.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(names.first(), Some(&"message_start"), "{}", reply.body);
    assert_eq!(names.last(), Some(&"error"), "{}", reply.body);
    assert!(!names.contains(&"message_stop") && !names.contains(&"message_delta"));
    let last = reply.body.rsplit("data: ").next().unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["error"]["type"], "internal_error");
    assert!(last["error"]["message"].as_str().unwrap().starts_with("2 validation errors for"));
}

#[test]
fn scaling_out_is_off_by_default() {
    let message = "Scale-out endpoints are disabled. Restart vllm serve with --enable-scale-out \
                   to enable them.";
    let server = start(Setup::default());
    server.post("/v1/messages/render", "{}").assert_error(403, "PermissionDeniedError", message);
}

#[test]
fn no_thinking_is_the_effort_that_is_set() {
    let count = |effort: Option<ReasoningEffort>, more: Value| {
        let mut setup = Setup::default();
        setup.options.anthropic_disabled_thinking_effort = effort;
        start(setup).post(COUNT, &ask(more)).json()["input_tokens"].as_u64().unwrap()
    };
    let thinking = count(None, json!({}));
    let disabled = json!({"thinking": {"type": "disabled"}});
    // The template answers the effort `none` with an empty thought, and any other with nothing.
    assert_eq!(count(None, disabled.clone()), thinking + 4);
    assert_eq!(count(Some(ReasoningEffort::None), disabled.clone()), thinking + 4);
    assert_eq!(count(Some(ReasoningEffort::Low), disabled), thinking);
}
