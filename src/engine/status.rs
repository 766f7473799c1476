//! What the rest of the process may know about the engine without asking it: atomics that the
//! engine thread writes once a step.

use super::config::EngineConfig;
use super::estimate::Estimate;
use crate::kv::ResidencyHistograms;
use crate::runner::Limits;
use crate::types::{Clock, FinishReason, Histogram, Moment};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Values that go up and down; set once a step and when the engine goes idle.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Requests that take part in steps.
    pub running: AtomicU64,
    /// Requests that wait for blocks or for room in a step.
    pub waiting: AtomicU64,
    /// Requests on their way whose grammars are being compiled.
    pub deferred: AtomicU64,
    /// Those of the waiting whose KV is on its way from another server.
    pub pulling: AtomicU64,
    /// Those whose KV is elsewhere and that have no blocks for it yet.
    pub wanted: AtomicU64,
    /// Prompts whose blocks are kept for a peer.
    pub leased: AtomicU64,
    /// KV blocks that some request holds. Cached blocks that nobody holds count as free.
    pub kv_used_blocks: AtomicU64,
}

/// Values that only grow. Names follow vLLM's counters.
#[derive(Debug, Default)]
pub struct Counters {
    /// Tokens of prompts whose prefill is done, cached ones included.
    pub prompt_tokens: AtomicU64,
    /// Those of them that came from the prefix cache or from another server.
    pub prompt_tokens_cached: AtomicU64,
    /// Tokens that were read: not those that the engine made while a stop string ended the text.
    pub generation_tokens: AtomicU64,
    /// Prompt tokens looked up in the prefix cache, and found there.
    pub prefix_cache_queries: AtomicU64,
    pub prefix_cache_hits: AtomicU64,
    pub preemptions: AtomicU64,
    /// Prompt tokens whose KV was pulled from another server.
    pub prompt_tokens_pulled: AtomicU64,
    pub steps: AtomicU64,
    /// Reservations that were refused because too many requests were in flight.
    pub rejected: AtomicU64,
    /// The same, because too many prompt tokens waited.
    pub rejected_tokens: AtomicU64,
    finished: [AtomicU64; 5],
}

impl Counters {
    /// How many generations ended so.
    pub fn finished(&self, reason: FinishReason) -> u64 {
        self.finished[reason as usize].load(Relaxed)
    }

    pub(super) fn count_finish(&self, reason: FinishReason) {
        self.finished[reason as usize].fetch_add(1, Relaxed);
    }
}

/// What all steps have cost, estimated; 0 unless asked for. The engine's thread alone adds.
#[derive(Debug, Default)]
pub struct Estimates {
    /// Bits of floats: on a fast device, operations outgrow 64 bits within days.
    flops: AtomicU64,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
}

impl Estimates {
    pub(super) fn add(&self, step: &Estimate) {
        let add = |sum: &AtomicU64, more: u64| {
            let all = f64::from_bits(sum.load(Relaxed)) + more as f64;
            sum.store(all.to_bits(), Relaxed);
        };
        add(&self.flops, step.flops);
        add(&self.read_bytes, step.read_bytes);
        add(&self.written_bytes, step.written_bytes);
    }

    /// Operations, bytes read, bytes written.
    pub fn read(&self) -> [f64; 3] {
        [&self.flops, &self.read_bytes, &self.written_bytes]
            .map(|sum| f64::from_bits(sum.load(Relaxed)))
    }
}

/// Ascending bounds for the times of steps, seconds.
const STEP_SECONDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// What steps were like.
#[derive(Debug)]
pub struct StepHistograms {
    /// vLLM's iteration tokens: of each step that gave tokens, those it gave, and the prompt
    /// tokens of the prompts that it completed, but for cached ones.
    pub iteration_tokens: Histogram,
    /// From the plan to the last result.
    pub time: Histogram,
    /// The device's part of it.
    pub device_time: Histogram,
}

impl StepHistograms {
    fn new(iteration_buckets: &[f64]) -> Self {
        Self {
            iteration_tokens: Histogram::of_counts(iteration_buckets),
            time: Histogram::of_seconds(&STEP_SECONDS),
            device_time: Histogram::of_seconds(&STEP_SECONDS),
        }
    }
}

/// The engine as seen from outside.
#[derive(Debug)]
pub struct Status {
    pub gauges: Gauges,
    pub counters: Counters,
    pub steps: StepHistograms,
    pub estimates: Estimates,
    /// How long blocks kept what they held, if that is measured.
    pub residency: Option<Arc<ResidencyHistograms>>,
    /// Blocks in the KV pool.
    pub num_blocks: u64,
    /// Tokens in a block.
    pub block_size: u64,
    dead: AtomicBool,
    paused: AtomicBool,
    asleep: AtomicBool,
    /// The level of sleep plus one; 0 when awake.
    sleep_level: AtomicU8,
    clock: Clock,
    /// The moment at which the engine last ended a step or had nothing to do.
    last_progress: AtomicU64,
    busy: AtomicBool,
}

impl Status {
    pub(super) fn new(limits: &Limits, config: &EngineConfig, clock: Clock) -> Self {
        let residency = config.observation.residency.as_ref();
        Self {
            gauges: Gauges::default(),
            counters: Counters::default(),
            steps: StepHistograms::new(&config.iteration_buckets),
            estimates: Estimates::default(),
            residency: residency.map(|sample| Arc::new(ResidencyHistograms::new(&sample.buckets))),
            num_blocks: limits.num_blocks as u64,
            block_size: limits.block_size as u64,
            dead: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            sleep_level: AtomicU8::new(0),
            last_progress: AtomicU64::new(clock.now().nanos()),
            clock,
            busy: AtomicBool::new(false),
        }
    }

    /// Share of the KV pool that requests hold, 0 to 1.
    pub fn kv_cache_usage(&self) -> f64 {
        self.gauges.kv_used_blocks.load(Relaxed) as f64 / self.num_blocks.max(1) as f64
    }

    /// Whether the engine thread has ended after a failure.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Relaxed)
    }

    /// How long work has waited without any step ending; zero when there is none.
    pub fn stalled_for(&self) -> Duration {
        if !self.busy.load(Relaxed) {
            return Duration::ZERO;
        }
        let last = Moment::from_nanos(self.last_progress.load(Relaxed));
        self.clock.now().since(last)
    }

    /// Called before a step, so that the time without progress counts from here.
    pub(super) fn begin_work(&self) {
        if !self.busy.load(Relaxed) {
            self.progress(true);
        }
    }

    /// Called when a step ended (`busy`) or when there is nothing left to do.
    pub(super) fn progress(&self, busy: bool) {
        self.last_progress.store(self.clock.now().nanos(), Relaxed);
        self.busy.store(busy, Relaxed);
    }

    /// The clock of the engine's moments.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Whether requests that come are held.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Relaxed)
    }

    pub(super) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Relaxed);
    }

    /// Whether memory is given back that steps need.
    pub fn is_asleep(&self) -> bool {
        self.asleep.load(Relaxed)
    }

    pub(super) fn set_asleep(&self, asleep: bool) {
        self.asleep.store(asleep, Relaxed);
    }

    /// The level of sleep that was last asked for; `None` when awake.
    pub fn sleep_level(&self) -> Option<u8> {
        self.sleep_level.load(Relaxed).checked_sub(1)
    }

    pub(super) fn set_sleep_level(&self, level: Option<u8>) {
        self.sleep_level.store(level.map_or(0, |level| level + 1), Relaxed);
    }

    pub(super) fn set_dead(&self) {
        self.dead.store(true, Relaxed);
    }
}
