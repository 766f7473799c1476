//! What becomes of leases when P ends or sleeps: a peer that is on its way still gets its blocks.

use super::{
    COMMON, COMPLETIONS, alone, choices, decoder, greedy, prefill, prefiller, put_over,
    tokens_from, usage, wait_until_free, with_params,
};
use crate::support::{Reply, Server, command, spawn, wait_until};
use serde_json::json;

const TEXT: &str = "The owl said to the mouse: wait for me, I am only as late as the moon.";

#[test]
fn a_server_that_is_told_to_end_waits_for_its_leases() {
    let p = prefiller(&["--shutdown-timeout", "60"], &json!({}));
    let d = decoder(&[], &json!({}));
    let body = greedy(TEXT, 8);
    let params = prefill(&p, COMPLETIONS, &body);
    wait_until("blocks are kept", || usage(&p) > 0.0);
    p.signal(libc::SIGTERM);
    let reply = d.post(COMPLETIONS, &with_params(&body, params));
    assert_eq!(choices(&reply), choices(&alone(&[]).post(COMPLETIONS, &body)));
    assert!(tokens_from(&d, "external_kv_transfer") > 0.0);
    // Nothing is left to wait for.
    let (status, log) = p.wait();
    assert!(status.success(), "{log}");
}

#[test]
fn a_server_that_is_told_to_sleep_waits_for_its_leases() {
    let p = sleeper();
    let d = decoder(&[], &json!({}));
    let body = greedy(TEXT, 8);
    let params = prefill(&p, COMPLETIONS, &body);
    wait_until("blocks are kept", || usage(&p) > 0.0);
    let sleeps = p.send("POST", "/sleep?level=1&mode=wait", "");
    // A request that comes is held from now on.
    let held = p.send("POST", COMPLETIONS, &body.to_string());
    wait_until("it is pausing", || p.metric("vllm:num_requests_waiting") >= 1.0);
    // Had the memory been given back, D would read zeros.
    let reply = d.post(COMPLETIONS, &with_params(&body, params));
    assert!(tokens_from(&d, "external_kv_transfer") > 0.0);
    assert_eq!(Reply::read(sleeps).status, 200);
    assert_eq!(p.post("/wake_up", &json!({})).status, 200);
    let right = choices(&Reply::read(held));
    assert_eq!(choices(&reply), right);
    let params = prefill(&p, COMPLETIONS, &body);
    assert_eq!(choices(&d.post(COMPLETIONS, &with_params(&body, params))), right);
    wait_until_free(&p, "D has it");
}

/// A P that operators may put to sleep.
fn sleeper() -> Server {
    let mut config = json!({"kv_connector": "NixlConnector", "kv_role": "kv_producer"});
    put_over(&mut config, &json!({"kv_connector_extra_config": {"transport": "tcp"}}));
    let config = config.to_string();
    let flags = ["--enable-sleep-mode", "--kv-transfer-config", &config];
    let mut command = command(&[&COMMON[..], &flags].concat());
    command.env("VLLM_NIXL_SIDE_CHANNEL_HOST", "127.0.0.1");
    command.env("VLLM_NIXL_SIDE_CHANNEL_PORT", "0").env("VLLM_SERVER_DEV_MODE", "1");
    spawn(command)
}
