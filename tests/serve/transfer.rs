//! Prompts that one server (P) computes and another (D) continues, over the `tcp` transport: the
//! real program, twice, and a third time alone, whose answers are the right ones.

mod apis;
mod ends;
mod failures;
mod leases;
mod same;

use super::support::{Reply, Server, command, spawn, wait_until};
use serde_json::{Value, json};

const COMPLETIONS: &str = "/v1/completions";
/// What all servers of these tests are.
const COMMON: [&str; 6] = [
    "--served-model-name",
    "tiny",
    "--max-model-len",
    "1024",
    "--enable-prompt-tokens-details",
    "--enable-scale-out",
];
/// Seconds; longer than any test waits: blocks that are freed were let go, and no lease ran out.
const NEVER: f64 = 600.0;

/// A server that takes part. `config` is put over what `--kv-transfer-config` says here.
fn side(role: &str, flags: &[&str], config: &Value) -> Server {
    let mut whole = json!({
        "kv_connector": "NixlConnector",
        "kv_role": role,
        "kv_connector_extra_config": {"transport": "tcp", "kv_lease_duration": NEVER},
    });
    put_over(&mut whole, config);
    let whole = whole.to_string();
    let mut command = command(&[&COMMON, flags, &["--kv-transfer-config", &whole]].concat());
    command.env("VLLM_NIXL_SIDE_CHANNEL_HOST", "127.0.0.1");
    command.env("VLLM_NIXL_SIDE_CHANNEL_PORT", "0");
    spawn(command)
}

fn put_over(below: &mut Value, above: &Value) {
    match above {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| put_over(&mut below[name.as_str()], value));
        }
        other => *below = other.clone(),
    }
}

fn prefiller(flags: &[&str], config: &Value) -> Server {
    side("kv_producer", flags, config)
}

fn decoder(flags: &[&str], config: &Value) -> Server {
    side("kv_consumer", flags, config)
}

/// The same server without transfer.
fn alone(flags: &[&str]) -> Server {
    spawn(command(&[&COMMON, flags].concat()))
}

/// A request as the sidecar sends it to P.
fn first_leg(path: &str, body: &Value) -> Value {
    let mut body = body.clone();
    body["stream"] = false.into();
    match path {
        "/v1/responses" => body["max_output_tokens"] = 1.into(),
        "/inference/v1/generate" => body["sampling_params"]["max_tokens"] = 1.into(),
        _ => body["max_tokens"] = 1.into(),
    }
    body["kv_transfer_params"] = json!({
        "do_remote_decode": true, "do_remote_prefill": false, "remote_engine_id": null,
        "remote_block_ids": null, "remote_host": null, "remote_port": null,
    });
    body
}

/// What P says of the blocks that it keeps.
fn kept(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.body);
    let params = reply.json()["kv_transfer_params"].clone();
    assert!(params.is_object(), "{}", reply.body);
    params
}

fn prefill(prefiller: &Server, path: &str, body: &Value) -> Value {
    kept(&prefiller.post(path, &first_leg(path, body)))
}

fn with_params(body: &Value, params: Value) -> Value {
    let mut body = body.clone();
    body["kv_transfer_params"] = params;
    body
}

fn greedy(prompt: &str, max_tokens: u32) -> Value {
    json!({"prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "ignore_eos": true,
        "logprobs": 2, "return_token_ids": true})
}

fn choices(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()["choices"].clone()
}

/// Prompt tokens whose KV came from `source`.
fn tokens_from(server: &Server, source: &str) -> f64 {
    let page = server.get("/metrics").body;
    let is_it = |line: &&str| {
        line.starts_with("vllm:prompt_tokens_by_source_total{")
            && line.contains(&format!("source=\"{source}\""))
    };
    let value = page.lines().find(is_it).and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.unwrap_or_else(|| panic!("no {source} in {page}"))
}

fn usage(server: &Server) -> f64 {
    server.metric("vllm:kv_cache_usage_perc")
}

fn wait_until_free(server: &Server, why: &str) {
    wait_until(&format!("blocks are free: {why}"), || usage(server) == 0.0);
}
