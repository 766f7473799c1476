//! A model of Qwen3-0.6B's shape with seeded weights.

use glassbox::model::{Dims, WeightError, Weights};
use glassbox::runner::Limits;
use glassbox::runner::cpu::{CpuBackend, Isa};
use half::bf16;

/// Qwen3-0.6B's.
pub fn dims() -> Dims {
    Dims {
        hidden: 1024,
        layers: 28,
        heads: 16,
        kv_heads: 8,
        head_dim: 128,
        intermediate: 3072,
        vocab: 151_936,
        rms_eps: 1e-6,
        rope_theta: 1e6,
        rope_scaling: None,
        tied: true,
        max_positions: 40_960,
    }
}

/// Elements of one layer's matrices.
pub fn layer_elements() -> usize {
    let d = dims();
    let heads = d.heads * d.head_dim;
    let kv = d.kv_heads * d.head_dim;
    d.hidden * (2 * heads + 2 * kv + 3 * d.intermediate)
}

struct Seeded;

impl Weights for Seeded {
    fn check(&self, _name: &str, _shape: &[usize]) -> Result<(), WeightError> {
        Ok(())
    }

    fn read_rows(&self, name: &str, first_row: usize, out: &mut [bf16]) -> Result<(), WeightError> {
        let norm = name.ends_with("norm.weight");
        let mut state = 0x9e37_79b9_7f4a_7c15 ^ (name.len() + (first_row << 20)) as u64;
        for out in out {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Sign and mantissa of a number around 1/32.
            let bits = (state >> 48) as u16 & 0x807f;
            *out = if norm { bf16::ONE } else { bf16::from_bits(bits | 0x3d00) };
        }
        Ok(())
    }
}

/// A backend with room for 16 sequences of 2,048 tokens.
pub fn backend(threads: usize, isa: Option<Isa>) -> CpuBackend {
    let dims = dims();
    let limits = Limits {
        max_tokens: 2048,
        max_seqs: 16,
        max_blocks_per_seq: 64,
        num_blocks: 1024,
        block_size: 32,
        vocab_size: dims.vocab,
    };
    CpuBackend::new(&dims, &Seeded, limits, threads, isa).expect("room for the model")
}
