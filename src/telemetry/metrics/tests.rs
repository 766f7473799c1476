use super::*;
use crate::config::KvMemory;
use crate::types::HashAlgo;

fn metrics(model_name: &str) -> Metrics {
    let cache = CacheSettings {
        block_size: 64,
        user_block_size: true,
        memory: KvMemory::Default,
        memory_utilization: 0.92,
        memory_bytes: None,
        num_blocks_override: None,
        prefix_caching: true,
        hash_algo: HashAlgo::Sha256Cbor,
        hash_seed: None,
    };
    let plan = KvPlan { num_blocks: 292, block_size: 64, block_bytes: 1, max_model_len: 4096 };
    let mut metrics = Metrics::new(model_name, &cache, &plan);
    metrics.created = 1_732_376_148.125;
    metrics
}

#[test]
fn numbers_are_those_of_the_python_client() {
    for (value, text) in [
        (0.0, "0.0"),
        (1.0, "1.0"),
        (0.5, "0.5"),
        (123456.0, "123456.0"),
        (1234567.0, "1.234567e+06"),
        (1000000.0, "1e+06"),
        (1732376148.125, "1.732376148125e+09"),
        (12345678901.0, "1.2345678901e+10"),
        (-1234567.0, "-1234567.0"),
        (f64::INFINITY, "+Inf"),
        (f64::NAN, "NaN"),
    ] {
        assert_eq!(number(value), text);
    }
}

#[test]
fn counters_have_a_total_and_a_creation_time() {
    let now = Snapshot { generation_tokens: 34, ..Snapshot::default() };
    let text = metrics("m").render(&now);
    let wanted = "# HELP vllm:generation_tokens_total Tokens generated.\n\
                  # TYPE vllm:generation_tokens_total counter\n\
                  vllm:generation_tokens_total{engine=\"0\",model_name=\"m\"} 34.0\n\
                  # HELP vllm:generation_tokens_created Tokens generated.\n\
                  # TYPE vllm:generation_tokens_created gauge\n\
                  vllm:generation_tokens_created{engine=\"0\",model_name=\"m\"} \
                  1.732376148125e+09\n";
    assert!(text.contains(wanted), "{text}");
}

#[test]
fn everything_is_there_before_the_first_request() {
    let text = metrics("a\"b\\c").render(&Snapshot::default());
    let labels = "engine=\"0\",model_name=\"a\\\"b\\\\c\"";
    for series in [
        format!("vllm:num_requests_running{{{labels}}} 0.0\n"),
        format!("vllm:num_requests_waiting{{{labels}}} 0.0\n"),
        format!("vllm:num_requests_waiting_by_reason{{{labels},reason=\"deferred\"}} 0.0\n"),
        format!("vllm:kv_cache_usage_perc{{{labels}}} 0.0\n"),
        format!("vllm:prompt_tokens_by_source_total{{{labels},source=\"local_compute\"}} 0.0\n"),
    ] {
        assert!(text.contains(&series), "{series}{text}");
    }
    for reason in ["stop", "length", "abort", "error", "repetition"] {
        let label = format!("{{engine=\"0\",finished_reason=\"{reason}\",model_name=");
        assert!(text.contains(&format!("vllm:request_success_total{label}")), "{reason}");
    }
    let rejected = "vllm:admission_rejections_total{model_name=\"a\\\"b\\\\c\",\
                    reason=\"max_num_queued_reqs\"} 0.0\n";
    assert!(text.contains(rejected), "{text}");
}

#[test]
fn cache_info_says_what_routers_read() {
    let text = metrics("m").render(&Snapshot::default());
    let line = text.lines().find(|line| line.starts_with("vllm:cache_config_info{"));
    let line = line.expect("the series");
    let start = "vllm:cache_config_info{_block_size_resolved=\"True\",block_size=\"64\",\
                 cache_dtype=\"auto\",";
    assert!(line.starts_with(start), "{line}");
    let middle = ",kv_cache_max_concurrency=\"4.5625\",";
    for part in [middle, "kv_cache_size_tokens=\"18688\"", "num_gpu_blocks=\"292\"", "} 1.0"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!line.contains("model_name"));
}

#[test]
fn every_sample_belongs_to_the_family_above_it_and_labels_are_sorted() {
    let now = Snapshot { waiting: 3, deferred: 1, kv_cache_usage: 0.25, ..Snapshot::default() };
    let text = metrics("m").render(&now);
    let mut family = String::new();
    let mut seen = std::collections::BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().expect("a name").to_owned();
            assert!(seen.insert(family.clone()), "{family} stands twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert_eq!(rest.split(' ').next(), Some(family.as_str()));
        } else {
            let (name, rest) = line.split_once('{').expect("labels");
            assert_eq!(name, family);
            let names: Vec<_> = rest.split("\",").map(|pair| pair.split('=').next()).collect();
            assert!(names.is_sorted(), "{line}");
        }
    }
    assert!(text.contains("reason=\"capacity\"} 2.0\n"), "{text}");
    assert!(text.contains("reason=\"deferred\"} 1.0\n"), "{text}");
}
