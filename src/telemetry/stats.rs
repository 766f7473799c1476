//! vLLM's regular line about throughput, as a function of two snapshots.

use log::Level;
use std::collections::VecDeque;
use std::time::Duration;

/// Counters and gauges of the engine at one moment. Counters only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Prompt tokens that were computed: cached ones do not count.
    pub computed_prompt_tokens: u64,
    pub generation_tokens: u64,
    pub preemptions: u64,
    pub prefix_cache_queries: u64,
    pub prefix_cache_hits: u64,
    /// Requests that have ended.
    pub finished: u64,
    pub running: u64,
    /// With those that are deferred.
    pub waiting: u64,
    pub deferred: u64,
    /// 0 to 1.
    pub kv_cache_usage: f64,
}

/// The hit rate is that of so many requests or a few more.
const RECENT_REQUESTS: u64 = 1000;

/// Turns snapshots into lines.
#[derive(Debug)]
pub struct StatsLog {
    /// `CPU` or `GPU`.
    device: &'static str,
    last: Stats,
    was_active: bool,
    /// Requests, queries and hits of recent intervals, oldest first, and their sums.
    recent: VecDeque<[u64; 3]>,
    sums: [u64; 3],
}

impl StatsLog {
    /// Nothing seen yet.
    pub fn new(device: &'static str) -> Self {
        let last = Stats::default();
        Self { device, last, was_active: false, recent: VecDeque::new(), sums: [0; 3] }
    }

    /// The line for what happened in the `elapsed` time since the last call. At debug level when
    /// nothing happened in this interval and in the one before.
    pub fn line(&mut self, now: Stats, elapsed: Duration) -> (Level, String) {
        let seconds = elapsed.as_secs_f64().max(1e-9);
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        let prompt = rate(now.computed_prompt_tokens, self.last.computed_prompt_tokens);
        let generation = rate(now.generation_tokens, self.last.generation_tokens);
        let active = prompt > 0.0 || generation > 0.0;
        let level = if active || self.was_active { Level::Info } else { Level::Debug };
        self.was_active = active;
        self.observe_hits(&now);
        let mut parts = vec![
            format!("Avg prompt throughput: {prompt:.1} tokens/s"),
            format!("Avg generation throughput: {generation:.1} tokens/s"),
            format!("Running: {} reqs", now.running),
            format!("Waiting: {} reqs", now.waiting),
        ];
        if now.deferred > 0 {
            parts.push(format!("Deferred: {} reqs", now.deferred));
        }
        let preemptions = now.preemptions.saturating_sub(self.last.preemptions);
        if preemptions > 0 {
            parts.push(format!("Preemptions: {preemptions}"));
        }
        let usage = now.kv_cache_usage * 100.0;
        parts.push(format!("{} KV cache usage: {usage:.1}%", self.device));
        let [_, queries, hits] = self.sums;
        if !self.recent.is_empty() {
            let rate = if queries == 0 { 0.0 } else { hits as f64 / queries as f64 * 100.0 };
            parts.push(format!("Prefix cache hit rate: {rate:.1}%"));
        }
        self.last = now;
        (level, format!("Engine 000: {}", parts.join(", ")))
    }

    fn observe_hits(&mut self, now: &Stats) {
        let last = &self.last;
        let queries = now.prefix_cache_queries.saturating_sub(last.prefix_cache_queries);
        if queries == 0 {
            return;
        }
        let requests = now.finished.saturating_sub(last.finished);
        let hits = now.prefix_cache_hits.saturating_sub(last.prefix_cache_hits);
        self.recent.push_back([requests, queries, hits]);
        self.sums = std::array::from_fn(|i| self.sums[i] + [requests, queries, hits][i]);
        // The bound on intervals matters when requests query but none ends for days.
        while self.recent.len() > 1
            && (self.sums[0] > RECENT_REQUESTS || self.recent.len() > RECENT_REQUESTS as usize)
        {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.sums = std::array::from_fn(|i| self.sums[i] - oldest[i]);
        }
    }
}

/// vLLM's line about the operations and the memory traffic of the device, estimated.
#[derive(Debug, Default)]
pub struct CostLog {
    /// When the last line was written: operations, bytes read, bytes written.
    last: [f64; 3],
    /// The time since then.
    elapsed: Duration,
}

impl CostLog {
    /// The line for what all steps have cost `now`, so much time after the last call; nothing when
    /// there was no step.
    pub fn line(&mut self, now: [f64; 3], elapsed: Duration) -> Option<String> {
        self.elapsed += elapsed;
        if now == self.last {
            return None;
        }
        let seconds = self.elapsed.as_secs_f64().max(1e-9);
        let [flops, read, written] = [0, 1, 2].map(|i| (now[i] - self.last[i]) / seconds);
        (self.last, self.elapsed) = (now, Duration::ZERO);
        let (teraflops, gigabytes) = (flops / 1e12, (read + written) / 1e9);
        Some(format!("Engine 000: MFU: {teraflops:.1} TF/s/device {gigabytes:.1} GB/s/device"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    #[test]
    fn the_line_of_vllm() {
        let mut log = StatsLog::new("GPU");
        let now = Stats {
            computed_prompt_tokens: 12,
            generation_tokens: 34,
            running: 1,
            kv_cache_usage: 0.001,
            prefix_cache_queries: 24,
            prefix_cache_hits: 12,
            finished: 1,
            ..Stats::default()
        };
        let wanted = "Engine 000: Avg prompt throughput: 1.2 tokens/s, Avg generation throughput: \
                      3.4 tokens/s, Running: 1 reqs, Waiting: 0 reqs, GPU KV cache usage: 0.1%, \
                      Prefix cache hit rate: 50.0%";
        assert_eq!(log.line(now, TEN), (Level::Info, wanted.to_owned()));
        let busy = Stats { preemptions: 2, deferred: 1, waiting: 3, ..now };
        let wanted = "Engine 000: Avg prompt throughput: 0.0 tokens/s, Avg generation throughput: \
                      0.0 tokens/s, Running: 1 reqs, Waiting: 3 reqs, Deferred: 1 reqs, \
                      Preemptions: 2, GPU KV cache usage: 0.1%, Prefix cache hit rate: 50.0%";
        assert_eq!(log.line(busy, TEN), (Level::Info, wanted.to_owned()));
        assert_eq!(log.line(busy, TEN).0, Level::Debug);
    }

    #[test]
    fn nothing_looked_up_has_no_hit_rate() {
        let (level, line) = StatsLog::new("CPU").line(Stats::default(), TEN);
        assert_eq!(level, Level::Debug);
        assert!(line.ends_with("CPU KV cache usage: 0.0%"), "{line}");
    }

    #[test]
    fn the_hit_rate_forgets_old_requests() {
        let mut log = StatsLog::new("CPU");
        let mut now = Stats { finished: 900, prefix_cache_queries: 900, ..Stats::default() };
        assert!(log.line(now, TEN).1.ends_with("hit rate: 0.0%"));
        now.finished += 900;
        now.prefix_cache_queries += 900;
        now.prefix_cache_hits += 900;
        assert!(log.line(now, TEN).1.ends_with("hit rate: 100.0%"));
    }

    #[test]
    fn costs_are_shared_out_over_the_time_since_the_last_line() {
        let mut log = CostLog::default();
        assert_eq!(log.line([0.0; 3], TEN), None);
        let line = log.line([40e12, 100e9, 20e9], TEN).expect("there were steps");
        assert_eq!(line, "Engine 000: MFU: 2.0 TF/s/device 6.0 GB/s/device");
        assert_eq!(log.line([40e12, 100e9, 20e9], TEN), None);
        let line = log.line([41e12, 110e9, 20e9], TEN).expect("there were steps");
        assert_eq!(line, "Engine 000: MFU: 0.1 TF/s/device 0.5 GB/s/device");
    }
}
