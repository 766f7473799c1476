//! What operators and developers ask: beside vLLM's recorded replies, and by what it does.

use super::golden::{compare, replay_each};
use super::support::{PATIENCE, Reply, Server, Setup, start};
use serde_json::{Value, json};
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const RECORDED: &str = include_str!("../data/http/operations.jsonl");

/// Deliberate differences, with the status that Glassbox answers.
const DIFFERENT: &[(&str, u16, &str)] = &[("POST /scale_elastic_ep []", 400, "vLLM crashes (500)")];

const ENDLESS: &str = r#"{"prompt":"a","max_tokens":4000,"ignore_eos":true}"#;
const SHORT: &str = r#"{"prompt":"a","max_tokens":3,"ignore_eos":true}"#;

fn developer(step_time: Duration) -> Server {
    let mut setup = Setup { step_time, ..Setup::default() };
    setup.options.dev_mode = true;
    setup.options.enable_prompt_tokens_details = false;
    start(setup)
}

fn post(server: &Server, path: &str) -> Value {
    let reply = server.send("POST", path, &[], None);
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    reply.json()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

/// Sends a request from a thread of its own, and waits until the engine has it.
fn begin(server: &std::sync::Arc<Server>, path: &'static str, body: &'static str) -> Job {
    let status = server.engine.shared_status();
    let known = || status.gauges.running.load(Relaxed) + status.gauges.waiting.load(Relaxed);
    let before = known();
    let other = server.clone();
    let job = std::thread::spawn(move || {
        let headers = [("content-type", "application/json"), ("x-request-id", "abc")];
        other.send("POST", path, &headers, Some(body.as_bytes()))
    });
    wait_until("it is taken", || known() > before);
    job
}

type Job = JoinHandle<Reply>;

fn finish_reason(job: Job) -> String {
    let reply = job.join().expect("an answer").json();
    reply["choices"][0]["finish_reason"].as_str().expect("a reason").to_owned()
}

fn steps(server: &Server) -> u64 {
    server.engine.status().counters.steps.load(Relaxed)
}

#[test]
fn answers_operators_as_vllm_does() {
    let server = developer(Duration::ZERO);
    let known = |name: &str| {
        DIFFERENT.iter().find(|(known, ..)| name == *known).map(|(_, status, _)| *status)
    };
    assert!(replay_each(&server, RECORDED, known, compare) > 150);
}

#[test]
fn only_developers_find_these() {
    let server = start(Setup::default());
    for path in ["/pause", "/sleep", "/server_info", "/collective_rpc", "/abort_requests"] {
        assert_eq!(server.send("POST", path, &[], None).status, 404, "{path}");
    }
    assert_eq!(server.get("/tokenizer_info").status, 404);
}

#[test]
fn a_pause_aborts_and_holds() {
    let server = std::sync::Arc::new(developer(Duration::from_millis(2)));
    let running = begin(&server, "/v1/completions", ENDLESS);
    post(&server, "/pause");
    assert_eq!(finish_reason(running), "abort");
    wait_until("it is gone", || server.engine.status().gauges.running.load(Relaxed) == 0);
    let held = begin(&server, "/v1/completions", SHORT);
    let before = steps(&server);
    assert_eq!(server.get("/is_paused").json(), json!({"is_paused": true}));
    assert_eq!(server.get("/health").status, 200);
    assert_eq!(steps(&server), before);
    post(&server, "/resume");
    assert_eq!(finish_reason(held), "length");
    server.wait_until_idle();
}

#[test]
fn a_pause_that_keeps_stands_still() {
    let server = std::sync::Arc::new(developer(Duration::from_millis(1)));
    let body = r#"{"prompt":"a","max_tokens":300,"ignore_eos":true}"#;
    let running = begin(&server, "/v1/completions", body);
    wait_until("it runs", || steps(&server) > 3);
    post(&server, "/pause?mode=keep");
    let before = steps(&server);
    assert_eq!(post(&server, "/reset_prefix_cache"), json!({"success": true}));
    assert_eq!(steps(&server), before);
    post(&server, "/resume");
    assert_eq!(finish_reason(running), "length");
}

#[test]
fn a_pause_that_waits_lets_them_end() {
    let server = std::sync::Arc::new(developer(Duration::from_millis(1)));
    let body = r#"{"prompt":"a","max_tokens":50,"ignore_eos":true}"#;
    let running = begin(&server, "/v1/completions", body);
    post(&server, "/pause?mode=wait");
    assert_eq!(server.engine.status().gauges.running.load(Relaxed), 0);
    assert_eq!(finish_reason(running), "length");
    // A client that leaves is forgotten while it is held.
    let held = begin(&server, "/v1/completions", SHORT);
    post(&server, "/pause?mode=abort");
    assert_eq!(finish_reason(held), "abort");
    post(&server, "/resume");
    server.post("/v1/completions", SHORT).json();
}

#[test]
fn aborts_by_vllms_ids() {
    let server = std::sync::Arc::new(developer(Duration::from_millis(2)));
    let abort = |body: &str| {
        let reply = server.send("POST", "/abort_requests", &[], Some(body.as_bytes()));
        reply.json()["aborted"].as_u64().expect("a count")
    };
    let completion = begin(&server, "/v1/completions", ENDLESS);
    let chat =
        r#"{"messages":[{"role":"user","content":"a"}],"max_tokens":4000,"ignore_eos":true}"#;
    let chat = begin(&server, "/v1/chat/completions", chat);
    assert_eq!(abort(r#"{"request_ids":["abc","cmpl-abc"]}"#), 2);
    assert_eq!(server.engine.in_flight(), 2, "no request has these ids");
    assert_eq!(abort(r#"{"request_ids":["cmpl-abc-0"]}"#), 1);
    assert_eq!(finish_reason(completion), "abort");
    assert_eq!(abort(r#"{"request_ids":["chatcmpl-abc"]}"#), 1);
    assert_eq!(finish_reason(chat), "abort");
    let four = r#"{"prompt":["a","b"],"n":2,"temperature":1,"max_tokens":1900,"ignore_eos":true}"#;
    let four = begin(&server, "/v1/completions", four);
    wait_until("all run", || server.engine.in_flight() == 4);
    assert_eq!(abort("{}"), 6, "four generations and two parents");
    assert_eq!(finish_reason(four), "abort");
}

#[test]
fn sleeps_and_wakes_part_by_part() {
    let server = std::sync::Arc::new(developer(Duration::ZERO));
    let states = |paused: bool, sleeping: bool| {
        assert_eq!(server.get("/is_paused").json(), json!({"is_paused": paused}));
        assert_eq!(server.get("/is_sleeping").json(), json!({"is_sleeping": sleeping}));
    };
    states(false, false);
    assert_eq!(post(&server, "/sleep"), json!({"status": "sleeping", "level": 1}));
    states(true, true);
    let held = begin(&server, "/v1/completions", SHORT);
    let woken = |tags: &str, status: &str| {
        let reply = post(&server, &format!("/wake_up?tags={tags}"));
        assert_eq!(reply, json!({"status": status, "tags": [tags]}));
    };
    woken("weights", "sleeping");
    woken("nothing", "sleeping");
    woken("scheduling", "sleeping");
    assert_eq!(server.engine.in_flight(), 1);
    woken("kv_cache", "awake");
    states(false, false);
    assert_eq!(finish_reason(held), "length");
    assert_eq!(post(&server, "/sleep?level=2")["level"], 2);
    // Letting requests in is not waking up: nothing can be computed yet.
    post(&server, "/resume");
    states(false, true);
    let held = begin(&server, "/v1/completions", SHORT);
    let before = steps(&server);
    assert_eq!(post(&server, "/wake_up"), json!({"status": "awake", "tags": null}));
    assert_eq!(finish_reason(held), "length");
    assert!(steps(&server) > before);
    let page = server.get("/metrics").body;
    for line in [
        "vllm:sleep_mode_operation_duration_seconds_count{operation=\"sleep\"} 2.0",
        "vllm:sleep_mode_operation_duration_seconds_count{operation=\"wake\"} 5.0",
        "vllm:sleep_mode_operations_in_flight{operation=\"sleep\"} 0.0",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
}

#[test]
fn the_kv_cache_alone_is_released_only_in_a_pause() {
    let server = developer(Duration::ZERO);
    let release = || server.send("POST", "/release_kv_cache_memory", &[], None);
    let refused = "Call to release_kv_cache_memory method failed: release_kv_cache_memory() \
                   requires a completed pause first";
    release().assert_error(500, "InternalServerError", refused);
    post(&server, "/pause");
    let refused = "Call to release_kv_cache_memory method failed: Worker failed with error \
                   'Selective discard is not supported on CPU.', please check the stack trace \
                   above for the root cause";
    release().assert_error(500, "InternalServerError", refused);
}

#[test]
fn tells_about_itself() {
    let server = developer(Duration::ZERO);
    let text = server.get("/server_info").json();
    assert!(text["vllm_config"].is_string() && text["vllm_env"].is_object());
    let json = server.get("/server_info?config_format=json").json();
    assert!(json["vllm_config"].is_object() && json["system_env"]["os"].is_string());
}
