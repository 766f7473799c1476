//! Peers that die, come back as another or say what is not so: an error or the right text, soon,
//! and nothing kept.

use super::super::support::{Reply, Server, wait_until};
use super::{
    COMPLETIONS, alone, choices, decoder, greedy, prefill, prefiller, tokens_from, wait_until_free,
    with_params,
};
use serde_json::{Value, json};
use std::net::TcpListener;

const TEXT: &str = "Far away in the mountains an old owl told the young ones of the winter in \
    which the river stood still, and of the spring that came all the same.";
const ERROR: &str = concat!(
    r#"{"error":{"message":"Internal server error","type":"InternalServerError","#,
    r#""param":null,"code":500}}"#
);
/// More blocks for the same text, and no prefix on D that would make a pull needless.
const FLAGS: [&str; 3] = ["--block-size", "16", "--no-enable-prefix-caching"];

fn policy(policy: &str) -> Value {
    json!({"kv_load_failure_policy": policy})
}

fn assert_failed(reply: &Reply, what: &str) {
    assert_eq!((reply.status, &*reply.body), (500, ERROR), "{what}");
}

#[test]
fn a_prefiller_that_was_killed_fails_or_is_done_without() {
    let fails = decoder(&FLAGS, &policy("fail"));
    let recomputes = decoder(&FLAGS, &policy("recompute"));
    let body = greedy(TEXT, 8);
    let right = choices(&alone(&FLAGS).post(COMPLETIONS, &body));
    // Once D does not know P, and once it does.
    for knows in [false, true] {
        let p = prefiller(&FLAGS, &json!({}));
        if knows {
            for d in [&fails, &recomputes] {
                let params = prefill(&p, COMPLETIONS, &body);
                assert_eq!(choices(&d.post(COMPLETIONS, &with_params(&body, params))), right);
            }
        }
        let params = [(); 3].map(|()| prefill(&p, COMPLETIONS, &body));
        p.signal(libc::SIGKILL);
        p.wait();
        let [first, second, third] = params.map(|params| with_params(&body, params));
        assert_failed(&fails.post(COMPLETIONS, &first), "P is dead");
        let mut stream = second;
        stream["stream"] = true.into();
        let events = fails.post(COMPLETIONS, &stream).events();
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(events[0].to_string(), ERROR);
        let failed = recomputes.metric("vllm:nixl_num_failed_transfers_total");
        assert_eq!(choices(&recomputes.post(COMPLETIONS, &third)), right);
        assert!(recomputes.metric("vllm:nixl_num_failed_transfers_total") > failed);
        wait_until_free(&fails, "P is dead");
        wait_until_free(&recomputes, "P is dead");
    }
}

#[test]
fn a_prefiller_comes_back_as_another() {
    let d = decoder(&FLAGS, &json!({}));
    let body = greedy(TEXT, 8);
    let right = choices(&alone(&FLAGS).post(COMPLETIONS, &body));
    // With a name of its own each time, and with one that stays.
    for name in [json!({}), json!({}), json!({"engine_id": "p"}), json!({"engine_id": "p"})] {
        let p = prefiller(&FLAGS, &name);
        let before = tokens_from(&d, "external_kv_transfer");
        let pull = || {
            let params = prefill(&p, COMPLETIONS, &body);
            d.post(COMPLETIONS, &with_params(&body, params))
        };
        // One that has a name that was another's is known to be another when it is wanted.
        let first = pull();
        if first.status == 200 {
            assert_eq!(choices(&first), right);
        } else {
            assert_failed(&first, "D knew another by its name");
            assert!(!name["engine_id"].is_null(), "a new name is a new peer");
        }
        assert_eq!(choices(&pull()), right);
        assert!(tokens_from(&d, "external_kv_transfer") > before);
        wait_until_free(&p, "D has all");
        assert_eq!(d.get("/health").status, 200);
    }
}

/// Ways in which what P said may reach D.
fn lies() -> Vec<(&'static str, Value)> {
    vec![
        ("a request that P does not know", json!({"remote_request_id": "cmpl-nobody-0"})),
        ("blocks that P does not have", json!({"remote_block_ids": [vec![1_000_000; 4]]})),
        ("more blocks than there can be", json!({"remote_block_ids": [vec![u32::MAX; 4]]})),
        ("too few blocks", json!({"remote_block_ids": [[0]]})),
        ("too many blocks", json!({"remote_block_ids": [vec![0; 500]]})),
        ("blocks that are not kept", json!({"remote_block_ids": [[900, 901, 902, 903]]})),
        ("fewer tokens than the prompt has", json!({"remote_num_tokens": 3})),
        ("another engine", json!({"remote_engine_id": "nobody"})),
        ("a port where nobody is", json!({"remote_port": 1})),
        ("a host that is not", json!({"remote_host": "host.invalid"})),
        ("a server that is no side channel", json!({"remote_port": 0})),
        ("a lease that has run out", json!({"remote_blocks_expiry_time": 0.001})),
        ("wrong checksums", json!({"glassbox_block_checksums": ["1", "2", "3", "4"]})),
    ]
}

fn blocks_of(params: &Value) -> usize {
    params["remote_block_ids"][0].as_array().expect("blocks").len()
}

/// A prompt of four blocks.
fn four_blocks() -> Value {
    json!({"prompt": (30..90).collect::<Vec<u32>>(), "max_tokens": 8, "temperature": 0,
        "logprobs": 2, "ignore_eos": true, "return_token_ids": true})
}

fn tell_lies(d: &Server, p: &Server, check: impl Fn(&Reply, &str)) {
    let body = four_blocks();
    for (what, lie) in lies() {
        let mut params = prefill(p, COMPLETIONS, &body);
        assert_eq!(blocks_of(&params), 4);
        super::put_over(&mut params, &lie);
        check(&d.post(COMPLETIONS, &with_params(&body, params)), what);
        assert_eq!(d.get("/health").status, 200, "{what}");
        wait_until_free(d, what);
    }
    // The blocks in another order: only checksums can tell.
    let mut params = prefill(p, COMPLETIONS, &body);
    params["remote_block_ids"][0].as_array_mut().expect("blocks").reverse();
    check(&d.post(COMPLETIONS, &with_params(&body, params)), "another order");
    // What P was never told of runs out by itself; all else was let go.
    wait_until_free(p, "the last lease has ended");
    assert_eq!(p.metric("vllm:nixl_num_notifications_after_expiry_total"), 0.0);
    let params = prefill(p, COMPLETIONS, &body);
    let before = tokens_from(d, "external_kv_transfer");
    choices(&d.post(COMPLETIONS, &with_params(&body, params)));
    assert!(tokens_from(d, "external_kv_transfer") > before, "the truth still works");
}

fn lying(load_failure: &str) -> (Server, Server) {
    let extra = json!({"kv_connector_extra_config":
        {"block_checksums": true, "kv_lease_duration": 8.0}});
    let mut config = policy(load_failure);
    super::put_over(&mut config, &extra);
    (prefiller(&FLAGS, &extra), decoder(&FLAGS, &config))
}

#[test]
fn lies_fail() {
    let (p, d) = lying("fail");
    let right = choices(&alone(&FLAGS).post(COMPLETIONS, &four_blocks()));
    tell_lies(&d, &p, |reply, what| {
        // What cannot be a pull at all is computed.
        match what {
            "a server that is no side channel" if reply.status == 200 => {
                assert_eq!(choices(reply), right);
            }
            _ => assert_failed(reply, what),
        }
    });
}

#[test]
fn lies_are_done_without() {
    let (p, d) = lying("recompute");
    let right = choices(&alone(&FLAGS).post(COMPLETIONS, &four_blocks()));
    tell_lies(&d, &p, |reply, what| assert_eq!(choices(reply), right, "{what}"));
}

#[test]
fn a_peer_that_never_answers_does_not_hold_a_request_for_ever() {
    let d = decoder(&FLAGS, &policy("fail"));
    let p = prefiller(&FLAGS, &json!({}));
    // It is listened at, and nobody ever takes a connection.
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let body = greedy(TEXT, 8);
    let mut params = prefill(&p, COMPLETIONS, &body);
    params["remote_port"] = deaf.local_addr().expect("bound").port().into();
    let waits = d.send("POST", COMPLETIONS, &with_params(&body, params).to_string());
    // Others are served meanwhile.
    wait_until("it waits", || d.metric("vllm:num_requests_waiting") >= 1.0);
    choices(&d.post(COMPLETIONS, &body));
    assert_failed(&Reply::read(waits), "nobody answers");
    wait_until_free(&d, "it failed");
}
