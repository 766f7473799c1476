//! The seeded simulator: the real loop, scheduler and KV bookkeeping on the simulated backend,
//! with arrivals, aborts, preemptions and block shortages drawn from a seed.
//!
//! After every turn all invariants are checked; every generation that ends must equal what the
//! same request gives alone. A failing seed prints how to replay it:
//! `GLASSBOX_SIM_SEED=<seed> cargo test --release simulation`; GLASSBOX_SIM_SEEDS sets how many
//! are run.

use super::{
    Core, EngineConfig, EngineHandle, Generation, NewRequest, PrefixCaching, Transfer, Turn,
};
use crate::runner::sim::{Samples, SimBackend, SimConfig, context_hash};
use crate::runner::{Backend, BackendError, Limits, RowSink, StepBatch, StepTiming};
use crate::scheduler::SchedulerConfig;
use crate::types::{
    BlockHash, Clock, Generated, HashAlgo, LogprobsMode, Moment, Policy, Repetition,
    SamplingParams, SharedTimeline, TimelineRoom, Token,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

mod account;
mod alone;
mod mirror;

use account::Account;
use alone::{Outcome, alone};
use mirror::Mirror;

/// What log-probabilities are; half of all engines have the mode in which a device may tell them.
const MODES: [LogprobsMode; 6] = [
    LogprobsMode::RawLogprobs,
    LogprobsMode::RawLogprobs,
    LogprobsMode::RawLogprobs,
    LogprobsMode::RawLogits,
    LogprobsMode::ProcessedLogprobs,
    LogprobsMode::ProcessedLogits,
];

/// Deterministic choices.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// In `from..=to`.
    fn range(&mut self, from: usize, to: usize) -> usize {
        from + (self.next() % (to - from + 1) as u64) as usize
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.range(0, from.len() - 1)]
    }
}

/// The backend, with a second way in for the checks; a step takes simulated time.
struct Watched {
    device: Arc<Mutex<SimBackend>>,
    limits: Limits,
    clock: Clock,
}

impl Backend for Watched {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn runs_ahead(&self) -> bool {
        self.device.lock().unwrap().runs_ahead()
    }

    fn submit(&mut self, batch: &StepBatch) -> Result<(), BackendError> {
        self.clock.advance(Duration::from_nanos(3));
        self.device.lock().unwrap().submit(batch)
    }

    fn collect(&mut self, sink: &mut dyn RowSink) -> Result<StepTiming, BackendError> {
        self.clock.advance(Duration::from_nanos(1000 + self.clock.now().nanos() % 517));
        self.device.lock().unwrap().collect(sink)
    }
}

fn limits(dice: &mut Dice) -> Limits {
    let block_size = dice.pick(&[1, 2, 4, 16]);
    let num_blocks = dice.range(2, 24).max(16usize.div_ceil(block_size));
    let max_seqs = dice.range(1, 8);
    Limits {
        max_tokens: dice.range(max_seqs, 40),
        max_seqs,
        max_blocks_per_seq: num_blocks,
        num_blocks,
        block_size,
        vocab_size: dice.range(2, 24),
    }
}

fn config(dice: &mut Dice, limits: &mut Limits) -> EngineConfig {
    let capacity = limits.num_blocks * limits.block_size;
    let max_model_len = dice.range(8.min(capacity), capacity.min(96));
    let chunked_prefill = dice.chance(80);
    if !chunked_prefill {
        limits.max_tokens = limits.max_tokens.max(max_model_len);
    }
    let scheduler = SchedulerConfig {
        max_num_batched_tokens: limits.max_tokens,
        max_num_seqs: limits.max_seqs,
        policy: dice.pick(&[Policy::Fcfs, Policy::Priority]),
        chunked_prefill,
        long_prefill_token_threshold: dice.pick(&[0, 0, 3, 10]),
        adaptive_long_prefill: false,
        reserve_full_prompt: dice.chance(70),
        watermark: dice.pick(&[0.0, 0.0, 0.1]),
    };
    let caching = PrefixCaching { algo: HashAlgo::Xxhash, hash_seed: Some("0".to_owned()) };
    let prefix_caching = dice.chance(85).then_some(caching);
    EngineConfig {
        scheduler,
        max_model_len,
        prefix_caching,
        max_in_flight: 64,
        max_queued_tokens: usize::MAX,
        seed: 0,
        iteration_buckets: vec![1.0, 8.0],
        logprobs: dice.pick(&MODES),
        observation: Default::default(),
    }
}

/// A request whose prompt shares prefixes with others of the same seed.
fn request(dice: &mut Dice, limits: &Limits, max_model_len: usize, now: Moment) -> NewRequest {
    let len = dice.range(1, max_model_len - 1);
    let family = dice.range(0, 1) as u64;
    let own_from = dice.range(0, len);
    let token = |dice: &mut Dice, at: usize| match at < own_from {
        true => (context_hash(family, at as Token) % limits.vocab_size as u64) as Token,
        false => (dice.next() % limits.vocab_size as u64) as Token,
    };
    let prompt: Arc<[Token]> = (0..len).map(|at| token(dice, at)).collect();
    let mut params = SamplingParams::greedy(dice.range(1, max_model_len - len) as u32);
    if dice.chance(60) {
        params.temperature = 1.0;
        params.seed = Some(dice.next() as i64);
        params.top_k = dice.range(0, 4) as u32;
        params.repetition_penalty = dice.pick(&[1.0, 1.2]);
    }
    // All, more than a device reports, and few.
    params.logprobs = dice.chance(30).then(|| dice.pick(&[-1, 40, 0, 2]));
    params.logprob_token_ids = dice.chance(20).then(|| [3, 1].into());
    params.prompt_logprobs = dice.chance(15).then_some(1);
    params.repetition = dice.chance(20).then(|| Repetition {
        min_pattern: dice.range(1, 2),
        max_pattern: dice.range(1, 4),
        min_count: dice.range(2, 3),
    });
    if dice.chance(30) {
        params.eos = Some(0);
        params.stop_token_ids = [1].into();
        params.min_tokens = dice.range(0, params.max_tokens as usize) as u32;
    }
    let room = TimelineRoom {
        intervals: dice.pick(&[0, 3, 64]),
        prefill_steps: dice.pick(&[0, 2, 64]),
        decode_steps: dice.pick(&[0, 2, 64]),
    };
    let cache_salt = dice.chance(20).then(|| Arc::from("tenant"));
    NewRequest {
        transfer: Transfer::None,
        constraint: None,
        prompt,
        params: Arc::new(params),
        number: dice.range(0, 2) as u32,
        priority: dice.range(0, 2) as i64,
        cache_salt,
        session: None,
        reports_prefix: dice.chance(10),
        timeline: SharedTimeline::new(now, room),
    }
}

/// A generation under way, and what it must come to.
struct Client {
    generation: Generation,
    expected: Outcome,
    heard: Outcome,
    account: Account,
}

impl Client {
    /// Takes what has arrived; true once the end has, which must be as expected.
    fn listen(&mut self) -> bool {
        while let Some(event) = self.generation.try_next() {
            match event {
                Generated::Prompt { logprobs, .. } => {
                    assert!(self.heard.tokens.is_empty());
                    self.heard.prompt_logprobs = logprobs;
                }
                Generated::Token { token, logprobs, at, finish } => {
                    self.account.tokens.push(at);
                    self.heard.tokens.push((token, logprobs.map(|boxed| *boxed)));
                    self.heard.finish = finish.map(|finish| (finish.reason, finish.stop));
                }
                Generated::Leased(_) => panic!("nothing is leased here"),
                Generated::End(finish) => panic!("ended by the server: {finish:?}"),
            }
        }
        let over = self.heard.finish.is_some();
        if over {
            assert_eq!(self.heard, self.expected);
            self.account.check(*self.account.tokens.last().expect("a token came"));
        }
        over
    }
}

/// One simulated life of an engine.
struct World {
    dice: Dice,
    limits: Limits,
    max_model_len: usize,
    mode: LogprobsMode,
    core: Core,
    handle: EngineHandle,
    device: Arc<Mutex<SimBackend>>,
    clients: Vec<Client>,
    /// Which context each block hash stands for, as first seen.
    contents: HashMap<BlockHash, u64>,
    mirror: Mirror,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut limits = limits(&mut dice);
        let config = config(&mut dice, &mut limits);
        let (max_model_len, mode) = (config.max_model_len, config.logprobs);
        let samples = dice.pick(&[Samples::No, Samples::Ahead]);
        let sim = SimConfig { limits, step_time: Duration::ZERO, samples, fails_at: None };
        let device = Arc::new(Mutex::new(SimBackend::new(sim)));
        let clock = Clock::manual();
        let backend = Watched { device: device.clone(), limits, clock: clock.clone() };
        let (mut core, handle) = Core::new(config, Box::new(backend), clock);
        let mirror = Mirror::default();
        core.tell_kv_events(Box::new(mirror.clone()));
        let (clients, contents) = Default::default();
        Self { dice, limits, max_model_len, mode, core, handle, device, clients, contents, mirror }
    }

    fn arrive(&mut self) {
        let now = self.handle.clock().now();
        let request = request(&mut self.dice, &self.limits, self.max_model_len, now);
        let expected = alone(&request, &self.limits, self.mode);
        let account = Account { timeline: request.timeline.clone(), tokens: Vec::new() };
        let mut place = self.handle.reserve(1).expect("fewer clients than places");
        let generation = place.start(request).expect("the engine lives");
        self.clients.push(Client { generation, expected, heard: Outcome::default(), account });
    }

    fn turn(&mut self) -> Turn {
        self.handle.clock().advance(Duration::from_nanos(self.dice.next() % 50));
        let turn = self.core.turn().expect("the device works");
        self.core.check();
        self.check_contents();
        self.clients.retain_mut(|client| !client.listen());
        turn
    }

    /// Every cached block holds the KV that its hash says.
    fn check_contents(&mut self) {
        let device = self.device.lock().unwrap();
        self.mirror.check(&self.core.kv, &device);
        for block in 0..self.limits.num_blocks as u32 {
            if let Some(hash) = self.core.kv.pool().hash(block) {
                let context = device.context_at_end(block);
                assert_eq!(*self.contents.entry(hash).or_insert(context), context);
            }
        }
    }

    fn live(&mut self) {
        let turns = self.dice.range(5, 60);
        let arrivals = self.dice.range(5, 60) as u64;
        for _ in 0..turns {
            while self.clients.len() < 24 && self.dice.chance(arrivals) {
                self.arrive();
            }
            if !self.clients.is_empty() && self.dice.chance(8) {
                let gone = self.clients.swap_remove(self.dice.range(0, self.clients.len() - 1));
                gone.account.check(self.handle.clock().now());
            }
            if self.dice.chance(2) {
                self.core.settle().expect("the device works");
                let all_free = self.core.kv.pool().num_free() == self.limits.num_blocks;
                let preempt = self.dice.chance(30);
                assert_eq!(self.core.reset_prefix_cache(preempt), all_free || preempt);
            }
            self.turn();
        }
        // Nobody starves: without arrivals everyone ends.
        for _ in 0..20_000 {
            if self.turn() == Turn::Idle {
                assert!(self.clients.is_empty(), "idle with {} clients", self.clients.len());
                assert_eq!(self.core.kv.pool().num_free(), self.limits.num_blocks, "a leak");
                assert_eq!(self.handle.in_flight(), 0);
                return;
            }
        }
        panic!("{} clients still wait after 20,000 turns", self.clients.len());
    }
}

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn simulation_of_random_lives() {
    let seeds = match from_env("GLASSBOX_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..from_env("GLASSBOX_SIM_SEEDS").unwrap_or(10_000),
    };
    let mut preempted = 0;
    let mut hits = 0;
    for seed in seeds.clone() {
        let life = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            world.live();
            let counters = &world.handle.status().counters;
            let load = |counter: &std::sync::atomic::AtomicU64| {
                counter.load(std::sync::atomic::Ordering::Relaxed)
            };
            (load(&counters.preemptions), load(&counters.prefix_cache_hits))
        });
        match life {
            Ok(counts) => (preempted, hits) = (preempted + counts.0, hits + counts.1),
            Err(_) => {
                panic!("replay with: GLASSBOX_SIM_SEED={seed} cargo test --release simulation")
            }
        }
    }
    if seeds.end - seeds.start >= 1000 {
        assert!(preempted > 1000 && hits > 1000, "the interesting paths were taken");
    }
}
