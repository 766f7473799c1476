//! How long P keeps blocks: until D has them or does not want them, or until the lease ends.

use super::super::support::{Reply, Server, wait_until};
use super::{
    COMPLETIONS, alone, choices, decoder, first_leg, greedy, prefill, prefiller, tokens_from,
    usage, wait_until_free, with_params,
};
use serde_json::{Value, json};

const TEXT: &str = "The bear said to the fox: who keeps what nobody wants has no room for guests.";

fn lease(seconds: f64) -> Value {
    json!({"kv_connector_extra_config": {"kv_lease_duration": seconds}})
}

fn expired(server: &Server) -> f64 {
    server.metric("vllm:nixl_num_kv_expired_reqs_total")
}

/// The reply may come before the gauge.
fn wait_until_kept(server: &Server) {
    wait_until("blocks are kept", || usage(server) > 0.0);
}

/// A request that keeps D's only place busy.
fn occupy(server: &Server) -> std::net::TcpStream {
    let body = json!({"prompt": "1, 2, 3,", "max_tokens": 1000, "ignore_eos": true,
        "stream": true});
    let stream = server.send("POST", COMPLETIONS, &body.to_string());
    wait_until("it runs", || server.metric("vllm:num_requests_running") >= 1.0);
    stream
}

#[test]
fn a_first_leg_may_ask_for_more_than_it_may_have() {
    let server = prefiller(&["--enable-scale-out"], &json!({}));
    let mut body = greedy(TEXT, 20);
    body["min_tokens"] = 10.into();
    prefill(&server, COMPLETIONS, &body);
    body["max_tokens"] = 1.into();
    let refused = server.post(COMPLETIONS, &body);
    assert_eq!(refused.status, 400, "{}", refused.body);
    let mut tokens = json!({"token_ids": [300, 301, 302],
        "sampling_params": {"max_tokens": 1, "min_tokens": 10}});
    let refused = server.post("/inference/v1/generate", &tokens);
    assert_eq!(refused.status, 400, "{}", refused.body);
    tokens["kv_transfer_params"] = json!({"do_remote_decode": true});
    let taken = server.post("/inference/v1/generate", &tokens);
    assert_eq!(taken.status, 200, "{}", taken.body);
}

/// Bodies that D refuses, each at another door.
fn refused() -> Vec<(Value, u16)> {
    vec![
        (json!({"model": "another"}), 404),
        (json!({"max_tokens": 0}), 400),
        (json!({"max_tokens": 5000}), 400),
        (json!({"temperature": -1}), 400),
        (json!({"logprobs": 1000}), 400),
        (json!({"prompt": "x ".repeat(3000)}), 400),
        (json!({"prompt": []}), 400),
        (json!({"stream": true, "use_beam_search": true}), 400),
        (json!({"structured_outputs": {"regex": "("}}), 400),
        (json!({"max_tokens": "many"}), 400),
        (json!({"prompt": true}), 400),
    ]
}

#[test]
fn what_d_refuses_is_free_at_once() {
    let (p, d) = (prefiller(&[], &json!({})), decoder(&[], &json!({})));
    let body = greedy(TEXT, 8);
    for (change, status) in refused() {
        let params = prefill(&p, COMPLETIONS, &body);
        wait_until_kept(&p);
        let mut second = with_params(&body, params);
        super::put_over(&mut second, &change);
        let reply = d.post(COMPLETIONS, &second);
        assert_eq!(reply.status, status, "{change}: {}", reply.body);
        wait_until_free(&p, &change.to_string());
    }
    assert_eq!(expired(&p), 0.0);
}

#[test]
fn what_nobody_waits_for_any_more_is_free_at_once() {
    let (p, d) = (prefiller(&[], &json!({})), decoder(&["--max-num-seqs", "1"], &json!({})));
    let busy = occupy(&d);
    let body = greedy(TEXT, 8);
    for streams in [false, true] {
        let mut second = with_params(&body, prefill(&p, COMPLETIONS, &body));
        second["stream"] = streams.into();
        let gone = d.send("POST", COMPLETIONS, &second.to_string());
        wait_until("it waits", || d.metric("vllm:num_requests_waiting") >= 1.0);
        wait_until_kept(&p);
        drop(gone);
        wait_until_free(&p, "the client has gone");
    }
    drop(busy);
    wait_until_free(&d, "all clients have gone");
    assert_eq!(expired(&p), 0.0);
}

#[test]
fn what_d_is_told_to_end_is_free_at_once() {
    let (p, d) = (prefiller(&[], &json!({})), decoder(&["--max-num-seqs", "1"], &json!({})));
    let _busy = occupy(&d);
    let body = greedy(TEXT, 8);
    let second = with_params(&body, prefill(&p, COMPLETIONS, &body));
    let waits = d.send("POST", COMPLETIONS, &second.to_string());
    wait_until("it waits", || d.metric("vllm:num_requests_waiting") >= 1.0);
    d.signal(libc::SIGTERM);
    let reply = Reply::read(waits).json();
    assert_eq!(reply["choices"][0]["finish_reason"], "abort");
    wait_until_free(&p, "D has ended");
    assert_eq!(expired(&p), 0.0);
}

#[test]
fn a_lease_that_nobody_takes_runs_out() {
    let (p, d) = (prefiller(&[], &lease(0.3)), decoder(&[], &lease(0.3)));
    let body = greedy(TEXT, 8);
    let params = prefill(&p, COMPLETIONS, &body);
    wait_until("the lease ran out", || expired(&p) == 1.0);
    wait_until_free(&p, "the lease ran out");
    let reply = d.post(COMPLETIONS, &with_params(&body, params));
    assert_eq!(reply.status, 500, "{}", reply.body);
    wait_until_free(&d, "it failed");
}

#[test]
fn a_lease_lasts_while_d_has_no_room() {
    // Slow enough to be busy for longer than a lease, whose heartbeats may be late by a second.
    let flags = ["--device", "sim", "--glassbox-sim-step-ms", "20"];
    let p = prefiller(&flags, &lease(6.0));
    let d = decoder(&[&flags[..], &["--max-num-seqs", "1"]].concat(), &lease(6.0));
    let body = greedy(TEXT, 8);
    let busy = occupy(&d);
    let second = with_params(&body, prefill(&p, COMPLETIONS, &body));
    let waits = d.send("POST", COMPLETIONS, &second.to_string());
    wait_until("it waits", || d.metric("vllm:num_requests_waiting") >= 1.0);
    // One that nobody takes tells that more than a lease's time has passed.
    prefill(&p, COMPLETIONS, &greedy("a clock", 1));
    wait_until("a lease ran out", || expired(&p) == 1.0);
    assert!(usage(&p) > 0.0, "D keeps its own alive");
    drop(busy);
    let right = alone(&flags[..2]).post(COMPLETIONS, &body);
    assert_eq!(choices(&Reply::read(waits)), choices(&right));
    assert!(tokens_from(&d, "external_kv_transfer") > 0.0);
    wait_until_free(&p, "D has it");
    assert_eq!(expired(&p), 1.0);
}

#[test]
fn a_first_leg_whose_client_left_keeps_nothing() {
    let p = prefiller(&["--max-num-seqs", "1"], &json!({}));
    let busy = occupy(&p);
    let body = first_leg(COMPLETIONS, &greedy(TEXT, 1));
    let gone = p.send("POST", COMPLETIONS, &body.to_string());
    wait_until("it waits", || p.metric("vllm:num_requests_waiting") >= 1.0);
    drop(gone);
    wait_until("it is gone", || p.metric("vllm:num_requests_waiting") == 0.0);
    drop(busy);
    wait_until_free(&p, "nobody is there to hear of blocks");
}
