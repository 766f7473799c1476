//! What is measured about requests: vLLM's histograms of latencies and token counts.

use super::text::{Measured, Page};
use super::{EngineLabels, MetricsConfig};
use crate::config::BucketFamily;
use crate::types::{Histogram, SpanRef};
use std::time::Duration;

/// A generation that has ended, as vLLM's histograms want it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FinishedRequest {
    /// From arrival to the last output, seen by the frontend.
    pub e2e: Duration,
    /// From the queue's door to the first step.
    pub queue: Duration,
    /// From the first step to the first token.
    pub prefill: Duration,
    /// From the first to the last token.
    pub decode: Duration,
    /// From the first step to the last token.
    pub inference: Duration,
    pub prompt_tokens: u32,
    /// Prompt tokens that were not computed.
    pub cached_tokens: u32,
    pub generation_tokens: u32,
    /// As the request asked; `None` and 0 are not counted.
    pub params_max_tokens: Option<u32>,
    pub preemptions: u32,
}

/// The histograms of requests. Whoever reads a generation adds to them; nobody waits.
#[derive(Debug)]
pub struct RequestMetrics {
    prompt_tokens: Histogram,
    generation_tokens: Histogram,
    max_generation_tokens: Histogram,
    params_n: Histogram,
    params_max_tokens: Histogram,
    time_to_first_token: Histogram,
    inter_token_latency: Histogram,
    time_per_output_token: Histogram,
    e2e: Histogram,
    queue: Histogram,
    inference: Histogram,
    prefill: Histogram,
    decode: Histogram,
    preemptions: Histogram,
    prefill_computed_tokens: Histogram,
}

impl RequestMetrics {
    pub(super) fn new(config: &MetricsConfig) -> Self {
        let bounds = |family| config.settings.buckets(family, config.plan.max_model_len);
        let counts = |family| Histogram::of_counts(&bounds(family));
        let seconds = |family| Histogram::of_seconds(&bounds(family));
        Self {
            prompt_tokens: counts(BucketFamily::RequestTokens),
            generation_tokens: counts(BucketFamily::RequestTokens),
            max_generation_tokens: counts(BucketFamily::RequestTokens),
            params_n: counts(BucketFamily::RequestParamsN),
            params_max_tokens: counts(BucketFamily::RequestTokens),
            time_to_first_token: seconds(BucketFamily::TimeToFirstToken).with_exemplars(),
            inter_token_latency: seconds(BucketFamily::InterTokenLatency).with_exemplars(),
            time_per_output_token: seconds(BucketFamily::InterTokenLatency),
            e2e: seconds(BucketFamily::RequestLatency).with_exemplars(),
            queue: seconds(BucketFamily::RequestLatency),
            inference: seconds(BucketFamily::RequestLatency),
            prefill: seconds(BucketFamily::RequestLatency),
            decode: seconds(BucketFamily::RequestLatency),
            preemptions: counts(BucketFamily::RequestNumPreemptions),
            prefill_computed_tokens: counts(BucketFamily::RequestTokens),
        }
    }

    /// A generation gave its first token so long after the request arrived.
    pub fn first_token(&self, ttft: Duration, span: Option<SpanRef>) {
        self.time_to_first_token.observe_time_of(ttft, span);
    }

    /// A generation gave tokens so long after those before. Once for all tokens of a step.
    pub fn inter_token(&self, gap: Duration, span: Option<SpanRef>) {
        self.inter_token_latency.observe_time_of(gap, span);
    }

    /// A generation ended by itself, not because its client left: vLLM counts only those.
    pub fn finished(&self, request: &FinishedRequest, span: Option<SpanRef>) {
        self.e2e.observe_time_of(request.e2e, span);
        self.queue.observe_time(request.queue);
        self.prefill.observe_time(request.prefill);
        self.inference.observe_time(request.inference);
        self.decode.observe_time(request.decode);
        self.preemptions.observe(request.preemptions.into());
        let computed = request.prompt_tokens.saturating_sub(request.cached_tokens);
        self.prefill_computed_tokens.observe(computed.into());
        self.prompt_tokens.observe(request.prompt_tokens.into());
        self.generation_tokens.observe(request.generation_tokens.into());
        // The first token belongs to the prefill.
        let per_token = match request.generation_tokens {
            0 | 1 => Duration::ZERO,
            tokens => request.decode / (tokens - 1),
        };
        self.time_per_output_token.observe_time(per_token);
        if let Some(max_tokens) = request.params_max_tokens.filter(|tokens| *tokens > 0) {
            self.params_max_tokens.observe(max_tokens.into());
        }
    }

    /// All `n` generations of a prompt ended; the longest gave so many tokens.
    pub fn all_finished(&self, max_generation_tokens: u32, n: u32) {
        self.max_generation_tokens.observe(max_generation_tokens.into());
        self.params_n.observe(n.into());
    }

    /// All families, with the engine's histogram of step sizes where vLLM has it.
    pub(super) fn write(
        &self,
        page: &mut Page,
        labels: EngineLabels,
        created: f64,
        step_tokens: &Histogram,
    ) {
        for (name, help, histogram) in self.families(step_tokens) {
            let series = Measured { labels: &labels.all(), histogram, created };
            page.histogram(&format!("vllm:{name}"), help, &[series]);
        }
    }

    /// Names, what they mean, and the histograms, in vLLM's order.
    fn families<'a>(
        &'a self,
        step_tokens: &'a Histogram,
    ) -> [(&'a str, &'a str, &'a Histogram); 16] {
        [
            ("request_prompt_tokens", "Prompt tokens of a request.", &self.prompt_tokens),
            (
                "request_generation_tokens",
                "Tokens generated for a request.",
                &self.generation_tokens,
            ),
            ("iteration_tokens_total", "Tokens in a step of the engine.", step_tokens),
            (
                "request_max_num_generation_tokens",
                "Tokens of the longest among a request's generations.",
                &self.max_generation_tokens,
            ),
            ("request_params_n", "Generations that a request asks for.", &self.params_n),
            ("request_params_max_tokens", "Most tokens that a request asks for.", {
                &self.params_max_tokens
            }),
            (
                "time_to_first_token_seconds",
                "From a request's arrival to its first token.",
                &self.time_to_first_token,
            ),
            (
                "inter_token_latency_seconds",
                "Between the tokens of a request.",
                &self.inter_token_latency,
            ),
            (
                "request_time_per_output_token_seconds",
                "A request's mean time per token after the first.",
                &self.time_per_output_token,
            ),
            ("e2e_request_latency_seconds", "From a request's arrival to its end.", &self.e2e),
            (
                "request_queue_time_seconds",
                "From a request's queueing to its first step.",
                &self.queue,
            ),
            (
                "request_inference_time_seconds",
                "From a request's first step to its last token.",
                &self.inference,
            ),
            (
                "request_prefill_time_seconds",
                "From a request's first step to its first token.",
                &self.prefill,
            ),
            (
                "request_decode_time_seconds",
                "From a request's first to its last token.",
                &self.decode,
            ),
            (
                "request_num_preemptions",
                "How often a request was sent back to wait.",
                &self.preemptions,
            ),
            (
                "request_prefill_kv_computed_tokens",
                "Prompt tokens of a request that were computed, not cached.",
                &self.prefill_computed_tokens,
            ),
        ]
    }
}
