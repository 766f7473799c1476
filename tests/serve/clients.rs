//! The subcommands beside `serve`, as real processes: those that talk to a server, and those that
//! run the engine without one.

use super::support::{Server, start};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const MODEL: &str = "models/qwen3-tiny";

fn glassbox(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_glassbox"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("OPENAI_API_KEY")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary is built");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// What it printed, when it ended well.
fn said(args: &[&str], input: &str) -> String {
    let output = glassbox(args, input);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

fn api(server: &Server) -> String {
    format!("http://{}/v1", server.address)
}

#[test]
fn a_person_chats_and_completes() {
    let server = start(&["--api-key", "secret", "--served-model-name", "tiny"]);
    let url = api(&server);
    let base = ["chat", "--url", &url, "--api-key", "secret"];
    let with = |more: &[&'static str]| [&base[..], more].concat();
    let quick = said(&with(&["-q", "What is the capital of France? /no_think"]), "");
    assert!(quick.starts_with("Using model: tiny\n"), "{quick}");
    assert!(quick.ends_with('\n') && quick.len() > 30, "{quick}");
    let talk = said(&with(&["--stats", "--system-prompt", "Be kind."]), "Hello\nWho are you?\n");
    let start = "Using model: tiny\nPlease enter a message for the chat model:\n> ";
    assert!(talk.starts_with(start), "{talk}");
    assert_eq!(talk.matches("\nTTFT: ").count(), 2, "{talk}");
    assert_eq!(talk.matches("> ").count() - talk.matches("think> ").count(), 3, "{talk}");
    let args = ["complete", "--url", &url, "--api-key", "secret", "--max-tokens", "4"];
    let quick = said(&[&args[..], &["-q", "1, 2, 3,", "--stats"]].concat(), "");
    assert!(quick.contains(" tokens/s (4 tokens in "), "{quick}");
    let refused = glassbox(&["chat", "--url", &url, "-q", "x"], "");
    assert_eq!(refused.status.code(), Some(1));
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(error, "glassbox: error: Error code: 401 - {\"error\":\"Unauthorized\"}\n");
}

fn number(table: &str, name: &str) -> f64 {
    let line = table.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {table}"));
    line[name.len()..].trim().parse().expect("a number")
}

#[test]
fn a_server_is_measured() {
    let server = start(&[]);
    let base = format!("http://{}", server.address);
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().to_str().expect("text");
    let table = said(
        &[
            "bench",
            "serve",
            "--base-url",
            &base,
            "--num-prompts",
            "12",
            "--random-input-len",
            "24",
            "--random-output-len",
            "8",
            "--request-rate",
            "200",
            "--max-concurrency",
            "4",
            "--num-warmups",
            "2",
            "--ready-check-timeout-sec",
            "5",
            "--percentile-metrics",
            "ttft,tpot,itl,e2el,client_queue_time",
            "--metric-percentiles",
            "50,99.9",
            "--goodput",
            "e2el:60000",
            "--probe-request-rate",
            "5",
            "--save-result",
            "--save-detailed",
            "--result-dir",
            folder,
            "--result-filename",
            "r.json",
            "--metadata",
            "build=test",
            "--temperature",
            "0",
        ],
        "",
    );
    assert!(table.contains("============ Serving Benchmark Result ============\n"), "{table}");
    assert_eq!(number(&table, "Successful requests:"), 12.0);
    assert_eq!(number(&table, "Failed requests:"), 0.0);
    assert_eq!(number(&table, "Total generated tokens:"), 96.0);
    assert!((number(&table, "Total input tokens:") - 288.0).abs() <= 24.0, "{table}");
    assert!(number(&table, "Peak concurrent requests:") >= 4.0);
    let good = number(&table, "Request goodput (req/s):");
    assert_eq!(good, number(&table, "Request throughput (req/s):"));
    for metric in ["TTFT", "TPOT", "ITL", "E2EL", "Client Queue Time"] {
        let low = number(&table, &format!("Median {metric} (ms):"));
        assert!(number(&table, &format!("P99.9 {metric} (ms):")) >= low, "{table}");
    }
    let saved = std::fs::read_to_string(Path::new(folder).join("r.json")).expect("the result");
    let saved: Value = serde_json::from_str(&saved).expect("JSON");
    assert_eq!((&saved["completed"], &saved["build"]), (&12.into(), &"test".into()));
    assert_eq!(saved["output_lens"].as_array().map(Vec::len), Some(12));
    assert_eq!(saved["itls"][0].as_array().map(Vec::len), Some(7));
    // What the server counted is what was sent: 12, 2 warm-ups, 1 check, and the probes.
    let probes = saved["probe_completed"].as_f64().unwrap_or(0.0);
    let counted = server.metric("vllm:generation_tokens_total");
    assert_eq!(counted, 15.0 * 8.0 + probes);
}

#[test]
fn a_custom_file_is_sent_as_chats() {
    let server = start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("prompts.jsonl");
    std::fs::write(&path, "{\"prompt\": \"Hello\"}\n{\"prompt\": \"Who are you?\"}\n").expect("");
    let (host, port) = server.address.split_once(':').expect("an address");
    let table = said(
        &[
            "bench",
            "serve",
            "--host",
            host,
            "--port",
            port,
            "--backend",
            "openai-chat",
            "--endpoint",
            "/v1/chat/completions",
            "--dataset-name",
            "custom",
            "--dataset-path",
            path.to_str().expect("text"),
            "--custom-output-len",
            "5",
            "--num-prompts",
            "6",
            "--ignore-eos",
            "--skip-chat-template",
        ],
        "",
    );
    assert_eq!(number(&table, "Successful requests:"), 6.0);
    assert_eq!(number(&table, "Total generated tokens:"), 30.0);
    assert!(table.contains("Traffic request rate: inf\n"), "{table}");
}

#[test]
fn the_engine_is_measured_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let engine = ["--model", MODEL, "--kv-cache-memory-bytes", "64M", "--log-level", "ERROR"];
    let json = path("latency.json");
    let latency = ["bench", "latency", "--input-len", "16", "--output-len", "4", "--batch-size"];
    let more = ["2", "--num-iters-warmup", "1", "--num-iters", "3", "--output-json", &json];
    let said_latency = said(&[&latency[..], &more, &engine].concat(), "");
    assert!(said_latency.starts_with("Warming up...\nAvg latency: "), "{said_latency}");
    assert!(said_latency.contains("\n99% percentile latency: "), "{said_latency}");
    assert!(said_latency.contains("\nRoofline: "), "{said_latency}");
    let result: Value =
        serde_json::from_str(&std::fs::read_to_string(&json).expect("a file")).expect("JSON");
    assert_eq!(result["latencies"].as_array().map(Vec::len), Some(3));
    assert!(result["roofline_percent"].as_f64().is_some_and(|share| share > 0.0));

    let json = path("throughput.json");
    let args = ["bench", "throughput", "--input-len", "16", "--output-len", "4", "--n", "2"];
    let more = ["--num-prompts", "5", "--num-warmups", "1", "--output-json", &json];
    let said_throughput = said(&[&args[..], &more, &engine].concat(), "");
    assert!(said_throughput.starts_with("Throughput: "), "{said_throughput}");
    assert!(said_throughput.contains("\nTotal num output tokens:  40\n"), "{said_throughput}");
    let result: Value =
        serde_json::from_str(&std::fs::read_to_string(&json).expect("a file")).expect("JSON");
    assert_eq!(result["num_requests"], 5);
}

#[test]
fn a_batch_is_answered_line_by_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("in.jsonl"), folder.path().join("out.jsonl"));
    let line = |id: &str, url: &str, body: &str| {
        format!(
            "{{\"custom_id\":\"{id}\",\"method\":\"POST\",\"url\":\"{url}\",\"body\":{body}}}\n"
        )
    };
    let ask = "{\"messages\":[{\"role\":\"user\",\"content\":\"Who are you?\"}],\"temperature\":0,\
               \"chat_template_kwargs\":{\"enable_thinking\":false}}";
    let lines = line("chat", "/v1/chat/completions", ask)
        + "\n"
        + &line("text", "/v1/completions", "{\"prompt\":\"1, 2,\",\"max_tokens\":3}")
        + &line("bad", "/v1/completions", "{\"prompt\":\"x\",\"temperature\":3}")
        + &line("stream", "/v1/completions", "{\"prompt\":\"x\",\"stream\":true}")
        + &line("vectors", "/v1/embeddings", "{\"input\":\"x\"}")
        + &line("lost", "/v1/nowhere", "{}");
    std::fs::write(&input, lines).expect("written");
    let (from, to) = (input.to_str().expect("text"), output.to_str().expect("text"));
    let engine = ["--kv-cache-memory-bytes", "64M", "--log-level", "ERROR"];
    said(&[&["run-batch", "-i", from, "-o", to, "--model", MODEL][..], &engine].concat(), "");
    let written = std::fs::read_to_string(&output).expect("replies");
    let replies: Vec<Value> =
        written.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let ids: Vec<&str> = replies.iter().filter_map(|reply| reply["custom_id"].as_str()).collect();
    assert_eq!(ids, ["chat", "text", "bad", "stream", "vectors", "lost"]);
    let status = |at: usize| replies[at]["response"]["status_code"].as_u64();
    assert_eq!((0..6).map(status).collect::<Vec<_>>(), [200, 200, 400, 400, 400, 400].map(Some));
    let said = &replies[0]["response"]["body"]["choices"][0]["message"]["content"];
    assert!(said.as_str().is_some_and(|text| text.starts_with("I am qwen3-tiny")), "{said}");
    assert_eq!(replies[1]["response"]["body"]["usage"]["completion_tokens"], 3);
    assert_eq!(replies[2]["error"]["error"]["param"], "temperature");
    assert_eq!(replies[3]["error"], "Request must not be sent in stream mode");
    assert_eq!(replies[4]["error"], "Model does not support endpoint: /v1/embeddings");
    assert!(replies[0]["id"].as_str().is_some_and(|id| id.len() == "vllm-".len() + 16));
    // A line that is none ends the run before anything is loaded.
    std::fs::write(&input, "{\"custom_id\": 1}").expect("written");
    let failed = glassbox(&["run-batch", "-i", from, "-o", to, "--model", MODEL], "");
    assert_eq!(failed.status.code(), Some(1));
    let error = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(error.ends_with("line 1: custom_id is 1, a text is wanted\n"), "{error}");
}

#[test]
fn the_environment_is_shown_without_secrets() {
    let output = Command::new(env!("CARGO_BIN_EXE_glassbox"))
        .arg("collect-env")
        .env("VLLM_API_KEY", "hidden")
        .env("VLLM_PORT", "7")
        .output()
        .expect("the binary is built");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("\nVLLM_API_KEY=***\nVLLM_PORT=7\n"), "{text}");
    assert!(text.contains("Answers as vLLM              : 0.32.0\n"), "{text}");
}

#[test]
fn a_health_check_ends_with_0_while_the_server_is_well() {
    let server = start(&["--api-key", "secret"]);
    let url = format!("http://{}/", server.address);
    assert_eq!(said(&["healthcheck", "--url", &url], ""), "");
    drop(server);
    let failed = glassbox(&["healthcheck", "--url", &url], "");
    assert_eq!(failed.status.code(), Some(1));
    let error = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(error.starts_with("glassbox: error: not healthy: "), "{error}");
}
