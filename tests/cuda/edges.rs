//! Steps that do not fit at once: more wanted rows than rows of logits, more partial results of
//! attention than there is room for; and long contexts.

use crate::cpu_support::{Tensors, difference, limits, run, tokens};
use crate::gpu::{backend, bits, dims, random};
use crate::same::CLOSE;
use crate::sampling::{Results, assert_told};
use glassbox::model::Dims;
use glassbox::runner::cpu::CpuBackend;
use glassbox::runner::{Backend, Limits, StepBatch};
use glassbox::sampler::Draw;
use glassbox::types::{BlockId, Token};

const BLOCK: usize = 16;

/// A model of which the emulator computes a row in no time.
fn tiny() -> Dims {
    Dims { hidden: 128, layers: 1, heads: 2, kv_heads: 1, intermediate: 64, vocab: 64, ..dims() }
}

#[test]
fn more_rows_are_wanted_than_logits_have_room() {
    let dims = tiny();
    let tokens = tokens(11, dims.vocab, 3);
    let roomy = limits(&dims, 16, BLOCK, 1);
    let few = Limits { max_seqs: 4, ..roomy };
    let mut batch = StepBatch::new(&few);
    batch.push(&tokens, 0, &[0], tokens.len(), None);
    let wanted = run(&mut random(&dims, roomy, true), &batch);
    let mut backend = random(&dims, few, true);
    let found = run(&mut backend, &batch);
    assert_eq!(found.len(), tokens.len());
    for (row, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
        assert!(bits(found) == bits(wanted), "row {row}");
    }
    // What is sampled and told of the later ones, too.
    for draw in [Draw::GREEDY, Draw { report: Some(3), ..Draw::GREEDY }] {
        let mut batch = StepBatch::new(&few);
        batch.push(&tokens, 0, &[0], tokens.len(), Some(draw));
        let mut results = Results::default();
        backend.submit(&batch).unwrap();
        backend.collect(&mut results).unwrap();
        for (row, ((at, found), wanted)) in results.0.iter().zip(&wanted).enumerate() {
            assert_eq!(*at, row);
            assert_told(found, &draw, wanted);
        }
        assert_eq!(results.0.len(), tokens.len());
    }
}

/// A context of `before` tokens that all lie in block 0, which is as good as any other: `before` is
/// a multiple of a block. What comes behind has blocks of its own.
fn table(before: usize, own: &[BlockId]) -> Vec<BlockId> {
    [vec![0; before / BLOCK], own.to_vec()].concat()
}

fn fill_first_block(backend: &mut dyn Backend, dims: &Dims) {
    let limits = *backend.limits();
    let mut batch = StepBatch::new(&limits);
    batch.push(&tokens(BLOCK, dims.vocab, 1), 0, &[0], 1, None);
    run(backend, &batch);
}

#[test]
fn more_partial_results_than_have_room_take_several_passes() {
    let dims = tiny();
    // 300 rows of 64 segments each are more than 16,384.
    let (seqs, width) = (300, 512);
    let limits =
        Limits { max_seqs: seqs, num_blocks: seqs + 1, ..limits(&dims, seqs, BLOCK, width) };
    let long = BLOCK * (width - 1);
    let context = |row: usize| match row {
        7 | 290 => long,
        row => BLOCK * (row % 3 + 1),
    };
    let token = |row: usize| (row % 2) as Token;
    let mut backend = random(&dims, limits, false);
    fill_first_block(&mut backend, &dims);
    let mut batch = StepBatch::new(&limits);
    for row in 0..seqs {
        let blocks = table(context(row), &[row as BlockId + 1]);
        batch.push(&[token(row)], context(row), &blocks, 1, None);
    }
    let found = run(&mut backend, &batch);
    for row in [0, 1, 2, 3, 4, 5, 7, 290] {
        let mut alone = StepBatch::new(&limits);
        alone.push(&[token(row)], context(row), &table(context(row), &[9]), 1, None);
        let wanted = bits(&run(&mut backend, &alone)[0]);
        for other in (0..seqs).filter(|&o| (context(o), token(o)) == (context(row), token(row))) {
            assert!(bits(&found[other]) == wanted, "row {other}, which is like {row}");
        }
    }
}

#[test]
fn a_context_of_thousands_is_the_cpus_and_has_the_same_bits_by_itself() {
    let dims = tiny();
    let weights = Tensors::random(&dims, 11);
    let (before, width) = (4080, 258);
    let tokens = tokens(20, dims.vocab, 9);
    let limits = Limits { num_blocks: 8, ..limits(&dims, 32, BLOCK, width) };
    let whole = |backend: &mut dyn Backend| {
        fill_first_block(backend, &dims);
        let mut batch = StepBatch::new(&limits);
        batch.push(&tokens, before, &table(before, &[1, 2]), tokens.len(), None);
        run(backend, &batch)
    };
    let mut cuda = backend(&dims, &weights, limits, false);
    let wanted = whole(&mut CpuBackend::new(&dims, &weights, limits, 2, None).unwrap());
    let found = whole(&mut cuda);
    for (i, token) in tokens.iter().enumerate() {
        let (off, largest) = difference(&found[i], &wanted[i]);
        assert!(off < CLOSE * largest, "token {i}: {off} of {largest}");
        let mut single = StepBatch::new(&limits);
        single.push(&[*token], before + i, &table(before, &[3, 4]), 1, None);
        let alone = &run(&mut cuda, &single)[0];
        assert!(bits(alone) == bits(&found[i]), "token {i}");
    }
}
