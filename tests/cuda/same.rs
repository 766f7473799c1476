//! The same model on both backends: logits as close as two orders of the same sums are.

use crate::cpu_support::{Tensors, difference, limits, teacher_forced, tokens};
use crate::gpu::{backend, dims};
use glassbox::model::Dims;
use glassbox::runner::cpu::CpuBackend;

/// How far the largest difference may be, as a part of the largest logit: activations are rounded
/// to bf16 at the same places on both, and sums in other orders round otherwise there.
pub const CLOSE: f32 = 0.02;

fn check(dims: &Dims, block_size: usize, len: usize) {
    let weights = Tensors::random(dims, 11);
    let limits = limits(dims, len, block_size, len.div_ceil(block_size));
    let tokens = tokens(len, dims.vocab, 5);
    let mut cpu = CpuBackend::new(dims, &weights, limits, 2, None).unwrap();
    let mut cuda = backend(dims, &weights, limits, true);
    let wanted = teacher_forced(&mut cpu, &tokens);
    let found = teacher_forced(&mut cuda, &tokens);
    assert_eq!(found.len(), len);
    for (position, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
        let (off, largest) = difference(found, wanted);
        assert!(off < CLOSE * largest, "position {position}: {off} of {largest}");
    }
}

#[test]
fn logits_are_those_of_the_cpu() {
    check(&dims(), 16, 70);
}

#[test]
fn shapes_differ() {
    // One query head a group, five, and eight; an LM head of its own; blocks of other sizes.
    check(&Dims { heads: 2, kv_heads: 2, tied: false, ..dims() }, 32, 20);
    check(&Dims { heads: 5, kv_heads: 1, hidden: 384, layers: 1, ..dims() }, 64, 140);
    check(&Dims { heads: 8, kv_heads: 1, intermediate: 288, layers: 1, ..dims() }, 16, 40);
}

#[test]
fn a_position_is_turned_as_far_as_it_should_be() {
    check(&Dims { rope_theta: 1e6, layers: 1, ..dims() }, 64, 300);
}
