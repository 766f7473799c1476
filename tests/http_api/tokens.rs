//! Tokens in and out, and ending a request by its name.

use crate::support::{Setup, parse, start};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::time::Duration;

const GENERATE: &str = "/inference/v1/generate";
const ABORT: &str = "/inference/v1/abort_requests";

fn scaling_out() -> Setup {
    let mut setup = Setup::default();
    setup.options.enable_scale_out = true;
    setup
}

#[test]
fn tokens_and_text_agree() {
    let server = start(scaling_out());
    let ask = |mode: &str| {
        let params = json!({"temperature": 0, "max_tokens": 12, "ignore_eos": true, "logprobs": 1});
        let body = json!({"token_ids": [51, 360], "sampling_params": params, "output_mode": mode});
        server.post(GENERATE, &body.to_string()).json()["choices"][0].clone()
    };
    let (tokens, text) = (ask("tokens"), ask("text"));
    assert_eq!(tokens["token_ids"], text["token_ids"]);
    let ids: Vec<&Value> =
        tokens["logprobs"]["content"].as_array().unwrap().iter().map(|e| &e["token_id"]).collect();
    assert_eq!(json!(ids), tokens["token_ids"]);
    let pieces: String = text["logprobs"]["content"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["token"].as_str().unwrap())
        .collect();
    assert!(text["text"].as_str().unwrap().starts_with(&pieces[..pieces.len().min(1)]));
    // What comes back is what the other endpoint makes of the tokens.
    let response = json!({"request_id": "r", "choices": [tokens]});
    let body = json!({"generate_responses": [response], "prompt_token_ids": [[51, 360]]});
    let completion = server.post("/v1/completions/derender", &body.to_string()).json();
    assert_eq!(completion["choices"][0]["text"], text["text"]);
}

#[test]
fn chunks_derender_to_the_whole() {
    let server = start(scaling_out());
    let params = json!({"temperature": 1, "seed": 5, "max_tokens": 60, "ignore_eos": true});
    let mut body = json!({"token_ids": [51, 360], "sampling_params": params});
    let whole = server.post(GENERATE, &body.to_string()).json();
    let response = json!({"request_id": "r", "choices": whole["choices"]});
    let given = json!({"generate_response": response, "prompt_token_ids": [51, 360]});
    let reply = server.post("/v1/chat/completions/derender", &given.to_string()).json();
    let text = reply["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    body["stream"] = json!(true);
    let stream = server.post(GENERATE, &body.to_string());
    let (mut state, mut pieces) = (Value::Null, String::new());
    for event in stream.events().into_iter().filter(|event| *event != "[DONE]") {
        let chunk: Value = serde_json::from_str(event).unwrap();
        let given = json!({"stream": true, "generate_chunk": chunk, "stream_state": state,
            "prompt_token_ids": [51, 360]});
        let reply = server.post("/v1/chat/completions/derender", &given.to_string()).json();
        state = reply["stream_state"].clone();
        pieces += reply["chunk"]["choices"][0]["delta"]["content"].as_str().unwrap_or("");
    }
    assert_eq!(pieces, text);
}

#[test]
fn requests_end_by_their_name() {
    let server = start(Setup { step_time: Duration::from_millis(2), ..scaling_out() });
    let body = json!({"token_ids": [51], "request_id": "mine", "stream": true,
        "sampling_params": {"n": 2, "max_tokens": 4000, "ignore_eos": true}});
    let (body, kind) = (body.to_string(), [("content-type", "application/json")]);
    let mut stream = server.connect();
    let head = server.head("POST", GENERATE, &kind) + "connection: close\r\n";
    let head = head + &format!("content-length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut first = [0; 256];
    let read = stream.read(&mut first).unwrap();
    // Another name ends nothing.
    assert_eq!(server.post(ABORT, r#"{"request_ids": ["mine"]}"#).status, 200);
    assert!(server.engine.in_flight() > 0);
    let name = r#"{"request_ids": ["other", "generate-tokens-mine"]}"#;
    assert_eq!(server.post(ABORT, name).status, 200);
    let mut bytes = first[..read].to_vec();
    stream.read_to_end(&mut bytes).unwrap();
    let reply = parse(&bytes);
    let ends =
        reply.events().into_iter().filter(|event| event.contains(r#""finish_reason":"abort""#));
    assert_eq!(ends.count(), 2);
    server.wait_until_idle();
}

#[test]
fn only_completions_and_chats_are_kept_alive() {
    let mut setup = scaling_out();
    setup.step_time = Duration::from_millis(40);
    setup.options.sse_keep_alive = Some(Duration::from_millis(1));
    let server = start(setup);
    let tokens = json!({"token_ids": [51], "sampling_params": {"max_tokens": 3}, "stream": true});
    let text = json!({"prompt": "a", "max_tokens": 3, "stream": true});
    for (path, body, is_kept) in [
        ("/v1/completions", &text, true),
        ("/invocations", &text, true),
        (GENERATE, &tokens, false),
    ] {
        let reply = server.post(path, &body.to_string());
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.body.contains(": keep-alive"), is_kept, "{path}: {}", reply.body);
    }
}
