//! What measurements do to the backend: nothing that a later step would show.

use crate::cpu_support::{limits, run, tokens};
use crate::gpu::{all_bits, dims, open, random};
use glassbox::runner::cuda::{Choices, CudaBackend, Phase};
use glassbox::runner::{Backend, StepBatch};

const ROWS: usize = 40;

/// One sequence of [`ROWS`] tokens in one step, and then its next token in a step of its own; the
/// bits of the logits.
fn logits(backend: &mut CudaBackend) -> Vec<Vec<u32>> {
    let tokens = tokens(ROWS + 1, dims().vocab, 3);
    let mut batch = StepBatch::new(backend.limits());
    batch.push(&tokens[..ROWS], 0, &[2, 0, 1], ROWS, None);
    let mut all = run(backend, &batch);
    batch.clear();
    batch.push(&tokens[ROWS..], ROWS, &[2, 0, 1], 1, None);
    all.extend(run(backend, &batch));
    all_bits(&all)
}

#[test]
fn choices_change_no_bit() {
    let mut backend = random(&dims(), limits(&dims(), 64, 16, 4), false);
    let wanted = logits(&mut backend);
    let usual = Choices::default();
    let others = [
        Choices { graphs: false, ..usual },
        Choices { early: false, ..usual },
        Choices { stages: Some(2), ..usual },
        Choices { stages: Some(99), ..usual },
        Choices { norms: Some(true), ..usual },
        Choices { norms: Some(false), ..usual },
        Choices { splits: false, ..usual },
    ];
    let tiles = (0..Choices::TILES).map(|tile| Choices { tile: Some(tile), ..usual });
    for choices in others.into_iter().chain(tiles).chain([usual]) {
        backend.choose(choices).expect("a device that works");
        assert!(logits(&mut backend) == wanted, "{choices:?}");
    }
}

#[test]
fn phases_run_alone_and_leave_no_trace() {
    let mut backend = random(&dims(), limits(&dims(), 64, 16, 4), false);
    let wanted = logits(&mut backend);
    for rows in [1, ROWS] {
        let mut batch = StepBatch::new(backend.limits());
        batch.push(&tokens(rows, dims().vocab, 4), 0, &[3, 2, 1], 1, None);
        let around = [Phase::Embed, Phase::LmHead, Phase::Sample];
        for phase in Phase::LAYER.into_iter().chain(around) {
            backend.probe(&batch, phase, 2).unwrap_or_else(|e| panic!("{rows}, {phase:?}: {e}"));
        }
    }
    assert!(logits(&mut backend) == wanted);
}

#[test]
fn a_batch_beyond_the_limits_is_refused() {
    let mut backend = random(&dims(), limits(&dims(), 64, 16, 4), false);
    let mut batch = StepBatch::new(backend.limits());
    batch.push(&[1], 0, &[1_000_000], 1, None);
    let error = backend.probe(&batch, Phase::Attend, 1).expect_err("no such block");
    assert!(error.to_string().contains("is not in the pool"), "{error}");
}

#[test]
fn copies_have_a_rate() {
    let rate = open().copy_rate(2).expect("copies");
    assert!(rate.is_finite() && rate > 0.0, "{rate}");
}
