//! The engine's status as the log and the metrics want it.

use super::build::Sizes;
use crate::config::{KvEventsSettings, Settings};
use crate::engine::Status;
use crate::events::{EventStats, Publisher};
use crate::http::ServerInfo;
use crate::telemetry::metrics::{
    Fetches, Finished, KvEventHealth, Residency, SleepState, Snapshot, Steps, Transfers,
};
use crate::telemetry::{CostLog, Stats, StatsLog};
use crate::transfer::stats::TransferStats;
use crate::types::FinishReason;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

fn read(value: &AtomicU64) -> u64 {
    value.load(Relaxed)
}

/// The publisher of KV events as `/metrics` shows it.
pub fn kv_events(stats: &EventStats) -> KvEventHealth {
    let now = stats.read();
    KvEventHealth {
        batches: now.batches,
        events: now.events,
        dropped_unheard: now.dropped_unheard,
        dropped_slow: now.dropped_slow,
        merged: now.merged,
        subscribers: now.subscribers,
        announced: now.announced_new + now.announced_gap,
        replays: now.replays_kept + now.replays_snapshot,
        resident: now.resident,
    }
}

/// What `/kv_event_sources` tells of it.
pub fn kv_event_sources(settings: &KvEventsSettings, publisher: &Publisher) -> serde_json::Value {
    serde_json::json!({settings.rank.to_string(): {
        "enable_kv_cache_events": true,
        "publisher": "zmq",
        "endpoint": publisher.endpoint(),
        "replay_endpoint": publisher.replay_endpoint(),
        "buffer_steps": settings.buffer_steps,
        "hwm": settings.hwm,
        "max_queue_size": settings.max_queue_size,
        "topic": settings.topic,
    }})
}

/// What `/server_info` tells of the settings, by vLLM's names.
pub fn server_info(settings: &Settings, sizes: &Sizes) -> ServerInfo {
    let (model, cache) = (&settings.model, &settings.cache);
    let config = serde_json::json!({
        "model": model.model,
        "tokenizer": model.tokenizer.as_ref().unwrap_or(&model.model),
        "revision": model.revision,
        "dtype": "torch.bfloat16",
        "max_seq_len": sizes.kv.max_model_len,
        "load_format": format!("{:?}", model.load_format).to_lowercase(),
        "tensor_parallel_size": 1,
        "pipeline_parallel_size": 1,
        "data_parallel_size": 1,
        "quantization": null,
        "kv_cache_dtype": "auto",
        "device_config": sizes.device.kind(),
        "seed": model.seed,
        "served_model_name": model.served_names[0],
        "enable_prefix_caching": cache.prefix_caching,
        "enable_chunked_prefill": settings.scheduler.chunked_prefill,
        "block_size": cache.block_size,
        "num_gpu_blocks": sizes.kv.num_blocks,
        "max_num_seqs": sizes.step.max_num_seqs,
        "max_num_batched_tokens": sizes.step.max_num_batched_tokens,
        "enable_sleep_mode": settings.device.sleep_mode,
        "non_default_args": settings.non_default_args,
    });
    let config = config.as_object().cloned().unwrap_or_default();
    ServerInfo { config, env: settings.frontend.vllm_env.clone() }
}

/// KV transfer as `/metrics` shows it.
fn transfers(stats: &TransferStats, fetches: Option<Fetches>) -> Transfers<'_> {
    let now = stats.counts();
    Transfers {
        transfer_time: &stats.transfer_time,
        post_time: &stats.post_time,
        bytes: &stats.bytes,
        descriptors: &stats.descriptors,
        failed_transfers: now.failed_transfers,
        failed_notifications: now.failed_notifications,
        expired: now.expired,
        late_notifications: now.late_notifications,
        fetches,
    }
}

/// What `/metrics` shows.
///
/// `pulls`: whether this server continues what others computed.
pub fn snapshot<'a>(
    status: &'a Status,
    transfer: Option<&'a TransferStats>,
    pulls: bool,
) -> Snapshot<'a> {
    let (gauges, counters, steps) = (&status.gauges, &status.counters, &status.steps);
    let deferred = read(&gauges.deferred);
    let fetches = pulls.then(|| Fetches {
        waiting_to_start: read(&gauges.wanted),
        in_progress: read(&gauges.pulling),
        completed_waiting: 0,
    });
    Snapshot {
        running: read(&gauges.running),
        waiting: read(&gauges.waiting) + deferred,
        deferred,
        kv_cache_usage: status.kv_cache_usage(),
        prefix_cache_queries: read(&counters.prefix_cache_queries),
        prefix_cache_hits: read(&counters.prefix_cache_hits),
        preemptions: read(&counters.preemptions),
        prompt_tokens: read(&counters.prompt_tokens),
        prompt_tokens_cached: read(&counters.prompt_tokens_cached),
        prompt_tokens_pulled: read(&counters.prompt_tokens_pulled),
        generation_tokens: read(&counters.generation_tokens),
        steps: read(&counters.steps),
        finished: Finished {
            stop: counters.finished(FinishReason::Stop),
            length: counters.finished(FinishReason::Length),
            abort: counters.finished(FinishReason::Abort),
            error: counters.finished(FinishReason::Error),
            repetition: counters.finished(FinishReason::Repetition),
        },
        rejected_reqs: read(&counters.rejected),
        rejected_tokens: read(&counters.rejected_tokens),
        step_histograms: Steps {
            tokens: &steps.iteration_tokens,
            time: &steps.time,
            device_time: &steps.device_time,
        },
        residency: status.residency.as_deref().map(|blocks| Residency {
            lifetime: &blocks.lifetime,
            idle: &blocks.idle,
            reuse_gap: &blocks.reuse_gap,
        }),
        estimates: status.estimates.read(),
        sleep: match status.sleep_level() {
            None => SleepState::Awake,
            Some(0) => SleepState::Paused,
            Some(1) => SleepState::WeightsOffloaded,
            Some(_) => SleepState::DiscardAll,
        },
        transfers: transfer.map(|stats| transfers(stats, fetches)),
    }
}

fn stats(status: &Status) -> Stats {
    let now = snapshot(status, None, false);
    let Finished { stop, length, abort, error, repetition } = now.finished;
    Stats {
        computed_prompt_tokens: now.prompt_tokens.saturating_sub(now.prompt_tokens_cached),
        generation_tokens: now.generation_tokens,
        preemptions: now.preemptions,
        prefix_cache_queries: now.prefix_cache_queries,
        prefix_cache_hits: now.prefix_cache_hits,
        finished: stop + length + abort + error + repetition,
        running: now.running,
        waiting: now.waiting,
        deferred: now.deferred,
        kv_cache_usage: now.kv_cache_usage,
    }
}

/// Logs vLLM's regular line, for ever.
///
/// `device`: what it calls what runs the model.
pub async fn log_stats(status: Arc<Status>, device: &'static str, every: Duration) {
    let (mut log, mut costs) = (StatsLog::new(device), CostLog::default());
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        let now = ticks.tick().await;
        let (level, line) = log.line(stats(&status), now - last);
        log::log!(level, "{line}");
        if let Some(line) = costs.line(status.estimates.read(), now - last) {
            log::log!(level, "{line}");
        }
        last = now;
    }
}

#[cfg(test)]
mod tests;
