//! A server with token ids alone: what the real vLLM 0.32 answered with `--skip-tokenizer-init`
//! (`tests/data/http/requests_no_tokenizer.py`), errors to the byte.

use super::golden::{compare, replay_each};
use super::support::{Reply, Server, Setup, start};
use serde_json::Value;

const RECORDED: &str = include_str!("../data/http/no_tokenizer.jsonl");
const MISSING: &str = "Tokenizer not available when `skip_tokenizer_init=True`";

/// Deliberate differences, with the status that Glassbox answers.
const DIFFERENT: &[(&str, u16, &str)] = &[
    ("POST /v1/chat/completions  model=other", 404, "vLLM crashes (500)"),
    ("POST /v1/chat/completions ", 400, "vLLM crashes (500)"),
    ("POST /v1/chat/completions/batch", 400, "vLLM crashes (500)"),
];

fn server() -> Server {
    let mut setup = Setup { tokenizer: false, ..Setup::default() };
    setup.options.served_model_names = vec!["tiny".to_owned()];
    setup.options.limits.max_model_len = 512;
    setup.options.enable_prompt_tokens_details = false;
    setup.options.enable_scale_out = true;
    // There is `/tokenizer_info`.
    setup.options.dev_mode = true;
    start(setup)
}

/// A rendered request without the id that was made for it.
fn without_id(body: &str) -> String {
    let (before, after) = body.split_once("\"request_id\":\"cmpl-").expect("an id");
    format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
}

#[test]
fn answers_as_a_vllm_without_a_tokenizer() {
    let server = server();
    let known = |name: &str| {
        let mut found = DIFFERENT.iter();
        let found = found.find(|(start, ..)| format!("{name} ").starts_with(start));
        found.map(|(_, status, _)| *status)
    };
    let same = |name: &str, case: &Value, ours: &Reply| {
        if name != "POST /v1/completions/render tokens" {
            return compare(name, case, ours);
        }
        assert_eq!(without_id(&ours.body), without_id(case["reply"].as_str().unwrap()));
        Ok(())
    };
    let count = replay_each(&server, RECORDED, known, same);
    server.wait_until_idle();
    assert_eq!(count, 81);
}

#[test]
fn what_needs_text_says_so() {
    let server = server();
    let message = r#"{"model":"tiny","messages":[{"role":"user","content":"hi"}],"max_tokens":3}"#;
    let chat = r#"{"messages":[{"role":"user","content":"hi"}],"stream":true}"#;
    let generated = r#"{"generate_response":{"request_id":"a","choices":[{"index":0,
        "token_ids":[5]}]}}"#;
    for (path, body) in [
        ("/v1/chat/completions", chat),
        ("/v1/messages", message),
        ("/v1/messages/count_tokens", message),
        ("/v1/messages/render", message),
        ("/v1/chat/completions/derender", generated),
    ] {
        let reply = server.post(path, body);
        assert_eq!(reply.status, 400, "{path}: {reply:?}");
        assert_eq!(reply.json()["error"]["message"], MISSING, "{path}");
    }
    let echo = r#"{"prompt":[5],"max_tokens":1,"echo":true,"logprobs":1,"return_token_ids":true}"#;
    let reply = server.post("/v1/completions", echo).json();
    assert_eq!(reply["error"]["param"], "skip_tokenizer_init");
}

#[test]
fn a_token_beyond_the_vocabulary_ends_nothing_but_its_request() {
    let server = server();
    for path in ["/v1/completions", "/inference/v1/generate"] {
        let body = match path {
            "/v1/completions" => r#"{"prompt":[5,2048],"max_tokens":1}"#,
            _ => r#"{"token_ids":[5,2048],"sampling_params":{"max_tokens":1}}"#,
        };
        let message = "Token id 2048 is out of vocabulary";
        server.post(path, body).assert_error(400, "BadRequestError", message);
    }
    assert_eq!(server.post("/v1/completions", r#"{"prompt":[2047],"max_tokens":1}"#).status, 200);
}
