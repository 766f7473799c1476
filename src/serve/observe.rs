//! The engine's status as the log and the metrics want it.

use crate::engine::Status;
use crate::telemetry::metrics::{Finished, Snapshot, Steps};
use crate::telemetry::{Stats, StatsLog};
use crate::types::FinishReason;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

fn read(value: &AtomicU64) -> u64 {
    value.load(Relaxed)
}

/// What `/metrics` shows.
pub fn snapshot(status: &Status) -> Snapshot<'_> {
    let (gauges, counters, steps) = (&status.gauges, &status.counters, &status.steps);
    Snapshot {
        running: read(&gauges.running),
        waiting: read(&gauges.waiting),
        deferred: 0,
        kv_cache_usage: status.kv_cache_usage(),
        prefix_cache_queries: read(&counters.prefix_cache_queries),
        prefix_cache_hits: read(&counters.prefix_cache_hits),
        preemptions: read(&counters.preemptions),
        prompt_tokens: read(&counters.prompt_tokens),
        prompt_tokens_cached: read(&counters.prompt_tokens_cached),
        generation_tokens: read(&counters.generation_tokens),
        steps: read(&counters.steps),
        finished: Finished {
            stop: counters.finished(FinishReason::Stop),
            length: counters.finished(FinishReason::Length),
            abort: counters.finished(FinishReason::Abort),
            error: counters.finished(FinishReason::Error),
        },
        rejected_reqs: read(&counters.rejected),
        step_histograms: Steps {
            tokens: &steps.iteration_tokens,
            time: &steps.time,
            device_time: &steps.device_time,
        },
    }
}

fn stats(status: &Status) -> Stats {
    let now = snapshot(status);
    let Finished { stop, length, abort, error } = now.finished;
    Stats {
        computed_prompt_tokens: now.prompt_tokens.saturating_sub(now.prompt_tokens_cached),
        generation_tokens: now.generation_tokens,
        preemptions: now.preemptions,
        prefix_cache_queries: now.prefix_cache_queries,
        prefix_cache_hits: now.prefix_cache_hits,
        finished: stop + length + abort + error,
        running: now.running,
        waiting: now.waiting,
        deferred: now.deferred,
        kv_cache_usage: now.kv_cache_usage,
    }
}

/// Logs vLLM's regular line, for ever.
pub async fn log_stats(status: Arc<Status>, every: Duration) {
    let mut log = StatsLog::new("CPU");
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        let now = ticks.tick().await;
        let (level, line) = log.line(stats(&status), now - last);
        log::log!(level, "{line}");
        last = now;
    }
}
