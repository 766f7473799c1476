//! What a step costs beside the model: messages, planning, blocks, batch building, delivery.
//!
//! The real loop runs on the simulated backend, which computes one hash a token, so nearly all of
//! the time is the engine's own. `cargo bench --bench engine`.

use glassbox::engine::{Core, EngineConfig, Generation, NewRequest, PrefixCaching, Transfer, Turn};
use glassbox::kv::BlockHasher;
use glassbox::runner::Limits;
use glassbox::runner::sim::{Samples, SimBackend, SimConfig};
use glassbox::scheduler::SchedulerConfig;
use glassbox::types::{Clock, HashAlgo, Policy, SamplingParams, SharedTimeline, TimelineRoom};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PROMPT: usize = 512;
const STEPS: usize = 400;

fn engine(seqs: usize) -> (Core, Vec<Generation>) {
    let limits = Limits {
        max_tokens: 8192,
        max_seqs: seqs,
        max_blocks_per_seq: 256,
        num_blocks: seqs * 80,
        block_size: 16,
        vocab_size: 151_936,
    };
    let scheduler = SchedulerConfig {
        max_num_batched_tokens: limits.max_tokens,
        max_num_seqs: seqs,
        policy: Policy::Fcfs,
        chunked_prefill: true,
        long_prefill_token_threshold: 0,
        adaptive_long_prefill: false,
        reserve_full_prompt: true,
        watermark: 0.0,
    };
    let caching = PrefixCaching { algo: HashAlgo::Sha256, hash_seed: None };
    let config = EngineConfig {
        scheduler,
        max_model_len: 4096,
        prefix_caching: Some(caching),
        max_in_flight: seqs,
        max_queued_tokens: usize::MAX,
        seed: 0,
        iteration_buckets: Vec::new(),
        logprobs: Default::default(),
        observation: Default::default(),
    };
    let sim =
        SimConfig { limits, step_time: Duration::ZERO, samples: Samples::Cheaply, fails_at: None };
    let (core, handle) = Core::new(config, Box::new(SimBackend::new(sim)), Clock::system());
    let mut places = handle.reserve(seqs).expect("room for all");
    let generations = (0..seqs)
        .map(|i| {
            let request = NewRequest {
                transfer: Transfer::None,
                constraint: None,
                prompt: (0..PROMPT as u32).map(|t| t * 7 + i as u32).collect(),
                params: Arc::new(SamplingParams::greedy(600)),
                number: 0,
                priority: 0,
                cache_salt: None,
                session: None,
                reports_prefix: false,
                timeline: SharedTimeline::new(handle.clock().now(), TimelineRoom::default()),
            };
            places.start(request).expect("the engine lives")
        })
        .collect();
    (core, generations)
}

fn decode_steps() {
    println!("decode: one step of the engine without a model, {STEPS} steps after the prefill");
    println!("{:>6} {:>12} {:>12}", "seqs", "us/step", "ns/token");
    for seqs in [1, 8, 32, 128] {
        let (mut core, mut generations) = engine(seqs);
        while generations.iter_mut().any(|generation| generation.try_next().is_none()) {
            assert_eq!(core.turn().expect("the device works"), Turn::Stepped);
        }
        let mut best = Duration::MAX;
        for _ in 0..4 {
            let start = Instant::now();
            for _ in 0..STEPS / 4 {
                core.turn().expect("the device works");
            }
            best = best.min(start.elapsed() / (STEPS as u32 / 4));
        }
        black_box(&generations);
        let per_step = best.as_secs_f64();
        println!("{seqs:>6} {:>12.2} {:>12.0}", per_step * 1e6, per_step * 1e9 / seqs as f64);
    }
}

fn block_hashes() {
    println!("\nblock hashes: one block of 16 tokens");
    println!("{:>12} {:>12}", "algorithm", "ns/block");
    let tokens: Vec<u32> = (0..16).map(|t| t * 9001).collect();
    for name in HashAlgo::NAMES {
        let mut hasher = BlockHasher::new(name.parse().expect("a name"), Some("0"));
        let mut hash = hasher.none_hash();
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let start = Instant::now();
            for _ in 0..20_000 {
                hash = hasher.block(Some(hash), black_box(&tokens), &[]);
            }
            best = best.min(start.elapsed().as_nanos() as f64 / 20_000.0);
        }
        black_box(hash);
        println!("{name:>12} {best:>12.0}");
    }
}

fn main() {
    decode_steps();
    block_hashes();
}
