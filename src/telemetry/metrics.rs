//! `/metrics`: the engine's gauges and counters under vLLM's names, in the text that its Python
//! client writes.

use crate::config::memory::KvPlan;
use crate::config::{CacheSettings, repr_float};
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// The content type that goes with the text.
pub const CONTENT_TYPE: &str = "text/plain; version=1.0.0; charset=utf-8";

/// The engine and the frontend at one moment. Counters only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Snapshot {
    pub running: u64,
    /// Waiting requests, the deferred ones among them.
    pub waiting: u64,
    /// Those that wait for something else than room.
    pub deferred: u64,
    /// 0 to 1; cached blocks that nobody holds count as free.
    pub kv_cache_usage: f64,
    /// Prompt tokens looked up in the prefix cache, and found there.
    pub prefix_cache_queries: u64,
    pub prefix_cache_hits: u64,
    pub preemptions: u64,
    /// Tokens of prompts whose prefill is done, and those of them that were cached.
    pub prompt_tokens: u64,
    pub prompt_tokens_cached: u64,
    pub generation_tokens: u64,
    pub finished: Finished,
    /// Requests refused because of `--max-num-queued-reqs`.
    pub rejected_reqs: u64,
}

/// Generations that ended, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    pub stop: u64,
    pub length: u64,
    pub abort: u64,
    pub error: u64,
}

/// What is the same in every exposition of one server.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// The model's first served name, escaped.
    model_name: String,
    cache_info: Vec<(&'static str, String)>,
    /// Seconds since the epoch at which the counters began.
    created: f64,
}

impl Metrics {
    /// For a server that answers as `model_name` with this KV cache. Counters begin now.
    pub fn new(model_name: &str, cache: &CacheSettings, plan: &KvPlan) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            model_name: escape(model_name),
            cache_info: cache_info(cache, plan),
            created: since.map_or(0.0, |since| since.as_secs_f64()),
        }
    }

    /// The exposition for `now`.
    pub fn render(&self, now: &Snapshot) -> String {
        let mut page = Page { metrics: self, out: String::with_capacity(8 << 10) };
        page.gauges(now);
        page.counters(now);
        page.out
    }
}

/// The exposition in the making.
struct Page<'a> {
    metrics: &'a Metrics,
    out: String,
}

/// Label names and values, values escaped.
type Labels<'a> = [(&'a str, &'a str)];

impl Page<'_> {
    fn gauges(&mut self, now: &Snapshot) {
        let capacity = now.waiting.saturating_sub(now.deferred);
        self.gauge(
            "vllm:num_requests_running",
            "Requests that take part in steps.",
            now.running as f64,
        );
        self.gauge(
            "vllm:num_requests_waiting",
            "Requests that wait to be run.",
            now.waiting as f64,
        );
        let reasons = [("capacity", capacity as f64), ("deferred", now.deferred as f64)];
        let help = "Waiting requests by what they wait for: room in a step, or something else.";
        self.family("vllm:num_requests_waiting_by_reason", help, "gauge");
        for (reason, value) in reasons {
            self.engine_sample("vllm:num_requests_waiting_by_reason", &[("reason", reason)], value);
        }
        let help = "Share of KV blocks that requests hold, 0 to 1.";
        self.gauge("vllm:kv_cache_usage_perc", help, now.kv_cache_usage);
        let metrics = self.metrics;
        let info: Vec<_> =
            metrics.cache_info.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.family("vllm:cache_config_info", "The settings of the KV cache, as labels.", "gauge");
        self.sample("vllm:cache_config_info", &info, 1.0);
    }

    fn counters(&mut self, now: &Snapshot) {
        let plain = [
            (
                "vllm:prefix_cache_queries",
                "Prompt tokens looked up in the prefix cache.",
                now.prefix_cache_queries,
            ),
            (
                "vllm:prefix_cache_hits",
                "Prompt tokens found in the prefix cache.",
                now.prefix_cache_hits,
            ),
            ("vllm:num_preemptions", "Requests sent back to wait.", now.preemptions),
            ("vllm:prompt_tokens", "Tokens of prompts, cached ones too.", now.prompt_tokens),
        ];
        for (name, help, value) in plain {
            self.engine_counter(name, help, "", &[("", value)]);
        }
        let computed = now.prompt_tokens.saturating_sub(now.prompt_tokens_cached);
        let sources = [
            ("local_compute", computed),
            ("local_cache_hit", now.prompt_tokens_cached),
            ("external_kv_transfer", 0),
        ];
        let help = "Tokens of prompts by where their KV came from.";
        self.engine_counter("vllm:prompt_tokens_by_source", help, "source", &sources);
        let cached = [("", now.prompt_tokens_cached)];
        let help = "Tokens of prompts whose KV was cached.";
        self.engine_counter("vllm:prompt_tokens_cached", help, "", &cached);
        let generated = [("", now.generation_tokens)];
        self.engine_counter("vllm:generation_tokens", "Tokens generated.", "", &generated);
        let ended = [
            ("stop", now.finished.stop),
            ("length", now.finished.length),
            ("abort", now.finished.abort),
            ("error", now.finished.error),
            ("repetition", 0),
        ];
        let help = "Generations that ended, by reason.";
        self.engine_counter("vllm:request_success", help, "finished_reason", &ended);
        let model = self.metrics.model_name.as_str();
        let rejected = |reason| [("model_name", model), ("reason", reason)];
        let (requests, tokens) =
            (rejected("max_num_queued_reqs"), rejected("max_num_queued_tokens"));
        let help = "Requests refused because too much was in flight.";
        let samples: [(&Labels, u64); 2] = [(&requests, now.rejected_reqs), (&tokens, 0)];
        self.counter("vllm:admission_rejections", help, &samples);
    }

    fn family(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &Labels, value: f64) {
        let mut labels = labels.to_vec();
        labels.sort_unstable();
        self.out.push_str(name);
        for (i, (label, text)) in labels.iter().enumerate() {
            let open = if i == 0 { '{' } else { ',' };
            let _ = write!(self.out, "{open}{label}=\"{text}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.out, "{close} {}", number(value));
    }

    /// A sample with the labels that every engine metric has, and `extra`.
    fn engine_sample(&mut self, name: &str, extra: &Labels, value: f64) {
        let model = self.metrics.model_name.as_str();
        let labels = [&[("engine", "0"), ("model_name", model)], extra].concat();
        self.sample(name, &labels, value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, help, "gauge");
        self.engine_sample(name, &[], value);
    }

    /// A counter with one series for each value of `label`, or a single one without it.
    fn engine_counter(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
        let model = self.metrics.model_name.as_str();
        let base = [("engine", "0"), ("model_name", model)];
        let labels: Vec<Vec<(&str, &str)>> = values
            .iter()
            .map(|(value, _)| match label {
                "" => base.to_vec(),
                label => [&base[..], &[(label, *value)]].concat(),
            })
            .collect();
        let counts = values.iter().map(|(_, count)| *count);
        let samples: Vec<(&Labels, u64)> = labels.iter().map(Vec::as_slice).zip(counts).collect();
        self.counter(name, help, &samples);
    }

    /// `name_total`, and when its series began as `name_created`.
    fn counter(&mut self, name: &str, help: &str, samples: &[(&Labels, u64)]) {
        let total = format!("{name}_total");
        self.family(&total, help, "counter");
        for (labels, value) in samples {
            self.sample(&total, labels, *value as f64);
        }
        let created = format!("{name}_created");
        self.family(&created, help, "gauge");
        for (labels, _) in samples {
            self.sample(&created, labels, self.metrics.created);
        }
    }
}

/// One label for each field of vLLM's cache configuration, as Python writes it.
fn cache_info(cache: &CacheSettings, plan: &KvPlan) -> Vec<(&'static str, String)> {
    let optional = |value: Option<u64>| value.map_or("None".to_owned(), |value| value.to_string());
    let boolean = |value: bool| if value { "True" } else { "False" }.to_owned();
    let block_size = plan.block_size.to_string();
    let blocks_override = cache.num_blocks_override.map(|blocks| blocks as u64);
    let concurrency = repr_float(plan.max_concurrency());
    let mut labels = vec![
        ("engine", "0".to_owned()),
        ("_block_size_resolved", boolean(true)),
        ("block_size", block_size.clone()),
        ("cache_hit_alignment_tokens", block_size.clone()),
        ("effective_attention_block_size", block_size.clone()),
        ("enable_prefix_caching", boolean(cache.prefix_caching)),
        ("gpu_memory_utilization", repr_float(cache.memory_utilization)),
        ("hash_block_size", block_size),
        ("kv_cache_max_concurrency", concurrency),
        ("kv_cache_memory_bytes", optional(cache.memory_bytes)),
        ("kv_cache_size_tokens", plan.tokens().to_string()),
        ("num_gpu_blocks", plan.num_blocks.to_string()),
        ("num_gpu_blocks_override", optional(blocks_override)),
        ("prefix_caching_hash_algo", cache.hash_algo.name().to_owned()),
        ("user_specified_block_size", boolean(cache.user_block_size)),
    ];
    labels.extend(FIXED_CACHE_LABELS.map(|(name, value)| (name, value.to_owned())));
    labels
}

/// Fields that are always at vLLM's default, since Glassbox has nothing to set there.
const FIXED_CACHE_LABELS: [(&str, &str); 22] = [
    ("cache_dtype", "auto"),
    ("enable_mamba_shared_prefix_checkpoint", "False"),
    ("is_attention_free", "False"),
    ("kv_cache_dtype_skip_layers", "[]"),
    ("kv_cache_layout", "LBHNC"),
    ("kv_offloading_backend", "native"),
    ("kv_offloading_size", "None"),
    ("kv_sharing_fast_prefill", "False"),
    ("mamba_block_size", "None"),
    ("mamba_cache_dtype", "auto"),
    ("mamba_cache_mode", "none"),
    ("mamba_page_size_padded", "None"),
    ("mamba_ssm_cache_dtype", "auto"),
    ("num_cpu_blocks", "None"),
    ("prefix_cache_retention_interval", "0"),
    ("prefix_match_unit", "None"),
    ("replayssm_buffer_len", "16"),
    ("skip_page_size_padded", "None"),
    ("sliding_window", "None"),
    ("swa_bounded_replay", "True"),
    ("use_kda_recoverssm", "False"),
    ("use_replayssm", "False"),
];

/// A label's value between quotes.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

/// A value as the Python client writes it: Python's digits, but Go's switch to exponents.
fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let text = repr_float(value);
    match text.find('.') {
        Some(dot) if dot > 6 && value > 0.0 => {
            let digits = format!("{}.{}{}", &text[..1], &text[1..dot], &text[dot + 1..]);
            format!("{}e+{:02}", digits.trim_end_matches(['0', '.']), dot - 1)
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests;
