//! The same bits whatever the company: a request's tokens and log-probabilities are equal alone,
//! in any batch, with any chunking, after a prefix hit and after preemption, as bits.
//!
//! The real engine loop and the CPU backend run seeded random schedules on a small random model;
//! what each request gives in company is compared with what it gives alone.

use glassbox::engine::{
    Core, EngineConfig, EngineHandle, Generation, NewRequest, PrefixCaching, Transfer,
};
use glassbox::model::{Dims, DummyWeights};
use glassbox::runner::Limits;
use glassbox::runner::cpu::{CpuBackend, Isa};
use glassbox::scheduler::SchedulerConfig;
use glassbox::types::{
    Clock, Generated, HashAlgo, Policy, SamplingParams, SharedTimeline, TimelineRoom, Token,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const MAX_MODEL_LEN: usize = 160;

fn dims() -> Dims {
    Dims {
        hidden: 64,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 32,
        intermediate: 96,
        vocab: 256,
        rms_eps: 1e-6,
        rope_theta: 1e6,
        rope_scaling: None,
        tied: true,
        max_positions: 4096,
    }
}

/// How the engine is set up; everything that must not show in the results.
#[derive(Clone, Debug)]
struct Setting {
    block_size: usize,
    num_blocks: usize,
    max_num_batched_tokens: usize,
    max_num_seqs: usize,
    prefix_caching: bool,
    threads: usize,
    isa: Isa,
}

impl Setting {
    /// Room for everything, one request at a time, in one chunk.
    fn alone(isa: Isa) -> Self {
        Self {
            block_size: 16,
            num_blocks: MAX_MODEL_LEN / 16,
            max_num_batched_tokens: MAX_MODEL_LEN,
            max_num_seqs: 1,
            prefix_caching: false,
            threads: 1,
            isa,
        }
    }

    fn engine(&self) -> (Core, EngineHandle) {
        let limits = Limits {
            max_tokens: self.max_num_batched_tokens,
            max_seqs: self.max_num_seqs,
            max_blocks_per_seq: MAX_MODEL_LEN.div_ceil(self.block_size),
            num_blocks: self.num_blocks,
            block_size: self.block_size,
            vocab_size: dims().vocab,
        };
        let weights = DummyWeights::new(&dims(), 7);
        let backend = CpuBackend::new(&dims(), &weights, limits, self.threads, Some(self.isa))
            .expect("a small model fits");
        let caching = PrefixCaching { algo: HashAlgo::Sha256, hash_seed: None };
        let scheduler = SchedulerConfig {
            max_num_batched_tokens: self.max_num_batched_tokens,
            max_num_seqs: self.max_num_seqs,
            policy: Policy::Fcfs,
            chunked_prefill: true,
            long_prefill_token_threshold: 0,
            adaptive_long_prefill: false,
            reserve_full_prompt: false,
            watermark: 0.0,
        };
        let config = EngineConfig {
            scheduler,
            max_model_len: MAX_MODEL_LEN,
            prefix_caching: self.prefix_caching.then_some(caching),
            max_in_flight: 64,
            max_queued_tokens: usize::MAX,
            seed: 0,
            iteration_buckets: Vec::new(),
            logprobs: Default::default(),
            observation: Default::default(),
        };
        Core::new(config, Box::new(backend), Clock::manual())
    }
}

/// One request; everything that may show in the results.
#[derive(Clone, Debug)]
struct Ask {
    prompt: Vec<Token>,
    max_tokens: u32,
    seed: Option<i64>,
    prompt_logprobs: bool,
}

impl Ask {
    fn start(&self, handle: &EngineHandle) -> Generation {
        let mut params = SamplingParams::greedy(self.max_tokens);
        params.temperature = if self.seed.is_some() { 1.0 } else { 0.0 };
        params.seed = self.seed;
        params.logprobs = Some(3);
        params.prompt_logprobs = self.prompt_logprobs.then_some(1);
        let request = NewRequest {
            transfer: Transfer::None,
            constraint: None,
            prompt: Arc::from(self.prompt.as_slice()),
            params: Arc::new(params),
            number: 0,
            priority: 0,
            cache_salt: None,
            session: None,
            reports_prefix: false,
            timeline: SharedTimeline::new(handle.clock().now(), TimelineRoom::default()),
        };
        handle.reserve(1).and_then(|mut place| place.start(request)).expect("there is room")
    }
}

/// Everything a generation said but how much of it was cached, with floats as bits.
fn heard(generation: &mut Generation) -> Vec<String> {
    let bits = |logprobs: &glassbox::types::TokenLogprobs| {
        let top: Vec<_> = logprobs.top.iter().map(|&(t, p)| (t, p.to_bits())).collect();
        format!("{} {:08x} {} {top:?}", logprobs.token, logprobs.logprob.to_bits(), logprobs.rank)
    };
    let mut said = Vec::new();
    while let Some(event) = generation.try_next() {
        match event {
            Generated::Prompt { logprobs, .. } => {
                said.extend(logprobs.iter().flatten().map(bits));
            }
            Generated::Token { token, logprobs, finish, .. } => {
                let logprobs = logprobs.as_deref().map(bits);
                said.push(format!("{token} {logprobs:?} {finish:?}"));
            }
            Generated::Leased(_) => panic!("nothing is leased here"),
            Generated::End(finish) => panic!("ended by the engine: {finish:?}"),
        }
    }
    said
}

fn run(core: &mut Core) {
    use glassbox::engine::Turn;
    while core.turn().expect("the CPU does not fail") == Turn::Stepped {}
}

fn ask() -> impl Strategy<Value = Ask> {
    // Prompts of the same family share a prefix of random length.
    let prompt = (0u32..2, 1usize..100, 0usize..60).prop_map(|(family, len, shared)| {
        let token = |at: usize| {
            let own = if at < shared { family } else { 2 + len as u32 * 31 };
            (own.wrapping_mul(2_654_435_761).wrapping_add(at as u32 * 40_503) >> 5) % 256
        };
        (0..len).map(token).collect()
    });
    (prompt, 1u32..50, proptest::option::of(0i64..1000), proptest::bool::weighted(0.2)).prop_map(
        |(prompt, max_tokens, seed, prompt_logprobs)| Ask {
            prompt,
            max_tokens,
            seed,
            prompt_logprobs,
        },
    )
}

fn setting() -> impl Strategy<Value = Setting> {
    let isas: Vec<Isa> = Isa::available().collect();
    let block_sizes = proptest::sample::select(vec![16usize, 32, 64]);
    (block_sizes, 1usize..80, 1usize..9, any::<bool>(), 1usize..3, 0usize..8).prop_flat_map(
        move |(block_size, budget, seqs, prefix_caching, threads, spare)| {
            proptest::sample::select(isas.clone()).prop_map(move |isa| Setting {
                block_size,
                // Little more than one sequence of full length: preemption is common.
                num_blocks: MAX_MODEL_LEN.div_ceil(block_size) + spare,
                max_num_batched_tokens: budget.max(seqs),
                max_num_seqs: seqs,
                prefix_caching,
                threads,
                isa,
            })
        },
    )
}

#[test]
fn the_same_bits_whatever_the_company() {
    let cases = 60;
    let (preempted, hits) = (Cell::new(0), Cell::new(0));
    let strategy = (setting(), proptest::collection::vec((ask(), 0usize..20), 2..10));
    let config = Config { cases, rng_seed: RngSeed::Fixed(20), ..Config::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let outcome = runner.run(&strategy, |(setting, asks)| {
        let (mut alone, alone_handle) = Setting::alone(setting.isa).engine();
        let (mut core, handle) = setting.engine();
        let mut company = Vec::new();
        for (ask, steps_before) in &asks {
            for _ in 0..*steps_before {
                core.turn().expect("the CPU does not fail");
            }
            company.push(ask.start(&handle));
        }
        run(&mut core);
        core.check();
        for ((ask, _), generation) in asks.iter().zip(&mut company) {
            let mut expected = ask.start(&alone_handle);
            run(&mut alone);
            prop_assert_eq!(heard(generation), heard(&mut expected), "{:?}", ask);
        }
        let counters = &handle.status().counters;
        preempted.set(preempted.get() + counters.preemptions.load(Relaxed));
        hits.set(hits.get() + counters.prefix_cache_hits.load(Relaxed));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let (preempted, hits) = (preempted.get(), hits.get());
    assert!(preempted > 20 && hits > 100, "{preempted} preemptions, {hits} cached tokens");
}
