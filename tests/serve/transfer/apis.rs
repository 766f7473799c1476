//! `kv_transfer_params` in every API of generation: what P says, and what D makes of it.

use super::super::support::{Reply, Server};
use super::{
    COMPLETIONS, alone, choices, decoder, greedy, prefill, prefiller, tokens_from, wait_until_free,
    with_params,
};
use serde_json::{Value, json};

/// vLLM's, and how much of the prompt P had cached.
const KEYS: [&str; 14] = [
    "dcp_size",
    "do_remote_decode",
    "do_remote_prefill",
    "pp_size",
    "remote_block_ids",
    "remote_blocks_expiry_time",
    "remote_engine_id",
    "remote_host",
    "remote_num_tokens",
    "remote_port",
    "remote_prefill_cached_tokens",
    "remote_request_id",
    "tp_size",
    "transfer_mode",
];
const TEXT: &str = "Once upon a time there was a fox who had a friend, a bear of great patience, \
    and both of them lived in the forest behind the hills.";

fn keys(params: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> =
        params.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn a_prefiller_says_what_vllm_says() {
    let server = prefiller(&["--block-size", "16"], &json!({"engine_id": "prefiller"}));
    let body = greedy(TEXT, 8);
    let first = prefill(&server, COMPLETIONS, &body);
    assert_eq!(keys(&first), KEYS);
    let tokens = server.post("/tokenize", &json!({"prompt": TEXT})).json()["count"].clone();
    let len = tokens.as_u64().expect("a number") as usize;
    for (key, value) in [
        ("do_remote_prefill", json!(true)),
        ("do_remote_decode", json!(false)),
        ("remote_engine_id", json!("prefiller")),
        ("remote_host", json!("127.0.0.1")),
        ("tp_size", json!(1)),
        ("dcp_size", json!(1)),
        ("pp_size", json!(1)),
        ("remote_num_tokens", tokens),
        ("transfer_mode", json!("pull")),
        ("remote_prefill_cached_tokens", json!(0)),
    ] {
        assert_eq!(first[key], value, "{key}");
    }
    let groups = first["remote_block_ids"].as_array().expect("groups");
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].as_array().expect("blocks").len(), len.div_ceil(16));
    assert!(first["remote_port"].as_u64().is_some_and(|port| port > 0));
    assert!(first["remote_blocks_expiry_time"].as_f64().is_some_and(|time| time > 0.0));
    let again = prefill(&server, COMPLETIONS, &body);
    assert_eq!(again["remote_prefill_cached_tokens"], json!((len - 1) / 16 * 16));
    let name = |params: &Value| params["remote_request_id"].as_str().unwrap().to_owned();
    assert!(name(&first).starts_with("cmpl-") && name(&first) != name(&again));
    drop(server);
    let config = json!({"kv_connector_extra_config": {"block_checksums": true}});
    let server = prefiller(&["--block-size", "16"], &config);
    let params = prefill(&server, COMPLETIONS, &body);
    let sums = params["glassbox_block_checksums"].as_array().expect("a list");
    assert_eq!(sums.len(), len.div_ceil(16));
    assert_eq!(keys(&params).len(), KEYS.len() + 1);
}

#[test]
fn nothing_is_said_of_what_is_not_kept() {
    let server = prefiller(&[], &json!({}));
    let body = greedy("short", 4);
    let not_asked = json!({"do_remote_decode": false, "do_remote_prefill": false});
    for body in [body.clone(), with_params(&body, not_asked)] {
        let reply = server.post(COMPLETIONS, &body).json();
        assert_eq!(reply["kv_transfer_params"], Value::Null);
        assert!(reply.as_object().is_some_and(|reply| reply.contains_key("kv_transfer_params")));
        wait_until_free(&server, "no peer was meant");
    }
    let mut stream = with_params(&body, json!({"do_remote_decode": true}));
    stream["stream"] = true.into();
    for event in server.post(COMPLETIONS, &stream).events() {
        assert_eq!(event["kv_transfer_params"], Value::Null, "{event}");
    }
    let long = json!({"prompt": "1, 2, 3,", "max_tokens": 1000, "ignore_eos": true,
        "kv_transfer_params": {"do_remote_decode": true}});
    let aborted = server.send("POST", COMPLETIONS, &long.to_string());
    super::wait_until("it runs", || server.metric("vllm:num_requests_running") >= 1.0);
    server.signal(libc::SIGTERM);
    let reply = Reply::read(aborted).json();
    assert_eq!(reply["choices"][0]["finish_reason"], "abort");
    assert_eq!(reply["kv_transfer_params"], Value::Null);
}

fn cases() -> Vec<(&'static str, Value)> {
    let messages = |begin| json!([{"role": "user", "content": format!("{begin}: {TEXT}")}]);
    vec![
        (COMPLETIONS, greedy(TEXT, 12)),
        (
            "/v1/chat/completions",
            json!({"messages": messages("Go on"), "max_tokens": 12, "temperature": 0,
                "logprobs": true, "top_logprobs": 2}),
        ),
        ("/v1/responses", json!({"input": TEXT, "max_output_tokens": 12, "temperature": 0})),
        (
            "/v1/messages",
            json!({"messages": messages("And then"), "max_tokens": 12, "temperature": 0,
                "model": "tiny"}),
        ),
        (
            "/inference/v1/generate",
            json!({"token_ids": (20..90).collect::<Vec<u32>>(),
                "sampling_params": {"max_tokens": 12, "temperature": 0, "logprobs": 2}}),
        ),
    ]
}

/// What a reply says, without what is random.
fn said(path: &str, reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    let name = match path {
        "/v1/responses" => "output",
        "/v1/messages" => "content",
        _ => "choices",
    };
    without_ids(reply.json()[name].clone())
}

fn without_ids(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            members.remove("id");
            members.values_mut().for_each(|value| *value = without_ids(value.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = without_ids(item.take())),
        _ => {}
    }
    value
}

/// What a stream says, all pieces put together, and in how many.
fn streamed(path: &str, reply: &Reply) -> (String, usize) {
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    let data = reply.body.lines().filter_map(|line| line.strip_prefix("data: "));
    let piece = |data: &str| {
        let event: Value = serde_json::from_str(data).expect("JSON");
        let choice = &event["choices"][0];
        let piece = match path {
            COMPLETIONS => &choice["text"],
            "/v1/chat/completions" => &choice["delta"]["content"],
            "/v1/messages" => &event["delta"]["text"],
            "/v1/responses" => &event["delta"],
            _ => {
                let ids = choice["token_ids"].as_array()?;
                return Some(ids.iter().map(|id| format!("{id},")).collect());
            }
        };
        Some(piece.as_str()?.to_owned())
    };
    let pieces: Vec<String> =
        data.filter(|data| *data != "[DONE]").filter_map(piece).filter(|p| !p.is_empty()).collect();
    (pieces.concat(), pieces.len())
}

fn cached_of(path: &str, reply: &Value) -> Value {
    let usage = &reply["usage"];
    match path {
        "/v1/responses" => usage["input_tokens_details"]["cached_tokens"].clone(),
        "/v1/messages" => usage["cache_read_input_tokens"].clone(),
        _ => usage["prompt_tokens_details"]["cached_tokens"].clone(),
    }
}

fn pulled(server: &Server) -> f64 {
    tokens_from(server, "external_kv_transfer")
}

#[test]
fn every_api_goes_on_elsewhere() {
    // D finds nothing of its own: each request pulls.
    let (p, d) = (prefiller(&[], &json!({})), decoder(&["--no-enable-prefix-caching"], &json!({})));
    let alone = alone(&[]);
    for (path, body) in cases() {
        for streams in [false, true] {
            let params = prefill(&p, path, &body);
            assert_eq!(keys(&params), KEYS, "{path}");
            let cached = params["remote_prefill_cached_tokens"].clone();
            assert_eq!(cached.as_u64().is_some_and(|cached| cached > 0), streams, "{path}");
            let before = pulled(&d);
            let mut second = with_params(&body, params);
            let mut right = body.clone();
            (second["stream"], right["stream"]) = (streams.into(), streams.into());
            let (reply, right) = (d.post(path, &second), alone.post(path, &right));
            if streams {
                let (text, pieces) = streamed(path, &reply);
                assert_eq!(text, streamed(path, &right).0, "{path}");
                assert!(pieces > 3, "{path}: {}", reply.body);
            } else {
                assert_eq!(said(path, &reply), said(path, &right), "{path}");
                let reply = reply.json();
                assert_eq!(cached_of(path, &reply), cached, "{path}: {reply}");
                assert_eq!(reply["kv_transfer_params"], Value::Null, "{path}");
            }
            assert!(pulled(&d) > before, "{path}: it came from P");
        }
    }
    wait_until_free(&p, "D told that it has all");
    wait_until_free(&d, "all is said");
}

#[test]
fn ids_of_blocks_may_be_flat() {
    let (p, d) = (prefiller(&[], &json!({})), decoder(&[], &json!({})));
    let body = greedy(TEXT, 4);
    let mut params = prefill(&p, COMPLETIONS, &body);
    params["remote_block_ids"] = params["remote_block_ids"][0].take();
    let reply = d.post(COMPLETIONS, &with_params(&body, params));
    assert_eq!(choices(&reply), choices(&alone(&[]).post(COMPLETIONS, &body)));
    assert!(pulled(&d) > 0.0);
    wait_until_free(&p, "D told that it has all");
}
