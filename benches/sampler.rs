//! What sampling one row of Qwen3's vocabulary costs: `cargo bench --bench sampler`.

use glassbox::sampler::{Sampler, SamplerState};
use glassbox::types::SamplingParams;
use std::hint::black_box;
use std::time::{Duration, Instant};

const VOCAB: usize = 151_936;
const ROUNDS: usize = 301;

fn main() {
    let greedy = SamplingParams::greedy(1);
    let random = SamplingParams { temperature: 0.6, seed: Some(1), ..greedy.clone() };
    let qwen3 = SamplingParams { top_k: 20, top_p: 0.95, ..random.clone() };
    let cases = [
        ("greedy", greedy.clone()),
        ("temperature", random.clone()),
        ("temperature, top_k 20, top_p 0.95", qwen3.clone()),
        ("temperature, top_p 0.95", SamplingParams { top_p: 0.95, ..random.clone() }),
        ("temperature, min_p 0.05", SamplingParams { min_p: 0.05, ..random.clone() }),
        ("greedy, 20 logprobs", SamplingParams { logprobs: Some(20), ..greedy.clone() }),
        ("greedy, all logprobs", SamplingParams { logprobs: Some(-1), ..greedy.clone() }),
        ("greedy, repetition penalty", SamplingParams { repetition_penalty: 1.1, ..greedy }),
    ];
    for (name, params) in cases {
        report(name, &params);
    }
}

/// Prints the median time of a row; copying the row is not part of it.
fn report(name: &str, params: &SamplingParams) {
    let row = random_row();
    let prompt: Vec<u32> = (0..1000).map(|i| i * 97).collect();
    let state = SamplerState::new(params, &prompt, VOCAB, 0);
    let mut sampler = Sampler::new(VOCAB);
    let mut logits = row.clone();
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            logits.copy_from_slice(&row);
            let start = Instant::now();
            black_box(sampler.sample(params, &state, &[], black_box(&mut logits)));
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("{name:<36} {:>9.1} µs", times[ROUNDS / 2].as_secs_f64() * 1e6);
}

/// About normal with a standard deviation of 2.5, like the logits of a language model.
fn random_row() -> Vec<f32> {
    let mut state = 1u64;
    let mut uniform = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..VOCAB).map(|_| (0..12).map(|_| uniform()).sum::<f32>() * 2.5).collect()
}
