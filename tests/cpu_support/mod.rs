//! What the tests of backends share: seeded weights, the forward pass as plain loops, and a
//! driver that feeds a backend steps.

#![allow(dead_code)] // Each test binary uses a part.

pub mod allocations;
pub mod reference;
pub mod schedule;

use glassbox::model::{Dims, WeightError, Weights};
use glassbox::runner::cpu::Isa;
use glassbox::runner::{Backend, Limits, RowSink, StepBatch};
use glassbox::types::{Token, TokenLogprobs};
use half::bf16;
use std::collections::HashMap;

/// splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// In [-1, 1).
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// Tensors in memory.
pub struct Tensors(pub HashMap<String, (Vec<usize>, Vec<bf16>)>);

impl Weights for Tensors {
    fn check(&self, name: &str, shape: &[usize]) -> Result<(), WeightError> {
        let (place, name) = ("memory".to_owned(), name.to_owned());
        match self.0.get(&name) {
            None => Err(WeightError::Missing { place, name }),
            Some((found, _)) if found != shape => {
                let (found, wanted) = (found.clone(), shape.to_vec());
                Err(WeightError::Shape { place, name, found, wanted })
            }
            Some(_) => Ok(()),
        }
    }

    fn read_rows(&self, name: &str, first_row: usize, out: &mut [bf16]) -> Result<(), WeightError> {
        let (shape, data) = &self.0[name];
        let start = first_row * shape[shape.len() - 1];
        out.copy_from_slice(&data[start..start + out.len()]);
        Ok(())
    }
}

impl Tensors {
    /// A model of random weights, of a size that keeps activations around 1.
    pub fn random(dims: &Dims, seed: u64) -> Self {
        let mut tensors = Self(HashMap::new());
        let mut random = Random(seed);
        let (d, h) = (dims.head_dim, dims.hidden);
        let (q, kv) = (dims.heads * d, dims.kv_heads * d);
        tensors.add("model.embed_tokens.weight", vec![dims.vocab, h], 1.0, &mut random);
        if !dims.tied {
            tensors.add("lm_head.weight", vec![dims.vocab, h], 0.1, &mut random);
        }
        tensors.add("model.norm.weight", vec![h], 0.0, &mut random);
        for layer in 0..dims.layers {
            let parts = [
                ("self_attn.q_proj", vec![q, h]),
                ("self_attn.k_proj", vec![kv, h]),
                ("self_attn.v_proj", vec![kv, h]),
                ("self_attn.o_proj", vec![h, q]),
                ("self_attn.q_norm", vec![d]),
                ("self_attn.k_norm", vec![d]),
                ("input_layernorm", vec![h]),
                ("post_attention_layernorm", vec![h]),
                ("mlp.gate_proj", vec![dims.intermediate, h]),
                ("mlp.up_proj", vec![dims.intermediate, h]),
                ("mlp.down_proj", vec![h, dims.intermediate]),
            ];
            for (part, shape) in parts {
                let scale = 1.7 / (shape[shape.len() - 1] as f32).sqrt();
                let name = format!("model.layers.{layer}.{part}.weight");
                tensors.add(&name, shape, scale, &mut random);
            }
        }
        tensors
    }

    /// Uniform numbers up to `scale`; a vector (a norm) gets numbers around 1 instead.
    fn add(&mut self, name: &str, shape: Vec<usize>, scale: f32, random: &mut Random) {
        let norm = shape.len() == 1;
        let element = |_| {
            let x = random.unit();
            bf16::from_f32(if norm { 1.0 + 0.3 * x } else { scale * x })
        };
        let data = (0..shape.iter().product()).map(element).collect();
        self.0.insert(name.to_owned(), (shape, data));
    }

    pub fn f32(&self, name: &str) -> Vec<f32> {
        self.0[name].1.iter().map(|x| x.to_f32()).collect()
    }
}

/// A small shape; tests change what they are about.
pub fn small() -> Dims {
    Dims {
        hidden: 64,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 32,
        intermediate: 96,
        vocab: 100,
        rms_eps: 1e-6,
        rope_theta: 10_000.0,
        rope_scaling: None,
        tied: true,
        max_positions: 4096,
    }
}

pub fn limits(dims: &Dims, max_tokens: usize, block_size: usize, blocks: usize) -> Limits {
    Limits {
        max_tokens,
        max_seqs: 16,
        max_blocks_per_seq: blocks,
        num_blocks: 4 * blocks,
        block_size,
        vocab_size: dims.vocab,
    }
}

/// Keeps every row of logits.
#[derive(Default)]
pub struct Collected(pub Vec<Vec<f32>>);

impl RowSink for Collected {
    fn logits(&mut self, row: usize, logits: &mut [f32]) {
        assert_eq!(row, self.0.len(), "rows come in ascending order");
        self.0.push(logits.to_vec());
    }

    fn sampled(&mut self, _row: usize, _token: Token) {
        panic!("logits were wanted");
    }

    fn reported(&mut self, _row: usize, _sampled: TokenLogprobs) {
        panic!("logits were wanted");
    }
}

/// Runs one step.
pub fn run(backend: &mut dyn Backend, batch: &StepBatch) -> Vec<Vec<f32>> {
    let mut sink = Collected::default();
    backend.submit(batch).unwrap();
    backend.collect(&mut sink).unwrap();
    sink.0
}

/// The logits of every position of `tokens`, from one step, in blocks from 0 up.
pub fn teacher_forced(backend: &mut dyn Backend, tokens: &[Token]) -> Vec<Vec<f32>> {
    let limits = *backend.limits();
    let blocks: Vec<u32> = (0..tokens.len().div_ceil(limits.block_size) as u32).collect();
    let mut batch = StepBatch::new(&limits);
    batch.push(tokens, 0, &blocks, tokens.len(), None);
    run(backend, &batch)
}

pub fn tokens(n: usize, vocab: usize, seed: u64) -> Vec<Token> {
    let mut random = Random(seed);
    (0..n).map(|_| random.below(vocab) as Token).collect()
}

pub fn isas() -> Vec<Isa> {
    Isa::available().collect()
}

/// The largest difference, and the largest number in `b`.
pub fn difference(a: &[f32], b: &[f32]) -> (f32, f32) {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    // A NaN anywhere must not pass for a small difference.
    let largest = |it: &mut dyn Iterator<Item = f32>| {
        it.fold(0.0, |m: f32, x| if x > m || x.is_nan() { x } else { m })
    };
    (largest(&mut differences.into_iter()), largest(&mut b.iter().map(|x| x.abs())))
}
