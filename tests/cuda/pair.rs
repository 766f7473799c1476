//! Prompts that one server (P) computes and another (D) continues, where one or both have their KV
//! on the device, over the `tcp` transport: the real program, beside one that does it alone.

use crate::gpu::on_gpu;
use crate::serve::emulate;
use crate::serve::support::{Reply, Server, command, spawn, wait_until};
use serde_json::{Value, json};

const COMPLETIONS: &str = "/v1/completions";
const COMMON: [&str; 9] = [
    "--max-model-len",
    "256",
    "--max-num-batched-tokens",
    "32",
    "--max-num-seqs",
    "4",
    "--block-size",
    "16",
    "--no-enable-prefix-caching",
];
const CUDA: [&str; 2] = ["--device", "cuda"];
const CPU: [&str; 2] = ["--device", "cpu"];

/// What a server of a test is.
#[derive(Clone, Copy)]
struct Made<'a> {
    flags: &'a [&'a str],
    /// What the emulated device does.
    words: &'a str,
    policy: &'a str,
}

const PLAIN: Made = Made { flags: &CUDA, words: "", policy: "fail" };
const ON_CPU: Made = Made { flags: &CPU, ..PLAIN };

fn whole_command(made: Made, more: &[&str]) -> std::process::Command {
    let mut command = command(&[&COMMON, made.flags, more].concat());
    emulate(&mut command, made.words);
    command.env("VLLM_SERVER_DEV_MODE", "1");
    command.env("VLLM_NIXL_SIDE_CHANNEL_HOST", "127.0.0.1");
    command.env("VLLM_NIXL_SIDE_CHANNEL_PORT", "0");
    command
}

fn side(role: &str, made: Made, extra: &Value) -> Server {
    let mut config = json!({"kv_connector": "NixlConnector", "kv_role": role,
        "kv_load_failure_policy": made.policy,
        "kv_connector_extra_config": {"transport": "tcp", "kv_lease_duration": 600.0}});
    for (name, value) in extra.as_object().expect("an object") {
        config["kv_connector_extra_config"][name] = value.clone();
    }
    spawn(whole_command(made, &["--kv-transfer-config", &config.to_string()]))
}

fn prefiller(made: Made, extra: &Value) -> Server {
    side("kv_producer", made, extra)
}

fn decoder(made: Made, extra: &Value) -> Server {
    side("kv_consumer", made, extra)
}

fn alone(made: Made) -> Server {
    spawn(whole_command(made, &[]))
}

fn body(first: u32, len: u32) -> Value {
    json!({"prompt": (first..first + len).collect::<Vec<u32>>(), "max_tokens": 4,
        "temperature": 0, "ignore_eos": true, "logprobs": 2, "return_token_ids": true})
}

/// Both legs; what D says.
fn pass(p: &Server, d: &Server, body: &Value) -> Reply {
    let mut first = body.clone();
    first["max_tokens"] = 1.into();
    first["kv_transfer_params"] = json!({"do_remote_decode": true});
    let reply = p.post(COMPLETIONS, &first);
    assert_eq!(reply.status, 200, "{}", reply.body);
    let mut second = body.clone();
    second["kv_transfer_params"] = reply.json()["kv_transfer_params"].clone();
    assert!(second["kv_transfer_params"].is_object(), "{}", reply.body);
    d.post(COMPLETIONS, &second)
}

fn choices(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()["choices"].clone()
}

fn reads(d: &Server) -> f64 {
    d.metric("vllm:nixl_xfer_time_seconds_count")
}

fn wait_until_free(servers: &[&Server]) {
    for server in servers {
        wait_until("blocks are free", || server.metric("vllm:kv_cache_usage_perc") == 0.0);
    }
}

/// Prompts of every length around those of blocks.
const LENS: [u32; 5] = [2, 16, 17, 33, 60];

#[test]
fn two_on_the_device_say_what_one_says() {
    let sums = json!({"block_checksums": true});
    let (p, d, one) = (prefiller(PLAIN, &sums), decoder(PLAIN, &sums), alone(PLAIN));
    for (len, first) in LENS.into_iter().zip((30..).step_by(70)) {
        let body = body(first, len);
        let right = choices(&one.post(COMPLETIONS, &body));
        assert_eq!(choices(&pass(&p, &d, &body)), right, "{len}");
    }
    assert_eq!(reads(&d), LENS.len() as f64);
    wait_until_free(&[&p, &d]);
}

/// The text alone: the digits of the log-probabilities depend on where the prompt was computed.
#[test]
fn one_on_the_device_and_one_not_say_what_one_says() {
    let sums = json!({"block_checksums": true});
    let one = alone(ON_CPU);
    for (p, d) in [(PLAIN, ON_CPU), (ON_CPU, PLAIN)] {
        let (p, d) = (prefiller(p, &sums), decoder(d, &sums));
        for question in ["What is the capital of France?", "Who are you?"] {
            let prompt = format!("<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n");
            let body = json!({"prompt": prompt, "max_tokens": 6, "temperature": 0});
            let text = |reply: &Reply| choices(reply)[0]["text"].clone();
            let right = text(&one.post(COMPLETIONS, &body));
            assert_eq!(text(&pass(&p, &d, &body)), right, "{question}");
        }
        assert_eq!(reads(&d), 2.0);
        wait_until_free(&[&p, &d]);
    }
}

/// One copy fails, on the side that `words` are for, and no other.
fn a_copy_fails(on_p: bool, words: &str) {
    let broken = Made { words, ..PLAIN };
    let right = choices(&alone(PLAIN).post(COMPLETIONS, &body(30, 40)));
    for policy in ["fail", "recompute"] {
        let (p, d) = match on_p {
            true => (broken, Made { policy, ..PLAIN }),
            false => (PLAIN, Made { policy, ..broken }),
        };
        let (p, d) = (prefiller(p, &json!({})), decoder(d, &json!({})));
        let reply = pass(&p, &d, &body(30, 40));
        match policy {
            "fail" => assert_eq!(reply.status, 500, "{}", reply.body),
            _ => assert_eq!(choices(&reply), right),
        }
        assert!(d.metric("vllm:nixl_num_failed_transfers_total") > 0.0);
        assert_eq!(reads(&d), 0.0);
        // P's lease was let go, D's blocks are free, and the next one is read.
        wait_until_free(&[&p, &d]);
        assert_eq!(choices(&pass(&p, &d, &body(30, 40))), right);
        assert_eq!(reads(&d), 1.0);
        wait_until_free(&[&p, &d]);
    }
}

#[test]
fn a_copy_that_fails_on_p_is_an_error_or_done_without() {
    if !on_gpu() {
        // The two steps of the prompt take three: the tokens of each, and a row of logits.
        a_copy_fails(true, "fail=cuMemcpyDtoHAsync:4:1");
    }
}

#[test]
fn a_copy_that_cannot_begin_on_d_is_an_error_or_done_without() {
    if !on_gpu() {
        // The weights and the steps have one stream each; the next is the first pull's.
        a_copy_fails(false, "fail=cuStreamCreate:3:2");
    }
}

#[test]
fn asleep_a_server_keeps_the_memory_that_peers_know() {
    let flags = [&CUDA[..], &["--enable-sleep-mode"]].concat();
    let made = Made { flags: &flags, ..PLAIN };
    let (p, d, one) = (prefiller(made, &json!({})), decoder(made, &json!({})), alone(PLAIN));
    let body = body(30, 40);
    let right = choices(&one.post(COMPLETIONS, &body));
    assert_eq!(choices(&pass(&p, &d, &body)), right);
    for level in [1, 2] {
        for server in [&p, &d] {
            let slept = server.post(&format!("/sleep?level={level}"), &json!({}));
            assert_eq!(slept.status, 200, "{}", slept.body);
            let woken = server.post("/wake_up", &json!({}));
            assert_eq!(woken.status, 200, "{}", woken.body);
        }
        // By the addresses of before.
        assert_eq!(choices(&pass(&p, &d, &body)), right, "level {level}");
    }
    assert_eq!(reads(&d), 3.0);
    wait_until_free(&[&p, &d]);
}

#[test]
fn blocks_of_a_cpus_layout_are_not_the_devices() {
    let config = json!({"kv_connector": "NixlConnector", "kv_role": "kv_both",
        "kv_connector_extra_config": {"transport": "tcp", "attn_backend_name": "CPU_ATTN",
            "cpu_attn_isa": "vec16"}});
    let config = config.to_string();
    let mut refused = whole_command(PLAIN, &["--kv-transfer-config", &config]);
    let output = refused.output().expect("the program runs");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("CPU_ATTN is how CPUs lay blocks out"), "{said}");
}
