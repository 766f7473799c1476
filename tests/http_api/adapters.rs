//! Loading adapters into a server that has none: what the real vLLM 0.32 answered
//! (`tests/data/http/requests_adapters.py`), to the byte.

use super::golden::{compare, replay_each};
use super::support::{Setup, start};

const RECORDED: &str = include_str!("../data/http/adapters.jsonl");

fn setup(updates_adapters: bool) -> Setup {
    let mut setup = Setup::default();
    setup.options.served_model_names = vec!["tiny".to_owned()];
    setup.options.updates_adapters = updates_adapters;
    setup
}

#[test]
fn adapters_are_refused_as_by_a_vllm_without_them() {
    let server = start(setup(true));
    assert!(replay_each(&server, RECORDED, |_| None, compare) > 80);
    assert!(server.get("/openapi.json").body.contains("/v1/load_lora_adapter"));
}

#[test]
fn without_the_variable_there_are_no_such_paths() {
    let server = start(setup(false));
    for path in ["/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/adapters", "/adapters/a"] {
        for method in ["POST", "DELETE"] {
            let reply = server.send(method, path, &[], Some(b"{}"));
            assert_eq!((reply.status, &*reply.body), (404, r#"{"detail":"Not Found"}"#), "{path}");
        }
    }
    assert!(!server.get("/openapi.json").body.contains("lora"));
}
