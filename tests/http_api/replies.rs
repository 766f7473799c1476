//! What replies say: streams and whole replies agree, and every option does what it is for.

use super::support::{Server, Setup, start};
use serde_json::{Value, json};

fn post(server: &Server, path: &str, body: Value) -> Value {
    let reply = server.post(path, &body.to_string());
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()
}

fn completion(server: &Server, body: Value) -> Value {
    post(server, "/v1/completions", body)
}

/// The chunks of a stream, without `[DONE]`.
fn chunks(server: &Server, path: &str, body: Value) -> Vec<Value> {
    let reply = server.post(path, &body.to_string());
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let events = reply.events();
    assert_eq!(events.last(), Some(&"[DONE]"));
    events[..events.len() - 1].iter().map(|e| serde_json::from_str(e).unwrap()).collect()
}

fn text_of(chunks: &[Value], index: u64) -> String {
    let choices = chunks.iter().filter_map(|chunk| chunk["choices"].get(0));
    let own = choices.filter(|choice| choice["index"] == index);
    own.filter_map(|choice| choice["text"].as_str().or(choice["delta"]["content"].as_str()))
        .collect()
}

#[test]
fn streams_say_what_whole_replies_say() {
    let server = start(Setup::default());
    let body = json!({"prompt": ["one", "two"], "n": 2, "seed": 7, "max_tokens": 40, "logprobs": 2,
        "temperature": 1, "return_token_ids": true});
    let whole = completion(&server, body.clone());
    let mut streamed = body;
    streamed["stream"] = true.into();
    streamed["stream_options"] = json!({"include_usage": true});
    let chunks = chunks(&server, "/v1/completions", streamed);
    for choice in whole["choices"].as_array().unwrap() {
        let index = choice["index"].as_u64().unwrap();
        assert_eq!(choice["text"], text_of(&chunks, index));
        let own: Vec<&Value> = chunks
            .iter()
            .filter_map(|c| c["choices"].get(0))
            .filter(|c| c["index"] == index)
            .collect();
        let joined = |path: &dyn Fn(&Value) -> Value| -> Value {
            own.iter().flat_map(|c| path(c).as_array().cloned().unwrap_or_default()).collect()
        };
        assert_eq!(joined(&|c| c["token_ids"].clone()), choice["token_ids"]);
        for part in ["text_offset", "token_logprobs", "tokens", "top_logprobs"] {
            assert_eq!(
                joined(&|c| c["logprobs"][part].clone()),
                choice["logprobs"][part],
                "{part}"
            );
        }
        assert_eq!(own.last().unwrap()["finish_reason"], choice["finish_reason"]);
    }
    let mut usage = whole["usage"].clone();
    usage["prompt_tokens_details"] = json!({"cached_tokens": 0});
    usage.as_object_mut().unwrap().remove("completion_tokens_details");
    assert_eq!(chunks.last().unwrap()["usage"], usage);
}

#[test]
fn replies_of_one_request_differ_by_their_seed_alone() {
    let server = start(Setup::default());
    let ask = |seed: i64, n: u64| {
        let body = json!({"prompt": "a", "n": n, "seed": seed, "max_tokens": 12, "temperature": 1});
        completion(&server, body)["choices"].clone()
    };
    let three = ask(5, 3);
    for k in 0..3 {
        assert_eq!(three[k as usize]["text"], ask(5 + k, 1)[0]["text"]);
    }
    assert_ne!(three[0]["text"], three[1]["text"]);
}

#[test]
fn stop_strings_end_text_and_work() {
    let server = start(Setup::default());
    let body =
        json!({"prompt": "x", "max_tokens": 60, "seed": 1, "temperature": 1, "ignore_eos": true});
    let free = completion(&server, body.clone());
    let text = free["choices"][0]["text"].as_str().unwrap();
    let middle = text.char_indices().nth(text.chars().count() / 2).unwrap().0;
    let stop: String = text[middle..].chars().take(3).collect();
    let mut stopped = body;
    stopped["stop"] = json!([stop]);
    let whole = completion(&server, stopped.clone());
    let choice = &whole["choices"][0];
    assert_eq!(choice["text"], text.split(&stop).next().unwrap());
    assert_eq!(
        (choice["finish_reason"].as_str(), choice["stop_reason"].as_str()),
        (Some("stop"), Some(&*stop))
    );
    assert!(whole["usage"]["completion_tokens"].as_u64().unwrap() < 60);
    stopped["stream"] = true.into();
    let chunks = chunks(&server, "/v1/completions", stopped);
    assert_eq!(choice["text"], text_of(&chunks, 0));
    server.wait_until_idle();
}

#[test]
fn streams_in_larger_chunks_when_asked() {
    let server = start(Setup::default());
    let body = json!({"prompt": "x", "max_tokens": 10, "temperature": 0, "ignore_eos": true,
        "stream": true,
        "stream_interval": 4, "return_token_ids": true});
    let chunks = chunks(&server, "/v1/completions", body);
    let sizes: Vec<usize> =
        chunks.iter().map(|c| c["choices"][0]["token_ids"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [1, 4, 4, 1]);
}

#[test]
fn echo_repeats_the_prompt() {
    let server = start(Setup::default());
    let ask = |extra: Value| {
        let mut body = json!({"prompt": "hello world", "max_tokens": 3, "temperature": 0,
            "echo": true, "ignore_eos": true});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        completion(&server, body)
    };
    let plain = ask(json!({"echo": false}))["choices"][0]["text"].as_str().unwrap().to_owned();
    assert_eq!(ask(json!({}))["choices"][0]["text"], format!("hello world{plain}"));
    assert_eq!(ask(json!({"max_tokens": 0}))["choices"][0]["text"], "hello world");
    assert_eq!(ask(json!({"return_token_ids": true}))["choices"][0]["text"], plain);
    let with_logprobs = ask(json!({"logprobs": 1}));
    let logprobs = &with_logprobs["choices"][0]["logprobs"];
    assert_eq!(logprobs["tokens"].as_array().unwrap().len(), 2 + 3);
    assert_eq!(logprobs["token_logprobs"][0], Value::Null);
    assert!(logprobs["token_logprobs"][1].is_f64());
    assert_eq!(with_logprobs["choices"][0]["prompt_logprobs"].as_array().unwrap().len(), 2);
}

#[test]
fn usage_can_be_forced() {
    let mut setup = Setup::default();
    setup.options.enable_force_include_usage = true;
    let server = start(setup);
    let body = json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2,
        "stream": true, "temperature": 0});
    let chunks = chunks(&server, "/v1/chat/completions", body);
    assert!(chunks.iter().all(|chunk| chunk["usage"]["prompt_tokens"] == 9), "{chunks:?}");
    assert_eq!(chunks.last().unwrap()["choices"], json!([]));
}

#[test]
fn max_tokens_is_what_fits() {
    let server = start(Setup::default());
    let body =
        json!({"prompt": [[1, 2, 3]], "max_tokens": 4096, "temperature": 0, "ignore_eos": true});
    let reply = completion(&server, body);
    assert_eq!(reply["usage"]["completion_tokens"], 4093);
    assert_eq!(reply["choices"][0]["finish_reason"], "length");
}

#[test]
fn parts_of_messages_are_joined() {
    let server = start(Setup::default());
    let count = |content: Value| {
        let body = json!({"messages": [{"role": "system", "content": content},
            {"role": "user", "content": "hi"}]});
        post(&server, "/tokenize", body)["tokens"].clone()
    };
    let text = |text: &str| json!({"type": "text", "text": text});
    assert_eq!(count(json!([text("be "), text("brief")])), count(json!("be brief")));
    assert_eq!(count(json!("x-anthropic-billing-header: 1\nbe brief")), count(json!("be brief")));
}
