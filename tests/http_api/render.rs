//! `/render` and what developers may do, beside recorded replies of vLLM 0.32.

use crate::support::{Setup, start};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions/render";
const COMPLETIONS: &str = "/v1/completions/render";

fn scaling_out() -> Setup {
    let mut setup = Setup::default();
    setup.options.enable_scale_out = true;
    setup
}

/// vLLM's object, with these tokens and these members of `sampling_params` beside the usual ones.
fn expected(tokens: Value, params: Value, more: Value) -> Value {
    let mut object = json!({
        "token_ids": tokens, "token_offsets": null, "features": null, "content_parts": null,
        "sampling_params": {
            "presence_penalty": 0.0, "frequency_penalty": 0.0, "repetition_penalty": 1.0,
            "temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0.0, "stop": [],
            "stop_token_ids": [], "output_kind": 2, "skip_clone": true, "bad_words": [],
            "skip_reading_prefix_cache": false
        },
        "model": null, "reasoning_ended": null, "reasoning_parser_kwargs": null,
        "return_token_ids": null, "output_mode": "tokens", "stream": false,
        "stream_options": null, "cache_salt": null, "priority": 0, "kv_transfer_params": null,
        "ec_transfer_params": null
    });
    for (name, value) in params.as_object().expect("an object") {
        object["sampling_params"][name] = value.clone();
    }
    for (name, value) in more.as_object().expect("an object") {
        object[name] = value.clone();
    }
    object
}

/// The reply without its random id.
fn rendered(mut reply: Value, prefix: &str) -> Value {
    let id = reply.as_object_mut().and_then(|object| object.shift_remove("request_id"));
    let id = id.and_then(|id| id.as_str().map(str::to_owned)).expect("an id");
    assert!(id.starts_with(prefix), "{id}");
    reply
}

#[test]
fn a_chat_is_one_object() {
    let server = start(scaling_out());
    let reply = server.post(CHAT, r#"{"messages":[{"role":"user","content":"hi"}]}"#);
    let tokens = json!([2023, 284, 198, 837, 2024, 198, 2023, 290, 198]);
    let wanted = expected(tokens, json!({"max_tokens": 4087}), json!({}));
    assert_eq!(rendered(reply.json(), "chatcmpl-"), wanted);
}

#[test]
fn completions_are_a_list() {
    let server = start(scaling_out());
    let body = r#"{"prompt":["hello","world"],"max_tokens":3,"stop":"a","bad_words":["x"],
                   "logit_bias":{"5":1.5},"min_tokens":1,"stop_token_ids":[3],
                   "allowed_token_ids":[1,2],"ignore_eos":true,"logprobs":1,"prompt_logprobs":1,
                   "echo":true}"#;
    let replies = server.post(COMPLETIONS, body).json();
    let params = json!({
        "stop": ["a"], "stop_token_ids": [3], "ignore_eos": true, "max_tokens": 3,
        "min_tokens": 1, "logprobs": 1, "prompt_logprobs": 1, "logit_bias": {"5": 1.5},
        "allowed_token_ids": [1, 2], "bad_words": ["x"], "skip_reading_prefix_cache": true
    });
    for (at, tokens) in [json!([1915]), json!([86, 300, 570])].into_iter().enumerate() {
        let reply = rendered(replies[at].clone(), "cmpl-");
        assert_eq!(reply, expected(tokens, params.clone(), json!({})));
        assert!(
            replies[at]["request_id"].as_str().is_some_and(|id| id.ends_with(&format!("-{at}")))
        );
    }
    let body = r#"{"prompt":[1,2,3],"temperature":0.5,"top_k":3,"stream":true}"#;
    let reply = server.post(COMPLETIONS, body).json();
    let params = json!({"temperature": 0.5, "top_k": 3, "output_kind": 1});
    let wanted = expected(json!([1, 2, 3]), params, json!({"stream": true}));
    assert_eq!(rendered(reply[0].clone(), "cmpl-"), wanted);
}

#[test]
fn refusals_are_those_of_vllm() {
    let server = start(scaling_out());
    let beams = "Beam search is not supported by the render endpoint";
    let reply = server.post(COMPLETIONS, r#"{"prompt":"a","use_beam_search":true}"#);
    reply.assert_error(400, "BadRequestError", beams);
    let disabled = "Scale-out endpoints are disabled. Restart vllm serve with --enable-scale-out \
                    to enable them.";
    let server = start(Setup::default());
    for path in [CHAT, COMPLETIONS, "/inference/v1/generate"] {
        server.post(path, "{}").assert_error(403, "PermissionDeniedError", disabled);
    }
}

#[test]
fn the_prefix_cache_is_reset_by_developers_only() {
    let server = start(Setup::default());
    assert_eq!(server.post("/reset_prefix_cache", "").status, 404);
    let mut setup = Setup::default();
    setup.options.dev_mode = true;
    let server = start(setup);
    assert_eq!(server.post("/reset_prefix_cache", "").json(), json!({"success": true}));
    let reply = server.post("/reset_prefix_cache?reset_running_requests=maybe", "");
    let message = "1 validation error:\n  {'type': 'bool_parsing', 'loc': \
                   'query.reset_running_requests', 'msg': 'Input should be a valid boolean, unable \
                   to interpret input', 'input': 'maybe'}";
    let error = json!({
        "message": message, "type": "Bad Request", "param": "query.reset_running_requests",
        "code": 400
    });
    assert_eq!((reply.status, reply.json()), (400, json!({"error": error})));
    assert_eq!(server.get("/kv_event_sources").json(), json!({}));
}
