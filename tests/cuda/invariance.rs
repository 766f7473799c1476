//! Same bits whatever the company: a row's logits are equal, bit for bit, however its sequence was
//! cut into steps, whatever else is in the batch, wherever its blocks lie, and whether a graph is
//! replayed or every kernel started by itself.

use crate::cpu_support::schedule::{Sequence, random_schedule};
use crate::cpu_support::{Random, limits, run, teacher_forced, tokens};
use crate::gpu::{bits, dims, random};
use glassbox::runner::{Limits, StepBatch};
use glassbox::types::{BlockId, Token};

const BLOCK: usize = 16;
const BLOCKS: usize = 12;

#[test]
fn random_schedules_give_the_bits_of_one_prefill() {
    let dims = dims();
    let limits = Limits { num_blocks: 4 * BLOCKS, ..limits(&dims, 150, BLOCK, BLOCKS) };
    let mut dice = Random(7);
    let lens = [1, 17, 130, 40];
    let prompts: Vec<Vec<Token>> =
        lens.iter().zip(0..).map(|(&len, seed)| tokens(len, dims.vocab, seed)).collect();
    let mut alone = random(&dims, limits, true);
    let wanted: Vec<_> = prompts.iter().map(|tokens| teacher_forced(&mut alone, tokens)).collect();
    for eager in [true, false] {
        let mut backend = random(&dims, limits, eager);
        let mut seqs: Vec<Sequence> = prompts.iter().map(|tokens| Sequence::new(tokens)).collect();
        random_schedule(&mut backend, &mut seqs, &mut dice);
        for (i, (seq, wanted)) in seqs.iter().zip(&wanted).enumerate() {
            assert_eq!(seq.logits.len(), wanted.len());
            for (position, (found, wanted)) in seq.logits.iter().zip(wanted).enumerate() {
                assert!(
                    bits(found) == bits(wanted),
                    "eager {eager}: sequence {i}, position {position}"
                );
            }
        }
    }
}

#[test]
fn many_rows_give_the_bits_of_one() {
    // Up to 8, 16, 32 rows and more than that are other kernels.
    let dims = dims();
    let limits = Limits { max_seqs: 40, ..limits(&dims, 64, BLOCK, 1) };
    let limits = Limits { num_blocks: 40, ..limits };
    let wanted = {
        let mut alone = random(&dims, limits, true);
        teacher_forced(&mut alone, &[3])[0].clone()
    };
    let mut backend = random(&dims, limits, false);
    for rows in [1, 2, 9, 17, 33, 40] {
        let mut batch = StepBatch::new(&limits);
        for row in 0..rows {
            batch.push(&[if row % 2 == 0 { 3 } else { 4 }], 0, &[row as BlockId], 1, None);
        }
        for (row, logits) in run(&mut backend, &batch).iter().enumerate() {
            assert_eq!(bits(logits) == bits(&wanted), row % 2 == 0, "row {row} of {rows}");
        }
    }
}
