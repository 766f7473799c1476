//! Rows whose logits the host wants, among others: in order, whole, and without a wait for each.

use crate::cpu_support::limits;
use crate::gpu::{apart, configure, dims, random};
use crate::sampling::{Found, Results};
use glassbox::runner::{Backend, Limits, RowSink, StepBatch};
use glassbox::sampler::Draw;
use glassbox::types::{Token, TokenLogprobs};

/// Rows of a step, of which every fifth is drawn on the device: 32 of logits.
const SEQS: usize = 40;

fn room() -> Limits {
    Limits { max_seqs: SEQS, num_blocks: SEQS, ..limits(&dims(), 64, 16, 1) }
}

fn is_drawn(row: usize) -> bool {
    row % 5 == 1
}

/// A step of single tokens, each of a sequence of its own.
fn batch(rows: impl Iterator<Item = usize>) -> StepBatch {
    let mut batch = StepBatch::new(&room());
    for row in rows {
        let draw = is_drawn(row).then_some(Draw::GREEDY);
        batch.push(&[row as Token], 0, &[row as u32], 1, draw);
    }
    batch
}

/// Spoils what it is given, once it has kept it: nobody may see that again.
#[derive(Default)]
struct Spoiling(Results);

impl RowSink for Spoiling {
    fn logits(&mut self, row: usize, logits: &mut [f32]) {
        self.0.logits(row, logits);
        logits.fill(f32::NAN);
    }

    fn sampled(&mut self, row: usize, token: Token) {
        self.0.sampled(row, token);
    }

    fn reported(&mut self, row: usize, sampled: TokenLogprobs) {
        self.0.reported(row, sampled);
    }
}

fn run(backend: &mut dyn Backend, batch: &StepBatch) -> Vec<(usize, Found)> {
    let mut sink = Spoiling::default();
    backend.submit(batch).unwrap();
    backend.collect(&mut sink).unwrap();
    sink.0.0
}

#[test]
fn many_rows_come_as_each_would_alone() {
    let dims = dims();
    for eager in [true, false] {
        let mut backend = random(&dims, room(), eager);
        let mut alone = random(&dims, room(), eager);
        // Again in the same buffers, by another number of rows.
        for rows in [SEQS, SEQS - 3] {
            let found = run(&mut backend, &batch(0..rows));
            assert_eq!(found.len(), rows);
            for (i, (row, found)) in found.into_iter().enumerate() {
                assert_eq!(row, i);
                let wanted = run(&mut alone, &batch(std::iter::once(row)));
                match (found, &wanted[..]) {
                    (Found::Token(found), [(0, Found::Token(wanted))]) if is_drawn(row) => {
                        assert_eq!(found, *wanted);
                    }
                    (Found::Logits(found), [(0, Found::Logits(wanted))]) if !is_drawn(row) => {
                        assert!(found == *wanted, "row {row}");
                    }
                    other => panic!("row {row}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn rows_are_not_waited_for_one_by_one() {
    apart("logits::rows_are_not_waited_for_one_by_one", "", || {
        let mut backend = random(&dims(), room(), false);
        let mut step = |words: &str| {
            configure(words);
            backend.submit(&batch(0..SEQS)).unwrap();
            let collected = backend.collect(&mut Results::default());
            collected.map(drop).map_err(|error| error.to_string())
        };
        // The tokens, and four times eight rows.
        assert_eq!(step("fail=cuEventSynchronize:6:999"), Ok(()));
        assert_eq!(step("fail=cuStreamSynchronize:1:999"), Ok(()));
        step("fail=cuEventSynchronize:5:999").expect_err("the last eight rows");
    });
}
