//! `logprobs.cu` against the host's: the same ranks and the same best tokens in the same order, and
//! log-probabilities that differ by the rounding of one sum.

use crate::args;
use crate::device::{Device, Shape, every_schedule};
use crate::mutants::{Mutant, must_fail};
use crate::sample::{GROUP, GROUP_BYTES, VOCAB, group_shape, some_row};
use crate::values::random;
use glassbox::sampler::Sampler;
use rand::Rng;

/// What a row gets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct RowLogprobs {
    log_sum_exp: f32,
    logprob: f32,
    rank: i32,
    count: i32,
    tokens: [i32; 32],
    logprobs: [f32; 32],
}

fn on_device(device: &Device, logits: &[f32], chosen: &[i32], wanted: &[i32]) -> Vec<RowLogprobs> {
    let rows = chosen.len();
    let vocab = logits.len() / rows;
    let (logits, chosen, wanted) =
        (device.upload(logits), device.upload(chosen), device.upload(wanted));
    let groups = device.empty::<u8>(rows * vocab.div_ceil(GROUP) * GROUP_BYTES);
    let out = device.zeros::<RowLogprobs>(rows);
    let first = args![&groups, &logits, &chosen, &wanted, vocab as i32];
    device.launch("gb_logprobs_groups", group_shape(rows, vocab), first);
    let second = args![&out, &logits, &chosen, &wanted, &groups, vocab as i32];
    device.launch("gb_logprobs_rows", Shape::line(rows, 1024), second);
    device.download(&out)
}

/// Sums of exponentials, added up in another order.
fn close(a: f32, b: f32) -> bool {
    a == b || (a - b).abs() <= 2e-6 * b.abs().max(1.0)
}

fn check(device: &Device, logits: &[Vec<f32>], chosen: &[i32], wanted: &[i32]) {
    let mut sampler = Sampler::new(logits[0].len());
    let found = on_device(device, &logits.concat(), chosen, wanted);
    for (i, found) in found.iter().enumerate() {
        if wanted[i] < 0 {
            assert_eq!(*found, RowLogprobs::default());
            continue;
        }
        let expected = sampler.score(chosen[i] as u32, wanted[i], &logits[i]);
        assert_eq!(found.rank as u32, expected.rank, "row {i}");
        assert!(close(found.logprob, expected.logprob), "row {i}: {found:?} {expected:?}");
        let count = found.count as usize;
        let tokens: Vec<_> = expected.top.iter().map(|(token, _)| *token as i32).collect();
        assert_eq!(found.tokens[..count], tokens, "row {i}");
        for (found, (_, expected)) in found.logprobs[..count].iter().zip(&expected.top) {
            assert!(close(*found, *expected), "row {i}: {found} {expected}");
        }
        check_sum(found.log_sum_exp, &logits[i]);
    }
}

/// The log-sum-exp of a row, against f64.
fn check_sum(found: f32, row: &[f32]) {
    let finite = || row.iter().copied().filter(|x| x.is_finite());
    if row.contains(&f32::INFINITY) {
        return assert_eq!(found, f32::INFINITY);
    }
    let Some(best) = finite().reduce(f32::max) else { return assert_eq!(found, -f32::INFINITY) };
    let sum: f64 = finite().map(|x| f64::from(x - best).exp()).sum();
    assert!(close(found, (f64::from(best) + sum.ln()) as f32), "{found}");
}

/// So many rounds of rows of any kind.
fn check_some(device: &Device, vocab: usize, rounds: usize) {
    let mut random = random(vocab as u64);
    for _ in 0..rounds {
        let logits: Vec<_> = (0..8).map(|_| some_row(&mut random, vocab)).collect();
        let chosen: Vec<_> = logits.iter().map(|_| random.random_range(0..vocab as i32)).collect();
        let wanted: Vec<_> = logits.iter().map(|_| random.random_range(-1..=32)).collect();
        check(device, &logits, &chosen, &wanted);
    }
}

#[test]
fn logprobs_are_those_of_the_host() {
    every_schedule(|device| {
        for vocab in [1, 31, 257, 2048, 5003] {
            check_some(device, vocab, 5);
        }
    });
}

#[test]
fn logprobs_of_a_full_vocabulary_are_those_of_the_host() {
    check_some(&Device::open(), VOCAB, 1);
}

#[test]
fn logprobs_of_impossible_rows_are_those_of_the_host() {
    let device = Device::open();
    let inf = f32::INFINITY;
    let rows = [[f32::NAN; 4], [-inf; 4], [0.0, inf, 5.0, inf], [f32::NAN, -inf, 1.0, 1.0]];
    for chosen in 0..4 {
        check(&device, &rows.map(|row| row.to_vec()), &[chosen; 4], &[4; 4]);
    }
}

#[test]
fn mutants_of_logprobs_are_caught() {
    let mutants = [
        ("logprobs.cu", "tokens[j] >= bound", "tokens[j] > bound"),
        ("logprobs.cu", "group.sum * exp(behind)", "group.sum"),
        ("logprobs.cu", "top[i] > top[thread]", "top[i] >= top[thread]"),
        ("logprobs.cu", "sums.at_least > 0 ? sums.at_least : 1", "sums.at_least"),
        ("select.cuh", "return {static_cast<u64>(count), 0.0", "return {count - 1ull, 0.0"),
    ];
    let mutants = mutants.map(|(file, from, to)| Mutant { file, from, to });
    must_fail("logprobs::logprobs_are_those_of_the_host", &mutants);
}
