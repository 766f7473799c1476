//! Same bits whatever the company: a row's logits are equal, bit for bit, however its sequence was
//! cut into steps, whatever else is in the batch, wherever its blocks lie, whatever stood in them
//! before, and however many threads compute.

mod cpu_support;

use cpu_support::schedule::{Sequence, random_schedule};
use cpu_support::*;
use glassbox::model::Dims;
use glassbox::runner::cpu::{CpuBackend, Isa};
use glassbox::runner::{Backend, Limits, StepBatch};
use glassbox::types::{BlockId, Token};
use half::bf16;

const BLOCK: usize = 16;
const BLOCKS: usize = 24;
/// A token whose embedding is NaN, to fill blocks with.
const POISON: Token = 99;

fn limits_for(dims: &Dims, max_tokens: usize) -> Limits {
    Limits { num_blocks: 3 * BLOCKS, ..limits(dims, max_tokens, BLOCK, BLOCKS) }
}

fn tensors(dims: &Dims) -> Tensors {
    let mut tensors = Tensors::random(dims, 11);
    let (_, embedding) = tensors.0.get_mut("model.embed_tokens.weight").unwrap();
    embedding[POISON as usize * dims.hidden..][..dims.hidden].fill(bf16::NAN);
    tensors
}

/// Bits of the logits of all tokens but the poison, which the tied head makes NaN.
fn bits(logits: &[f32]) -> Vec<u32> {
    logits[..POISON as usize].iter().map(|x| x.to_bits()).collect()
}

/// Fills the whole pool with NaN.
fn poison(backend: &mut CpuBackend) {
    let limits = *backend.limits();
    let blocks: Vec<BlockId> = (0..limits.num_blocks as BlockId).collect();
    for blocks in blocks.chunks(BLOCKS) {
        for (i, block) in blocks.iter().enumerate() {
            let mut batch = StepBatch::new(&limits);
            let mut table = vec![blocks[0]; i];
            table.push(*block);
            batch.push(&[POISON; BLOCK], i * BLOCK, &table, 1, None);
            assert!(run(backend, &batch)[0][0].is_nan());
        }
    }
}

fn check(dims: &Dims, isa: Isa, seed: u64) {
    let tensors = tensors(dims);
    let mut random = Random(seed);
    let mut alone = CpuBackend::new(dims, &tensors, limits_for(dims, 1024), 1, Some(isa)).unwrap();
    let prompts: Vec<Vec<Token>> =
        (0..5).map(|i| tokens(1 + random.below(BLOCKS * BLOCK / 2), 99, seed + i)).collect();
    let wanted: Vec<_> = prompts.iter().map(|tokens| teacher_forced(&mut alone, tokens)).collect();
    for (threads, max_tokens) in [(1, 40), (2, 200), (3, 1024)] {
        let limits = limits_for(dims, max_tokens);
        let mut backend = CpuBackend::new(dims, &tensors, limits, threads, Some(isa)).unwrap();
        poison(&mut backend);
        let mut seqs: Vec<Sequence> = prompts.iter().map(|tokens| Sequence::new(tokens)).collect();
        random_schedule(&mut backend, &mut seqs, &mut random);
        for (i, (seq, wanted)) in seqs.iter().zip(&wanted).enumerate() {
            for (position, (found, wanted)) in seq.logits.iter().zip(wanted).enumerate() {
                assert!(wanted[0].is_finite());
                assert!(
                    bits(found) == bits(wanted),
                    "{isa}, seed {seed}, {threads} threads: sequence {i}, position {position}"
                );
            }
        }
    }
}

#[test]
fn random_schedules_give_the_bits_of_one_prefill() {
    for isa in isas() {
        let seeds = if isa == Isa::Portable { 0..1 } else { 0..4 };
        seeds.for_each(|seed| check(&small(), isa, seed));
    }
}

#[test]
fn products_whose_k_is_cut_into_blocks_give_the_same_bits() {
    let dims = Dims { hidden: 640, intermediate: 1088, layers: 1, ..small() };
    check(&dims, Isa::best(), 5);
}

#[test]
fn a_step_of_several_passes_gives_the_bits_of_small_steps() {
    let dims = Dims { layers: 2, ..small() };
    let tensors = tensors(&dims);
    let tokens = tokens(1300, 99, 3);
    let limits = Limits { max_blocks_per_seq: 82, num_blocks: 82, ..limits_for(&dims, 1300) };
    let mut large = CpuBackend::new(&dims, &tensors, limits, 2, None).unwrap();
    let wanted = teacher_forced(&mut large, &tokens);
    let limits = Limits { max_tokens: 100, ..limits };
    let mut small = CpuBackend::new(&dims, &tensors, limits, 2, None).unwrap();
    let blocks: Vec<BlockId> = (0..82).rev().collect();
    let mut found = Vec::new();
    for (i, part) in tokens.chunks(100).enumerate() {
        let mut batch = StepBatch::new(&limits);
        batch.push(part, i * 100, &blocks, part.len(), None);
        found.extend(run(&mut small, &batch));
    }
    assert!(found.iter().map(|row| bits(row)).eq(wanted.iter().map(|row| bits(row))));
}
