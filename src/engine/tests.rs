//! The engine thread from outside: life, death, and who is told what.

use super::*;
use crate::runner::sim::{Samples, SimBackend, SimConfig};
use crate::runner::{Backend, BackendError, Limits, RowSink, StepBatch, StepTiming};
use crate::scheduler::SchedulerConfig;
use crate::types::{
    Clock, Finish, FinishReason, Generated, LogprobsMode, Moment, Policy, SamplingParams,
    SharedTimeline, TimelineRoom, Token,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const LIMITS: Limits = Limits {
    max_tokens: 64,
    max_seqs: 4,
    max_blocks_per_seq: 256,
    num_blocks: 1024,
    block_size: 16,
    vocab_size: 100,
};

fn config(max_in_flight: usize) -> EngineConfig {
    let scheduler = SchedulerConfig {
        max_num_batched_tokens: LIMITS.max_tokens,
        max_num_seqs: LIMITS.max_seqs,
        policy: Policy::Fcfs,
        chunked_prefill: true,
        long_prefill_token_threshold: 0,
        adaptive_long_prefill: false,
        reserve_full_prompt: true,
        watermark: 0.0,
    };
    let (max_model_len, prefix_caching) = (4096, None);
    EngineConfig {
        scheduler,
        max_model_len,
        prefix_caching,
        max_in_flight,
        max_queued_tokens: usize::MAX,
        seed: 0,
        iteration_buckets: vec![],
        logprobs: Default::default(),
        observation: Default::default(),
    }
}

fn start(sim: SimConfig, max_in_flight: usize) -> (EngineHandle, EngineThread) {
    let backend = Box::new(SimBackend::new(sim));
    let (core, handle) = Core::new(config(max_in_flight), backend, Clock::system());
    (handle, spawn(core).expect("a thread"))
}

fn sim() -> SimConfig {
    SimConfig {
        limits: LIMITS,
        step_time: Duration::ZERO,
        samples: Samples::Cheaply,
        fails_at: None,
    }
}

fn request(max_tokens: u32) -> NewRequest {
    NewRequest {
        transfer: Transfer::None,
        constraint: None,
        prompt: Arc::from([1, 2, 3].as_slice()),
        params: Arc::new(SamplingParams::greedy(max_tokens)),
        number: 0,
        priority: 0,
        cache_salt: None,
        session: None,
        reports_prefix: false,
        timeline: SharedTimeline::new(Moment::default(), TimelineRoom::default()),
    }
}

fn generate(handle: &EngineHandle, max_tokens: u32) -> Generation {
    let mut place = handle.reserve(1).expect("there is room");
    place.start(request(max_tokens)).expect("the engine lives")
}

/// All events up to the end.
async fn events(mut generation: Generation) -> Vec<Generated> {
    let mut all = Vec::new();
    while let Some(event) = generation.next().await {
        all.push(event);
    }
    all
}

fn ended(reason: FinishReason) -> Generated {
    Generated::End(Finish { reason, stop: None })
}

#[tokio::test]
async fn tokens_come_in_order_and_the_thread_stops_when_told() {
    let (handle, thread) = start(sim(), 8);
    let all = events(generate(&handle, 5)).await;
    assert_eq!(all[0], Generated::Prompt { cached: 0, logprobs: None });
    assert_eq!(all.len(), 6);
    let length = Finish { reason: FinishReason::Length, stop: None };
    assert!(matches!(&all[5], Generated::Token { finish: Some(f), .. } if *f == length));
    let tokens = |all: &[Generated]| -> Vec<Token> {
        let token = |event: &Generated| match event {
            Generated::Token { token, .. } => Some(*token),
            _ => None,
        };
        all.iter().filter_map(token).collect()
    };
    let again = events(generate(&handle, 5)).await;
    assert_eq!(tokens(&all), tokens(&again), "the same request, the same tokens");
    generate(&handle, 5).finish(FinishReason::Stop);
    assert_eq!(handle.status().counters.finished(FinishReason::Stop), 1);
    handle.stop();
    thread.join().unwrap().unwrap();
    assert_eq!(handle.in_flight(), 0);
}

#[tokio::test]
async fn prompts_without_a_first_token_are_bounded() {
    let config = EngineConfig { max_queued_tokens: 3, ..config(9) };
    let (core, handle) = Core::new(config, Box::new(SimBackend::new(sim())), Clock::system());
    let _thread = spawn(core).expect("a thread");
    let mut first = generate(&handle, 2);
    assert_eq!(handle.reserve(1).err(), Some(Refused::Backlog));
    while !matches!(first.next().await, Some(Generated::Token { .. })) {}
    let dropped = generate(&handle, 2);
    assert_eq!(handle.reserve(1).err(), Some(Refused::Backlog));
    drop(dropped);
    drop(handle.reserve(1).expect("its prompt no longer waits"));
    assert_eq!(handle.in_flight(), 1, "a refusal takes no place");
    let counters = &handle.status().counters;
    assert_eq!(counters.rejected_tokens.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[tokio::test]
async fn places_are_bounded_and_given_back() {
    let (handle, _thread) = start(sim(), 2);
    let reserved = handle.reserve(2).expect("two places");
    assert_eq!(handle.reserve(1).err(), Some(Refused::Full));
    drop(reserved);
    let generation = generate(&handle, 1);
    assert_eq!(handle.in_flight(), 1);
    events(generation).await;
    assert_eq!(handle.in_flight(), 0);
    handle.stop();
}

#[tokio::test]
async fn a_dropped_generation_frees_its_blocks() {
    let slow = SimConfig { step_time: Duration::from_millis(1), ..sim() };
    let (handle, thread) = start(slow, 8);
    let mut generation = generate(&handle, 4000);
    generation.next().await.expect("it has started");
    drop(generation);
    handle.stop();
    thread.join().unwrap().unwrap();
    let gauges = &handle.status().gauges;
    assert_eq!(gauges.kv_used_blocks.load(std::sync::atomic::Ordering::Relaxed), 0);
    assert!(handle.status().counters.steps.load(std::sync::atomic::Ordering::Relaxed) < 4000);
}

#[tokio::test]
async fn abort_all_ends_what_runs_and_what_comes_later() {
    let slow = SimConfig { step_time: Duration::from_millis(1), ..sim() };
    let (handle, _thread) = start(slow, 8);
    let mut generation = generate(&handle, 4000);
    generation.next().await.expect("it has started");
    handle.abort_all();
    assert_eq!(events(generation).await.last(), Some(&ended(FinishReason::Abort)));
    assert_eq!(events(generate(&handle, 5)).await, [ended(FinishReason::Abort)]);
    handle.stop();
}

#[tokio::test]
async fn a_failed_device_is_told_to_everyone() {
    let (handle, thread) = start(SimConfig { fails_at: Some(3), ..sim() }, 8);
    let all = events(generate(&handle, 100)).await;
    assert_eq!(all.last(), Some(&ended(FinishReason::Error)));
    assert!(thread.join().unwrap().unwrap_err().to_string().contains("told to fail"));
    assert!(handle.status().is_dead());
    assert_eq!(handle.reserve(1).err(), Some(Refused::Dead));
}

#[tokio::test]
async fn a_step_that_does_not_end_shows_as_a_stall() {
    let slow = SimConfig { step_time: Duration::from_millis(20), ..sim() };
    let (handle, _thread) = start(slow, 8);
    assert_eq!(handle.status().stalled_for(), Duration::ZERO, "idle is not a stall");
    let mut generation = generate(&handle, 50);
    generation.next().await.expect("it has started");
    while handle.status().stalled_for() < Duration::from_millis(10) {
        tokio::task::yield_now().await;
    }
    drop(generation);
    handle.stop();
}

#[test]
fn a_client_that_goes_away_costs_no_further_step() {
    let (mut core, handle) =
        Core::new(config(8), Box::new(SimBackend::new(sim())), Clock::manual());
    let (gone, stays) = (generate(&handle, 4000), generate(&handle, 4000));
    for _ in 0..10 {
        assert_eq!(core.turn().expect("the device works"), Turn::Stepped);
    }
    let held = LIMITS.num_blocks - core.kv.pool().num_free();
    drop(gone);
    core.turn().expect("the device works");
    assert_eq!(LIMITS.num_blocks - core.kv.pool().num_free(), held / 2);
    drop(stays);
    assert_eq!(core.turn().expect("the device works"), Turn::Idle, "nothing is left to compute");
    assert_eq!(core.kv.pool().num_free(), LIMITS.num_blocks);
}

#[test]
fn what_a_peer_will_read_is_not_written_to_by_a_step_ahead() {
    let runs_ahead = |transfer| {
        let backend = SimBackend::new(SimConfig { samples: Samples::Ahead, ..sim() });
        let (mut core, handle) = Core::new(config(8), Box::new(backend), Clock::manual());
        let mut place = handle.reserve(1).expect("there is room");
        let new = NewRequest { transfer, ..request(5) };
        let _generation = place.start(new).expect("the engine lives");
        let mut turns = (0..4).map(|_| {
            assert_eq!(core.turn().expect("the device works"), Turn::Stepped);
            core.ahead.submitted
        });
        turns.any(|ahead| ahead)
    };
    assert!(runs_ahead(Transfer::None));
    assert!(!runs_ahead(Transfer::Lease("a".into())));
}

#[tokio::test]
async fn refusing_newcomers_lets_what_runs_go_on() {
    let (handle, _thread) = start(sim(), 8);
    let running = generate(&handle, 500);
    handle.refuse_new();
    assert_eq!(events(generate(&handle, 5)).await, [ended(FinishReason::Abort)]);
    assert_eq!(events(running).await.len(), 501);
    handle.stop();
}

/// The simulated device, and what it was asked for: how many steps were under way, and for each
/// row how it is drawn and what is told with it.
struct Asked {
    device: SimBackend,
    under_way: usize,
    log: Log,
}

type Log = Arc<Mutex<Vec<(usize, Vec<Option<Option<u32>>>)>>>;

impl Backend for Asked {
    fn limits(&self) -> &Limits {
        self.device.limits()
    }

    fn runs_ahead(&self) -> bool {
        self.device.runs_ahead()
    }

    fn submit(&mut self, batch: &StepBatch) -> Result<(), BackendError> {
        let rows = batch.rows.iter().map(|row| row.draw.map(|draw| draw.report)).collect();
        self.log.lock().unwrap().push((self.under_way, rows));
        self.under_way += 1;
        self.device.submit(batch)
    }

    fn collect(&mut self, sink: &mut dyn RowSink) -> Result<StepTiming, BackendError> {
        self.under_way -= 1;
        self.device.collect(sink)
    }
}

/// What one generation of a few tokens asks the device for: the rows of all steps in order, and
/// whether any step was submitted ahead.
async fn asked(
    change: impl FnOnce(&mut SamplingParams),
    mode: LogprobsMode,
) -> (Vec<Option<Option<u32>>>, bool) {
    let log = Log::default();
    let device = SimBackend::new(SimConfig { samples: Samples::Ahead, ..sim() });
    let backend = Box::new(Asked { device, under_way: 0, log: log.clone() });
    let config = EngineConfig { logprobs: mode, ..config(8) };
    let (core, handle) = Core::new(config, backend, Clock::system());
    let thread = spawn(core).expect("a thread");
    let mut new = request(6);
    let mut params = SamplingParams::greedy(6);
    change(&mut params);
    new.params = Arc::new(params);
    let generation = handle.reserve(1).expect("there is room").start(new).expect("it lives");
    assert_eq!(events(generation).await.len(), 7);
    handle.stop();
    thread.join().expect("no panic").expect("no failure");
    let log = std::mem::take(&mut *log.lock().unwrap());
    let ahead = log.iter().any(|(under_way, _)| *under_way > 0);
    (log.into_iter().flat_map(|(_, rows)| rows).collect(), ahead)
}

#[tokio::test]
async fn the_device_tells_log_probabilities_where_it_can() {
    let raw = LogprobsMode::RawLogprobs;
    let (rows, ahead) = asked(|params| params.logprobs = Some(3), raw).await;
    assert!(ahead && rows.iter().all(|row| *row == Some(Some(3))), "{rows:?}");
    // All of them, too many, certain ones, and others than those of the row as it is.
    let all = asked(|params| params.logprobs = Some(-1), raw).await;
    let many = asked(|params| params.logprobs = Some(33), raw).await;
    let change = |params: &mut SamplingParams| {
        params.logprobs = Some(2);
        params.logprob_token_ids = Some([5, 6].into());
    };
    let certain = asked(change, raw).await;
    let processed = LogprobsMode::ProcessedLogprobs;
    let others = asked(|params| params.logprobs = Some(3), processed).await;
    for (rows, ahead) in [all, many, certain, others] {
        assert!(!ahead && rows.iter().all(Option::is_none), "{rows:?}");
    }
    // The host scores the prompt; then it is needed no more.
    let (rows, ahead) = asked(|params| params.prompt_logprobs = Some(1), raw).await;
    assert!(ahead, "{rows:?}");
    assert_eq!(rows[..3], [None; 3]);
    assert!(rows[3..].iter().all(|row| *row == Some(None)), "{rows:?}");
}
