//! What is measured on demand, beside what the real vLLM 0.32 measured of the same requests
//! (`tests/data/recorded/observability.py`): the cost of steps, the lives of KV blocks, a line for
//! each step.

use super::support::start;
use serde_json::Value;

const RECORDED: &str = include_str!("../data/recorded/observability-0.32.json");
/// vLLM keeps one block of 24 for itself.
const FLAGS: [&str; 12] = [
    "--served-model-name",
    "tiny",
    "--max-model-len",
    "512",
    "--block-size",
    "32",
    "--num-gpu-blocks-override",
    "23",
    "--enable-mfu-metrics",
    "--kv-cache-metrics",
    "--kv-cache-metrics-sample=1",
    "--enable-logging-iteration-details",
];

/// Bytes of weights that a step reads. vLLM counts them for the empty step too in which it forgets
/// a finished request; Glassbox has no such step.
const WEIGHTS: f64 = 8_912_896.0;

fn recorded() -> Value {
    serde_json::from_str(RECORDED).expect("JSON")
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().filter_map(Value::as_str).collect()
}

/// A line about a step without its time, from where the message begins.
fn step(line: &str) -> Option<String> {
    let line = &line[line.find("Engine 000: Iteration(")?..];
    let (before, after) = line.split_once("time: ")?;
    let (time, after) = after.split_once(" ms")?;
    time.parse::<f64>().ok()?;
    Some(format!("{before}time: <time> ms{after}"))
}

#[test]
fn costs_lives_of_blocks_and_steps_are_those_of_vllm() {
    let recorded = recorded();
    let server = start(&FLAGS);
    for (i, case) in recorded["requests"].as_array().expect("a list").iter().enumerate() {
        let reply = server.post("/v1/completions", &case["request"]);
        assert_eq!(reply.status, 200, "{}", reply.body);
        for (name, value) in case["measured"].as_object().expect("an object") {
            let mut value = value.as_f64().expect("a number");
            if name.contains("read_bytes") {
                value -= (i + 1) as f64 * WEIGHTS;
            }
            assert_eq!(server.metric(name), value, "{name} after request {i}");
        }
    }
    let page = server.get("/metrics").body;
    let families = page.lines().filter(|line| line.contains("kv_block_"));
    let families = families.filter(|line| !line.starts_with("# HELP"));
    let shape = |line: &str| match line.starts_with('#') {
        true => line.to_owned(),
        false => line.rsplit_once(' ').expect("a value").0.to_owned(),
    };
    let families: Vec<String> = families.map(shape).collect();
    assert_eq!(families, texts(&recorded["kv_block_families"]));
    server.signal(libc::SIGTERM);
    let (_, log) = server.wait();
    let steps: Vec<String> = log.lines().filter_map(step).collect();
    assert_eq!(steps, texts(&recorded["iterations"]));
}

#[test]
fn nothing_is_measured_without_statistics_or_unasked() {
    let request = &recorded()["requests"][0]["request"];
    let with = |flags: &[&'static str]| [&FLAGS[..8], flags].concat();
    for (flags, has_engine) in
        [(with(&[]), true), ([&FLAGS[..], &["--disable-log-stats"]].concat(), false)]
    {
        let server = start(&flags);
        assert_eq!(server.post("/v1/completions", request).status, 200);
        let page = server.get("/metrics").body;
        assert!(!page.contains("kv_block_"), "{flags:?}");
        assert_eq!(page.contains("vllm:estimated_flops_per_gpu_total"), has_engine, "{flags:?}");
        if has_engine {
            assert_eq!(server.metric("vllm:estimated_flops_per_gpu_total"), 0.0);
        }
        server.signal(libc::SIGTERM);
        assert_eq!(server.wait().1.lines().filter_map(step).count(), 0, "{flags:?}");
    }
}
