//! Every instruction set that this machine has against the forward pass as plain f64 loops.

mod cpu_support;

use cpu_support::reference::{Rounding, forward};
use cpu_support::*;
use glassbox::model::{Dims, RopeScaling};
use glassbox::runner::cpu::CpuBackend;

/// Shapes that meet every edge of the packing, the tiles and the head layouts.
fn shapes() -> Vec<(&'static str, Dims)> {
    let yarn = RopeScaling {
        factor: 4.0,
        original_max_positions: 64,
        beta_fast: 32.0,
        beta_slow: 1.0,
        attention_factor: 1.138_629_4,
        truncate: true,
    };
    vec![
        ("small", small()),
        ("untied", Dims { tied: false, vocab: 67, ..small() }),
        ("one kv head", Dims { heads: 5, kv_heads: 1, head_dim: 64, ..small() }),
        ("no groups", Dims { heads: 2, kv_heads: 2, head_dim: 128, ..small() }),
        ("wide heads", Dims { heads: 2, kv_heads: 1, head_dim: 256, ..small() }),
        ("big group", Dims { heads: 16, kv_heads: 2, ..small() }),
        ("long k", Dims { hidden: 608, intermediate: 1184, layers: 1, ..small() }),
        ("yarn", Dims { rope_scaling: Some(yarn), ..small() }),
    ]
}

#[test]
fn prompts_of_any_length_agree_with_plain_loops() {
    for (name, dims) in shapes() {
        let tensors = Tensors::random(&dims, 7);
        let tokens = tokens(141, dims.vocab, 1);
        let wanted = forward(&dims, &tensors, &tokens, Rounding::Bf16);
        for isa in isas() {
            let limits = limits(&dims, 256, 16, 10);
            let mut backend = CpuBackend::new(&dims, &tensors, limits, 2, Some(isa)).unwrap();
            for n in [1, 2, 16, 17, 64, 65, 141] {
                let got = teacher_forced(&mut backend, &tokens[..n]);
                for (position, (got, wanted)) in got.iter().zip(&wanted).enumerate() {
                    let (error, scale) = difference(got, wanted);
                    // Both round to bf16 at the same places, but not always to the same side.
                    assert!(
                        error <= 0.02 * scale.max(1.0),
                        "{name}, {isa}, {n} tokens, position {position}: {error} of {scale}"
                    );
                }
            }
        }
    }
}
