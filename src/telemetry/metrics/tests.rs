use super::*;
use crate::config::KvMemory;
use crate::types::{HashAlgo, Histogram, SpanRef};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

mod checker;

const PATHS: [&str; 6] = [
    "/health",
    "/v1/models",
    "/v1/chat/completions",
    "/v1/completions",
    "/tokenize",
    "/detokenize",
];

fn cache() -> CacheSettings {
    CacheSettings {
        block_size: 64,
        user_block_size: true,
        memory: KvMemory::Default,
        memory_utilization: 0.92,
        memory_bytes: None,
        num_blocks_override: None,
        prefix_caching: true,
        hash_algo: HashAlgo::Sha256Cbor,
        hash_seed: None,
    }
}

fn metrics(model_name: &str, shows_engine: bool) -> Metrics {
    Metrics::new(&MetricsConfig {
        model_name,
        cache: &cache(),
        plan: &KvPlan { num_blocks: 292, block_size: 64, block_bytes: 1, max_model_len: 4096 },
        settings: &MetricsSettings::default(),
        shows_engine,
        counts_tool_calls: false,
        paths: &PATHS,
    })
}

/// Renders what `change` makes of an idle engine.
fn page(metrics: &Metrics, format: Format, change: impl Fn(&mut Snapshot)) -> String {
    let tokens = Histogram::of_counts(
        &MetricsSettings::default().buckets(crate::config::BucketFamily::IterationTokens, 4096),
    );
    let time = Histogram::of_seconds(&[1.0]);
    let steps = Steps { tokens: &tokens, time: &time, device_time: &time };
    let mut now = Snapshot::idle(steps);
    change(&mut now);
    metrics.render(&now, &Health::default(), format)
}

/// Requests that ended: path, index of the method, status.
fn serve(metrics: &Metrics, requests: &[(&str, usize, u16)]) {
    for (path, method, status) in requests {
        let handler = metrics.http.handler(path, true).expect("a path that is counted");
        metrics.http.count(&HttpExchange {
            handler,
            method: *method,
            status: *status,
            request_bytes: 100,
            response_bytes: 7,
            took: Duration::from_millis(200),
        });
    }
}

const GET: usize = 0;
const POST: usize = 1;

/// A page of vLLM 0.32 (qwen3-tiny, `--max-model-len 4096 --block-size 64`) after requests, without
/// help texts, values, the labels' values of `cache_config_info`, and Python's own families.
const RECORDED: &str = include_str!("../../../tests/data/recorded/metrics-vllm-0.32.txt");

#[test]
fn families_and_series_are_those_of_vllm_in_its_order() {
    let metrics = metrics("qwen3-tiny", true);
    serve(
        &metrics,
        &[
            ("/v1/completions", POST, 200),
            ("/v1/chat/completions", POST, 200),
            ("/v1/chat/completions", POST, 400),
            ("/v1/completions", POST, 404),
            ("/nowhere", POST, 404),
            ("/elsewhere", GET, 404),
            ("/v1/models", GET, 200),
            ("/tokenize", POST, 200),
            ("/detokenize", POST, 200),
            ("/v1/completions", POST, 200),
        ],
    );
    let page = page(&metrics, Format::Plain, |_| {});
    let mut shape = String::new();
    let foreign = |line: &&str| !line.starts_with("# HELP ") && !line.contains("glassbox_");
    for line in page.lines().filter(foreign) {
        let is_comment = line.starts_with('#');
        let series = if is_comment { line } else { line.rsplit_once(' ').expect("a value").0 };
        match series.strip_prefix("vllm:cache_config_info{") {
            Some(labels) => {
                let pairs = labels.trim_end_matches('}').split("\",");
                let names: Vec<_> = pairs.filter_map(|pair| pair.split('=').next()).collect();
                shape += &format!("vllm:cache_config_info{{{}}}", names.join(","));
            }
            None => shape += series,
        }
        shape.push('\n');
    }
    for (i, (ours, theirs)) in shape.lines().zip(RECORDED.lines()).enumerate() {
        assert_eq!(ours, theirs, "line {}", i + 1);
    }
    assert_eq!(shape.lines().count(), RECORDED.lines().count());
}

#[test]
fn both_formats_are_well_formed_and_have_the_same_samples() {
    let metrics = metrics("a\"b\\c\nd", true);
    metrics.ready_after(1.5);
    serve(&metrics, &[("/v1/models", GET, 200), ("/x", POST, 404), ("/x", GET, 307)]);
    let span = Some(SpanRef { trace_id: 1, span_id: 2 });
    metrics.requests.first_token(Duration::from_millis(30), span);
    metrics.requests.inter_token(Duration::from_millis(3), span);
    metrics.requests.finished(&FinishedRequest::default(), span);
    let plain = checker::check(&page(&metrics, Format::Plain, |_| {}), Format::Plain);
    let open = checker::check(&page(&metrics, Format::OpenMetrics, |_| {}), Format::OpenMetrics);
    assert_eq!(plain.samples, open.samples);
    assert_eq!(plain.exemplars, BTreeSet::new());
    let with_exemplars = ["time_to_first_token", "inter_token_latency", "e2e_request_latency"];
    let wanted = with_exemplars.map(|name| format!("vllm:{name}_seconds_bucket"));
    assert_eq!(open.exemplars, BTreeSet::from(wanted));
}

/// The value of a series, which must be there.
fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series}\n{page}")).parse().expect("a number")
}

fn engine(name: &str) -> String {
    format!("vllm:{name}{{engine=\"0\",model_name=\"m\"}}")
}

#[test]
fn gauges_and_counters_say_what_the_engine_says() {
    let page = page(&metrics("m", true), Format::Plain, |now| {
        (now.running, now.waiting, now.deferred) = (2, 3, 1);
        now.kv_cache_usage = 0.25;
        (now.prompt_tokens, now.prompt_tokens_cached) = (100, 40);
        (now.prefix_cache_queries, now.prefix_cache_hits) = (110, 50);
        (now.rejected_reqs, now.rejected_tokens) = (4, 5);
        now.finished.length = 9;
    });
    for (name, wanted) in [
        ("num_requests_running", 2.0),
        ("num_requests_waiting", 3.0),
        ("kv_cache_usage_perc", 0.25),
        ("prompt_tokens_total", 100.0),
        ("prompt_tokens_cached_total", 40.0),
        ("prefix_cache_hits_total", 50.0),
    ] {
        assert_eq!(value(&page, &engine(name)), wanted, "{name}");
    }
    let by = |name: &str, label: &str, text: &str| {
        value(&page, &format!("vllm:{name}{{engine=\"0\",model_name=\"m\",{label}=\"{text}\"}}"))
    };
    assert_eq!(by("num_requests_waiting_by_reason", "reason", "capacity"), 2.0);
    assert_eq!(by("num_requests_waiting_by_reason", "reason", "deferred"), 1.0);
    assert_eq!(by("prompt_tokens_by_source_total", "source", "local_compute"), 60.0);
    assert_eq!(by("prompt_tokens_by_source_total", "source", "local_cache_hit"), 40.0);
    assert_eq!(by("prompt_tokens_cached_by_source_total", "source", "device"), 50.0);
    assert_eq!(by("engine_sleep_state", "sleep_state", "awake"), 1.0);
    let ended = "{engine=\"0\",finished_reason=\"length\",model_name=\"m\"}";
    assert_eq!(value(&page, &format!("vllm:request_success_total{ended}")), 9.0);
    let refused = "{model_name=\"m\",reason=\"max_num_queued_reqs\"}";
    assert_eq!(value(&page, &format!("vllm:admission_rejections_total{refused}")), 4.0);
    let refused = "{model_name=\"m\",reason=\"max_num_queued_tokens\"}";
    assert_eq!(value(&page, &format!("vllm:admission_rejections_total{refused}")), 5.0);
}

#[test]
fn requests_are_measured_as_vllm_measures_them() {
    let metrics = metrics("m", true);
    let seconds = Duration::from_secs;
    let request = FinishedRequest {
        e2e: seconds(11),
        queue: seconds(1),
        prefill: seconds(2),
        decode: seconds(6),
        inference: seconds(8),
        prompt_tokens: 100,
        cached_tokens: 64,
        generation_tokens: 4,
        params_max_tokens: Some(16),
        preemptions: 1,
    };
    metrics.requests.finished(&request, None);
    // One token and no limit: no time per token, nothing about the limit.
    let short = FinishedRequest { generation_tokens: 1, params_max_tokens: None, ..request };
    metrics.requests.finished(&short, None);
    metrics.requests.finished(&FinishedRequest { params_max_tokens: Some(0), ..short }, None);
    metrics.requests.all_finished(4, 2);
    let page = page(&metrics, Format::Plain, |_| {});
    let seen = |name: &str, suffix| value(&page, &engine(&format!("{name}_{suffix}")));
    for (name, count, sum) in [
        ("e2e_request_latency_seconds", 3.0, 33.0),
        ("request_queue_time_seconds", 3.0, 3.0),
        ("request_prefill_time_seconds", 3.0, 6.0),
        ("request_decode_time_seconds", 3.0, 18.0),
        ("request_inference_time_seconds", 3.0, 24.0),
        ("request_time_per_output_token_seconds", 3.0, 2.0),
        ("request_prompt_tokens", 3.0, 300.0),
        ("request_prefill_kv_computed_tokens", 3.0, 108.0),
        ("request_generation_tokens", 3.0, 6.0),
        ("request_params_max_tokens", 1.0, 16.0),
        ("request_num_preemptions", 3.0, 3.0),
        ("request_max_num_generation_tokens", 1.0, 4.0),
        ("request_params_n", 1.0, 2.0),
    ] {
        assert_eq!((seen(name, "count"), seen(name, "sum")), (count, sum), "{name}");
    }
}

#[test]
fn http_requests_are_grouped_and_some_are_left_out() {
    let metrics = metrics("m", true);
    for path in ["/health", "/metrics", "/ping", "/x/version/y", "/load"] {
        for is_known in [true, false] {
            assert_eq!(metrics.http.handler(path, is_known), None, "{path}");
        }
    }
    let nowhere = metrics.http.handler("/nowhere", false);
    assert_eq!(metrics.http.handler("/v1/models", false), nowhere, "a wrong method");
    serve(&metrics, &[("/v1/models", GET, 200), ("/v1/models", GET, 204), ("/", GET, 302)]);
    let page = page(&metrics, Format::Plain, |_| {});
    let total = |handler, status| {
        let labels = format!("handler=\"{handler}\",method=\"GET\",status=\"{status}\"");
        value(&page, &format!("http_requests_total{{{labels}}}"))
    };
    assert_eq!((total("/v1/models", "2xx"), total("none", "3xx")), (2.0, 1.0));
    let models = "{handler=\"/v1/models\"}";
    assert_eq!(value(&page, &format!("http_request_size_bytes_sum{models}")), 200.0);
    assert_eq!(value(&page, &format!("http_response_size_bytes_count{models}")), 2.0);
    assert_eq!(value(&page, "http_request_duration_highr_seconds_bucket{le=\"0.1\"}"), 0.0);
    assert_eq!(value(&page, "http_request_duration_highr_seconds_bucket{le=\"0.25\"}"), 3.0);
}

#[test]
fn without_statistics_the_engine_is_not_shown() {
    let page = page(&metrics("m", false), Format::Plain, |_| {});
    assert!(!page.contains("vllm:") && !page.contains("glassbox_step"), "{page}");
    for name in ["process_open_fds ", "http_requests_total ", "glassbox_build_info{"] {
        assert!(page.contains(name), "{name}");
    }
}

#[test]
fn the_process_is_shown() {
    let page = page(&metrics("m", false), Format::Plain, |_| {});
    for (name, least) in [
        ("process_virtual_memory_bytes", 1e6),
        ("process_resident_memory_bytes", 1e5),
        ("process_start_time_seconds", 1.7e9),
        ("process_cpu_seconds_total", 0.0),
        ("process_open_fds", 3.0),
        ("process_max_fds", 3.0),
    ] {
        assert!(value(&page, name) >= least, "{name}");
    }
    assert!(value(&page, "process_start_time_seconds") <= unix_seconds());
}

/// Series that the Grafana dashboards and alerts of vLLM and llm-d query.
const QUERIED: [&str; 29] = [
    "vllm:e2e_request_latency_seconds_bucket",
    "vllm:e2e_request_latency_seconds_count",
    "vllm:e2e_request_latency_seconds_sum",
    "vllm:external_prefix_cache_hits_total",
    "vllm:external_prefix_cache_queries_total",
    "vllm:generation_tokens_total",
    "vllm:inter_token_latency_seconds_bucket",
    "vllm:inter_token_latency_seconds_count",
    "vllm:inter_token_latency_seconds_sum",
    "vllm:iteration_tokens_total_count",
    "vllm:kv_cache_usage_perc",
    "vllm:num_preemptions_total",
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:num_requests_waiting_by_reason",
    "vllm:prefix_cache_hits_total",
    "vllm:prefix_cache_queries_total",
    "vllm:prompt_tokens_cached_total",
    "vllm:prompt_tokens_total",
    "vllm:request_decode_time_seconds_sum",
    "vllm:request_generation_tokens_bucket",
    "vllm:request_max_num_generation_tokens_sum",
    "vllm:request_prefill_time_seconds_sum",
    "vllm:request_prompt_tokens_bucket",
    "vllm:request_queue_time_seconds_sum",
    "vllm:request_success_total",
    "vllm:time_to_first_token_seconds_bucket",
    "vllm:time_to_first_token_seconds_count",
    "vllm:time_to_first_token_seconds_sum",
];

/// Series that dashboards query and vLLM 0.32 does not have either: a slip of a name, one that
/// went with an old release, and those of a KV connector that offloads.
const ABSENT: [&str; 6] = [
    "vllm:num_preemptions",
    "vllm:time_per_output_token_seconds_bucket",
    "vllm:kv_offload_store_bytes_total",
    "vllm:kv_offload_load_bytes_total",
    "vllm:kv_offload_load_time_total",
    "vllm:kv_offload_allocation_failure_total",
];

#[test]
fn dashboards_find_what_they_query() {
    let page = page(&metrics("m", true), Format::Plain, |_| {});
    let names: BTreeSet<&str> =
        page.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    for name in QUERIED {
        assert!(names.contains(name), "{name}");
    }
    for name in ABSENT {
        assert!(!names.contains(name), "{name} exists now: move it to the others");
        assert!(!RECORDED.lines().any(|line| line.starts_with(&format!("{name}{{"))), "{name}");
    }
}

#[test]
fn cache_info_says_what_routers_read() {
    let page = page(&metrics("m", true), Format::Plain, |_| {});
    let line = page.lines().find(|line| line.starts_with("vllm:cache_config_info{"));
    let line = line.expect("the series");
    let start = "vllm:cache_config_info{_block_size_resolved=\"True\",block_size=\"64\",\
                 cache_dtype=\"auto\",";
    assert!(line.starts_with(start), "{line}");
    let middle = ",kv_cache_max_concurrency=\"4.5625\",";
    for part in [middle, "kv_cache_size_tokens=\"18688\"", "num_gpu_blocks=\"292\"", "} 1.0"] {
        assert!(line.contains(part), "{part}: {line}");
    }
}
