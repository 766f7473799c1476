//! The engine's gauges and counters under vLLM's names.

use super::EngineLabels;
use super::text::{Counted, Labels, Measured, Page};
use super::transfer::{self, Transfers};
use crate::types::Histogram;

/// The engine at one moment. Counters only grow.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
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
    /// Those of them whose KV came from another server.
    pub prompt_tokens_pulled: u64,
    pub generation_tokens: u64,
    pub steps: u64,
    pub finished: Finished,
    /// Requests refused because of `--max-num-queued-reqs`.
    pub rejected_reqs: u64,
    pub rejected_tokens: u64,
    pub step_histograms: Steps<'a>,
    /// `None` unless it is measured.
    pub residency: Option<Residency<'a>>,
    /// Operations, bytes read and bytes written, estimated.
    pub estimates: [f64; 3],
    pub sleep: SleepState,
    /// `None` when no KV moves between servers.
    pub transfers: Option<Transfers<'a>>,
}

/// How long sampled KV blocks kept what they held.
#[derive(Clone, Copy, Debug)]
pub struct Residency<'a> {
    pub lifetime: &'a Histogram,
    pub idle: &'a Histogram,
    pub reuse_gap: &'a Histogram,
}

/// Whether the engine sleeps, and what it has given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SleepState {
    #[default]
    Awake,
    /// It only makes no steps.
    Paused,
    /// Level 1.
    WeightsOffloaded,
    /// Level 2.
    DiscardAll,
}

impl<'a> Snapshot<'a> {
    /// An engine that has done nothing.
    pub fn idle(step_histograms: Steps<'a>) -> Self {
        Self {
            running: 0,
            waiting: 0,
            deferred: 0,
            kv_cache_usage: 0.0,
            prefix_cache_queries: 0,
            prefix_cache_hits: 0,
            preemptions: 0,
            prompt_tokens: 0,
            prompt_tokens_cached: 0,
            prompt_tokens_pulled: 0,
            generation_tokens: 0,
            steps: 0,
            finished: Finished::default(),
            rejected_reqs: 0,
            rejected_tokens: 0,
            step_histograms,
            residency: None,
            estimates: [0.0; 3],
            sleep: SleepState::Awake,
            transfers: None,
        }
    }
}

/// What the engine's steps were like.
#[derive(Clone, Copy, Debug)]
pub struct Steps<'a> {
    /// Tokens of a step that gave tokens, with the prompts that it completed.
    pub tokens: &'a Histogram,
    /// From the plan to the last result.
    pub time: &'a Histogram,
    /// The device's part of it.
    pub device_time: &'a Histogram,
}

/// Generations that ended, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    pub stop: u64,
    pub length: u64,
    pub abort: u64,
    pub error: u64,
    pub repetition: u64,
}

/// What steps cost, estimated. vLLM shows it all the same when nobody asked for it.
const ESTIMATES: [(&str, &str); 3] = [
    ("vllm:estimated_flops_per_gpu", "Floating-point operations, estimated; 0 unless asked for."),
    ("vllm:estimated_read_bytes_per_gpu", "Bytes read from memory, estimated; 0 unless asked for."),
    ("vllm:estimated_write_bytes_per_gpu", "Bytes written, estimated; 0 unless asked for."),
];

/// Writes one moment of the engine.
pub(super) struct EnginePage<'a> {
    pub page: &'a mut Page,
    pub labels: EngineLabels<'a>,
    pub created: f64,
    pub now: &'a Snapshot<'a>,
}

impl EnginePage<'_> {
    /// The families up to the histograms.
    pub fn write(&mut self) {
        if let Some(transfers) = &self.now.transfers {
            transfer::write_connector(self, transfers);
        }
        for ((name, help), value) in ESTIMATES.into_iter().zip(self.now.estimates) {
            let series = Counted { labels: &self.labels.all(), value, created: self.created };
            self.page.counter(name, help, &[series]);
        }
        self.gauges();
        self.cache_counters();
        self.token_counters();
        self.request_counters();
    }

    /// How long blocks kept what they held, if that is measured.
    pub fn write_residency(&mut self) {
        let Some(Residency { lifetime, idle, reuse_gap }) = self.now.residency else { return };
        for (name, help, histogram) in [
            ("lifetime", "From a KV block's allocation to its eviction; sampled.", lifetime),
            ("idle_before_evict", "From a KV block's last use to its eviction; sampled.", idle),
            ("reuse_gap", "Between the latest uses of a KV block; sampled.", reuse_gap),
        ] {
            let series = Measured { labels: &self.labels.all(), histogram, created: self.created };
            self.page.histogram(&format!("vllm:kv_block_{name}_seconds"), help, &[series]);
        }
    }

    fn gauges(&mut self) {
        let now = self.now;
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
        let capacity = now.waiting.saturating_sub(now.deferred);
        self.gauges_by(
            "vllm:num_requests_waiting_by_reason",
            "Waiting requests by what they wait for: room in a step, or something else.",
            "reason",
            &[("capacity", capacity as f64), ("deferred", now.deferred as f64)],
        );
        if let Some(fetches) = now.transfers.and_then(|transfers| transfers.fetches) {
            transfer::write_fetches(self, fetches);
        }
        let is = |state| f64::from(u8::from(now.sleep == state));
        self.gauges_by(
            "vllm:engine_sleep_state",
            "1 for the state that the engine is in.",
            "sleep_state",
            &[
                ("awake", is(SleepState::Awake)),
                ("weights_offloaded", is(SleepState::WeightsOffloaded)),
                ("discard_all", is(SleepState::DiscardAll)),
            ],
        );
        let help = "Share of KV blocks that requests hold, 0 to 1.";
        self.gauge("vllm:kv_cache_usage_perc", help, now.kv_cache_usage);
    }

    fn cache_counters(&mut self) {
        let now = self.now;
        let external = "in other instances' caches";
        for (name, help, value) in [
            (
                "vllm:prefix_cache_queries",
                "Prompt tokens looked up in the prefix cache.".to_owned(),
                now.prefix_cache_queries,
            ),
            (
                "vllm:prefix_cache_hits",
                "Prompt tokens found in the prefix cache.".to_owned(),
                now.prefix_cache_hits,
            ),
            (
                "vllm:external_prefix_cache_queries",
                format!("Prompt tokens looked up {external}."),
                0,
            ),
            ("vllm:external_prefix_cache_hits", format!("Prompt tokens found {external}."), 0),
            (
                "vllm:mm_cache_queries",
                "Images and the like looked up in their cache.".to_owned(),
                0,
            ),
            ("vllm:mm_cache_hits", "Images and the like found in their cache.".to_owned(), 0),
            ("vllm:num_preemptions", "Requests sent back to wait.".to_owned(), now.preemptions),
        ] {
            self.counter(name, &help, value);
        }
    }

    fn token_counters(&mut self) {
        let now = self.now;
        self.counter(
            "vllm:prompt_tokens",
            "Tokens of prompts, cached ones too.",
            now.prompt_tokens,
        );
        let computed = now.prompt_tokens.saturating_sub(now.prompt_tokens_cached);
        let cached_here = now.prompt_tokens_cached.saturating_sub(now.prompt_tokens_pulled);
        self.counters_by(
            "vllm:prompt_tokens_by_source",
            "Tokens of prompts by where their KV came from.",
            "source",
            &[
                ("local_compute", computed),
                ("local_cache_hit", cached_here),
                ("external_kv_transfer", now.prompt_tokens_pulled),
            ],
        );
        let help = "Tokens of prompts whose KV was cached.";
        self.counter("vllm:prompt_tokens_cached", help, now.prompt_tokens_cached);
        self.counters_by(
            "vllm:prompt_tokens_cached_by_source",
            "Prompt tokens found in caches by the kind of cache.",
            "source",
            &[
                ("device", now.prefix_cache_hits),
                ("host", 0),
                ("p2p", 0),
                ("disk", 0),
                ("external_unspecified", 0),
            ],
        );
        self.counter("vllm:generation_tokens", "Tokens generated.", now.generation_tokens);
    }

    fn request_counters(&mut self) {
        let Finished { stop, length, abort, error, repetition } = self.now.finished;
        self.counters_by(
            "vllm:request_success",
            "Generations that ended, by reason.",
            "finished_reason",
            &[
                ("stop", stop),
                ("length", length),
                ("abort", abort),
                ("error", error),
                ("repetition", repetition),
            ],
        );
        let model = ("model_name", self.labels.model);
        let requests = [model, ("reason", "max_num_queued_reqs")];
        let tokens = [model, ("reason", "max_num_queued_tokens")];
        let help = "Requests refused because too much was in flight.";
        let series = [
            self.counted(&requests, self.now.rejected_reqs),
            self.counted(&tokens, self.now.rejected_tokens),
        ];
        self.page.counter("vllm:admission_rejections", help, &series);
    }

    fn counted<'l>(&self, labels: Labels<'l>, value: u64) -> Counted<'l> {
        Counted { labels, value: value as f64, created: self.created }
    }

    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.page.gauge(name, help, &[(&self.labels.all(), value)]);
    }

    pub fn gauges_by(&mut self, name: &str, help: &str, label: &str, values: &[(&str, f64)]) {
        let labels: Vec<_> =
            values.iter().map(|(value, _)| self.labels.with((label, value))).collect();
        let samples: Vec<(Labels, f64)> =
            labels.iter().zip(values).map(|(labels, (_, value))| (&labels[..], *value)).collect();
        self.page.gauge(name, help, &samples);
    }

    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        let labels = self.labels.all();
        let series = [self.counted(&labels, value)];
        self.page.counter(name, help, &series);
    }

    fn counters_by(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
        let labels: Vec<_> =
            values.iter().map(|(value, _)| self.labels.with((label, value))).collect();
        let series: Vec<Counted> = labels
            .iter()
            .zip(values)
            .map(|(labels, (_, value))| self.counted(labels, *value))
            .collect();
        self.page.counter(name, help, &series);
    }
}
