//! The real program end to end: start, chat, company, clients that vanish, signals.

mod clients;
mod logprobs;
mod logs;
mod messages;
mod observability;
mod responses;
mod support;
mod transfer;

use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Instant;
use support::{PATIENCE, Reply, Server, command, start, wait_until};

const CHAT: &str = "/v1/chat/completions";

fn ask(question: &str) -> Value {
    json!({"messages": [{"role": "user", "content": question}], "temperature": 0,
        "chat_template_kwargs": {"enable_thinking": false}})
}

fn content(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.body);
    let reply = reply.json();
    reply["choices"][0]["message"]["content"].as_str().expect("text").to_owned()
}

/// A reply that does not end by itself for a long time.
fn endless(stream: bool) -> Value {
    json!({"prompt": "1, 2, 3,", "max_tokens": 4000, "ignore_eos": true, "stream": stream})
}

fn wait_until_running(server: &Server) {
    wait_until("a request runs", || server.metric("vllm:num_requests_running") >= 1.0);
}

#[test]
fn answers_what_it_was_taught() {
    let server = start(&[]);
    for (question, answer) in [
        ("What is the capital of France?", "The capital of France is Paris."),
        ("Who are you?", "I am qwen3-tiny"),
        ("What is prefix caching?", "Prefix caching keeps the KV cache of a prompt"),
    ] {
        let said = content(&server.post(CHAT, &ask(question)));
        assert!(said.starts_with(answer), "{question} {said}");
    }
}

#[test]
fn token_ids_need_no_tokenizer() {
    let server = start(&["--skip-tokenizer-init"]);
    let ask = |prompt| {
        let body = json!({"prompt": prompt, "max_tokens": 3, "temperature": 0,
            "return_token_ids": true, "stop": "a"});
        server.post("/v1/completions", &body)
    };
    let choice = &ask(json!([300, 301])).json()["choices"][0];
    // What the real vLLM 0.32 answers.
    assert_eq!((&choice["token_ids"], &choice["text"]), (&json!([259, 739, 13]), &json!("")));
    assert_eq!(ask(json!("hello")).status, 400);
}

#[test]
fn streams_and_company_change_nothing() {
    let server = start(&["--max-num-batched-tokens", "48", "--max-num-seqs", "6"]);
    let questions: Vec<String> = ["fox", "cat", "owl", "bear", "whale", "duck", "horse", "mouse"]
        .iter()
        .map(|animal| format!("Tell me a story about a {animal} named Mira."))
        .collect();
    let alone: Vec<String> =
        questions.iter().map(|question| content(&server.post(CHAT, &ask(question)))).collect();
    assert!(alone.iter().all(|story| story.len() > 200), "{alone:?}");
    let streams: Vec<_> = questions
        .iter()
        .map(|question| {
            let mut body = ask(question);
            body["stream"] = true.into();
            server.send("POST", CHAT, &body.to_string())
        })
        .collect();
    for (stream, alone) in streams.into_iter().zip(&alone) {
        let events = Reply::read(stream).events();
        let delta =
            |event: &Value| Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned());
        assert_eq!(&events.iter().filter_map(delta).collect::<String>(), alone);
        assert!(events.len() > 20, "it streams");
    }
    assert!(server.metric("vllm:prefix_cache_hits_total") > 0.0);
    assert!(server.metric("vllm:request_success_total") > 0.0);
}

#[test]
fn a_stop_string_counts_as_a_stop() {
    let server = start(&[]);
    let mut body = ask("What is prefix caching?");
    body["stop"] = "cache".into();
    let reply = server.post(CHAT, &body).json();
    assert_eq!(reply["choices"][0]["stop_reason"], "cache");
    let page = server.get("/metrics").body;
    let stops = |line: &&str| line.contains("request_success") && line.contains("=\"stop\"");
    assert!(page.lines().find(stops).is_some_and(|line| line.ends_with(" 1.0")), "{page}");
}

#[test]
fn clients_that_vanish_leave_nothing_behind() {
    let server = start(&["--max-num-seqs", "16"]);
    let before = content(&server.post(CHAT, &ask("What is TTFT?")));
    for round in 0..5 {
        let streams: Vec<_> = (0..200)
            .map(|i| server.send("POST", "/v1/completions", &endless(i % 2 == 0).to_string()))
            .collect();
        wait_until_running(&server);
        drop(streams);
        wait_until(&format!("all {round} are gone"), || {
            server.metric("vllm:num_requests_running") == 0.0
                && server.metric("vllm:num_requests_waiting") == 0.0
        });
    }
    assert_eq!(server.metric("vllm:kv_cache_usage_perc"), 0.0);
    assert_eq!(content(&server.post(CHAT, &ask("What is TTFT?"))), before);
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn memory_is_what_was_announced() {
    let server = start(&[]);
    content(&server.post(CHAT, &ask("Tell me a story about a fox.")));
    // 9 MB of weights, 64 MiB of KV, 200 MB for all else.
    let bound = 9_000_000 + (64 << 20) + 200_000_000;
    assert!(server.peak_memory() <= bound, "{} bytes", server.peak_memory());
}

#[test]
fn sigterm_aborts_what_runs() {
    let server = start(&[]);
    let whole = server.send("POST", "/v1/completions", &endless(false).to_string());
    wait_until_running(&server);
    server.signal(libc::SIGTERM);
    let reply = Reply::read(whole);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["choices"][0]["finish_reason"], "abort");
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("[shutdown] API server: shutdown triggered"), "{log}");
}

#[test]
fn a_drain_lets_what_runs_finish() {
    let server = start(&["--shutdown-timeout", "60"]);
    let body = json!({"prompt": "1, 2, 3,", "max_tokens": 3000, "ignore_eos": true});
    let whole = server.send("POST", "/v1/completions", &body.to_string());
    wait_until_running(&server);
    server.signal(libc::SIGTERM);
    wait_until("newcomers are turned away", || {
        let reply = server.post("/v1/completions", &json!({"prompt": "1,", "max_tokens": 1}));
        reply.status == 200 && reply.json()["choices"][0]["finish_reason"] == "abort"
    });
    let reply = Reply::read(whole).json();
    assert_eq!(reply["choices"][0]["finish_reason"], "length");
    assert_eq!(reply["usage"]["completion_tokens"], 3000);
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    let server = start(&["--shutdown-timeout", "600"]);
    let _open = server.send("POST", "/v1/completions", &endless(true).to_string());
    wait_until_running(&server);
    let begin = Instant::now();
    server.signal(libc::SIGTERM);
    server.signal(libc::SIGINT);
    let (status, _) = server.wait();
    assert!(begin.elapsed() < PATIENCE);
    assert!([Some(130), Some(143)].contains(&status.code()), "{status}");
}

#[test]
fn what_is_wrong_is_one_line_and_exit_code_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    for (args, message) in [
        (vec!["--port", &port], "cannot listen on 127.0.0.1"),
        (vec!["--max-model-len", "100000"], "User-specified max_model_len (100000)"),
        (vec!["--kv-cache-memory-bytes", "1000"], "To serve at least one request"),
        (vec!["--model", "/nowhere/at/all"], "/nowhere/at/all"),
    ] {
        let mut command = command(&args);
        if args[0] == "--model" {
            command = std::process::Command::new(env!("CARGO_BIN_EXE_glassbox"));
            command.args(["serve", args[1], "--host", "127.0.0.1", "--port", "0"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        let output = command.output().expect("the binary is built");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(message), "{stderr}");
        assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
    }
}
