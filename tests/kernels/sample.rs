//! `sample.cu` against the host's sampler: the same tokens.
//!
//! Two things may round otherwise on the device: the mass that `top_p` is a share of (the host adds
//! it up in f32 lanes, the device in integers; about 1e-7 apart) and the last bit of the logarithm
//! of `min_p`. A token can differ only when an edge falls into that gap *and* the one token at the
//! edge wins the draw. The rows here are fixed by their seeds, and none of them does.

use crate::args;
use crate::device::{Device, Shape, every_schedule};
use crate::mutants::{Mutant, must_fail};
use crate::values::random;
use glassbox::sampler::{Sampler, SamplerState};
use glassbox::types::SamplingParams;
use rand::Rng;
use rand::rngs::StdRng;

/// What a row of `gb_sample_*` is told.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Row {
    temperature: f32,
    top_k: i32,
    top_p: f32,
    min_p: f32,
    seed: [u32; 2],
    position: u32,
    flags: u32,
}

const PADDING: u32 = 1;
/// Qwen3's.
pub const VOCAB: usize = 151_936;
/// Tokens of a group, and bytes of what is known about it.
pub const GROUP: usize = 256;
pub const GROUP_BYTES: usize = 32;

impl Row {
    fn new(temperature: f32, top_k: i32, top_p: f32, min_p: f32) -> Self {
        Self { temperature, top_k, top_p, min_p, seed: [1, 0], position: 0, flags: 0 }
    }

    fn keyed(self, seed: u64, position: u32) -> Self {
        Self { seed: [seed as u32, (seed >> 32) as u32], position, ..self }
    }

    /// The token that the host's sampler chooses.
    fn on_host(&self, sampler: &mut Sampler, logits: &[f32]) -> i32 {
        let seed = u64::from(self.seed[0]) | u64::from(self.seed[1]) << 32;
        let params = SamplingParams {
            temperature: self.temperature,
            top_k: self.top_k as u32,
            top_p: self.top_p,
            min_p: self.min_p,
            seed: Some(seed as i64),
            ..SamplingParams::greedy(1)
        };
        let prompt = vec![0; self.position as usize + 1];
        let state = SamplerState::new(&params, &prompt, logits.len(), 0);
        sampler.sample(&params, &state, &[], &mut logits.to_vec()).token as i32
    }
}

/// The grid of the first kernel of a pair: a warp a group.
pub fn group_shape(rows: usize, vocab: usize) -> Shape {
    let blocks = vocab.div_ceil(GROUP).div_ceil(8) as u32;
    Shape { grid: (blocks, rows as u32, 1), block: 256, shared: 0 }
}

/// The tokens that the device chooses.
fn on_device(device: &Device, logits: &[f32], rows: &[Row]) -> Vec<i32> {
    let vocab = logits.len() / rows.len();
    let (given_logits, given_rows) = (device.upload(logits), device.upload(rows));
    let groups = device.empty::<u8>(rows.len() * vocab.div_ceil(GROUP) * GROUP_BYTES);
    let sampled = device.empty::<i32>(rows.len());
    let first = args![&groups, &given_logits, &given_rows, vocab as i32];
    device.launch("gb_sample_groups", group_shape(rows.len(), vocab), first);
    let second = args![&sampled, &given_logits, &given_rows, &groups, vocab as i32];
    device.launch("gb_sample_rows", Shape::line(rows.len(), 1024), second);
    device.download(&sampled)
}

/// Logits of about a normal distribution.
fn spread(random: &mut StdRng, vocab: usize, by: f32) -> Vec<f32> {
    let mut normal = || (0..6).map(|_| random.random::<f32>() - 0.5).sum::<f32>() * 1.4;
    (0..vocab).map(|_| normal() * by).collect()
}

/// A row of some kind: dense, steep, with ties, full of what is impossible.
pub fn some_row(random: &mut StdRng, vocab: usize) -> Vec<f32> {
    let by = [0.1f32, 1.0, 2.5, 8.0][random.random_range(0..4)];
    let mut row = spread(random, vocab, by);
    match random.random_range(0..6) {
        0 => row.iter_mut().for_each(|x| *x = (*x * 2.0).round() / 2.0),
        1 => row.iter_mut().for_each(|x| {
            if random.random_bool(0.3) {
                *x = [f32::NAN, f32::NEG_INFINITY, -0.0, 0.0][random.random_range(0..4)];
            }
        }),
        2 => row.iter_mut().for_each(|x| {
            if random.random_bool(0.999) {
                *x = f32::NEG_INFINITY;
            }
        }),
        3 => row.iter_mut().for_each(|x| *x = x.abs() - 40.0),
        _ => (),
    }
    row
}

fn some_rules(random: &mut StdRng) -> Row {
    let mut of = |values: &[f32]| values[random.random_range(0..values.len())];
    let temperature = of(&[0.0, 0.01, 0.3, 0.6, 1.0, 2.0]);
    let top_k = of(&[0.0, 0.0, 1.0, 2.0, 20.0, 50.0, 700.0, 5000.0, 1e6]) as i32;
    let top_p = of(&[1.0, 1.0, 1e-6, 0.1, 0.37, 0.81, 0.95, 0.999]);
    let min_p = of(&[0.0, 0.0, 0.0, 1e-5, 0.013, 0.31, 1.0]);
    let row = Row::new(temperature, top_k, top_p, min_p);
    row.keyed(random.random(), random.random_range(0..4096))
}

fn check(device: &Device, logits: &[Vec<f32>], rows: &[Row]) {
    let mut sampler = Sampler::new(logits[0].len());
    let found = on_device(device, &logits.concat(), rows);
    for (i, (row, logits)) in rows.iter().zip(logits).enumerate() {
        let expected = row.on_host(&mut sampler, logits);
        assert_eq!(found[i], expected, "row {i}: {row:?}");
    }
}

/// So many rounds of rows of any kind under rules of any kind.
fn check_some(device: &Device, vocab: usize, rounds: usize) {
    let mut random = random(vocab as u64);
    for _ in 0..rounds {
        let logits: Vec<_> = (0..12).map(|_| some_row(&mut random, vocab)).collect();
        let rows: Vec<_> = logits.iter().map(|_| some_rules(&mut random)).collect();
        check(device, &logits, &rows);
    }
}

#[test]
fn tokens_are_those_of_the_host() {
    every_schedule(|device| {
        for vocab in [1, 2, 255, 256, 257, 2048, 5003] {
            check_some(device, vocab, 5);
        }
    });
}

#[test]
fn tokens_of_many_rows_are_those_of_the_host() {
    let device = Device::open();
    for vocab in [37, 300, 4100] {
        check_some(&device, vocab, 60);
    }
}

#[test]
fn a_full_vocabulary_is_sampled_as_the_host_does() {
    check_some(&Device::open(), VOCAB, 1);
}

#[test]
fn rows_with_little_choice_are_those_of_the_host() {
    let device = Device::open();
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let vocab = 600;
    let with = |at: &[(usize, f32)], rest: f32| {
        let mut row = vec![rest; vocab];
        at.iter().for_each(|&(token, logit)| row[token] = logit);
        row
    };
    let logits = [
        with(&[], nan),
        with(&[], -inf),
        with(&[(599, 1.0)], -inf),
        with(&[(300, -3e38)], nan),
        with(&[(299, inf), (511, inf), (0, 5.0)], 0.0),
        with(&[(0, -0.0), (256, 0.0)], -1.0),
        with(&[(0, f32::MAX)], f32::MIN),
        with(&[(7, 1e-45)], 0.0),
        with(&[], 3.5),
    ];
    for temperature in [0.0, 0.01, 1.0, 100.0] {
        for top_k in [0, 1, 2, 599, 600, 601, i32::MAX] {
            for (top_p, min_p) in [(1.0, 0.0), (1e-9, 0.0), (0.5, 0.1), (1.0, 1.0), (0.9999, 0.0)] {
                let rows: Vec<_> = (0..logits.len() as u64)
                    .map(|seed| Row::new(temperature, top_k, top_p, min_p).keyed(seed, 3))
                    .collect();
                check(&device, &logits, &rows);
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_its_company() {
    let device = Device::open();
    let mut random = random(11);
    let logits: Vec<_> = (0..20).map(|_| some_row(&mut random, 3000)).collect();
    let rows: Vec<_> = logits.iter().map(|_| some_rules(&mut random)).collect();
    let together = on_device(&device, &logits.concat(), &rows);
    for i in 0..rows.len() {
        let alone = on_device(&device, &logits[i], &rows[i..=i]);
        assert_eq!(alone, together[i..=i], "{:?}", rows[i]);
    }
}

#[test]
fn padding_chooses_nothing() {
    let device = Device::open();
    let logits = [[0.0, 2.0, 1.0]; 3].concat();
    let greedy = Row::new(0.0, 0, 1.0, 0.0);
    let rows = [greedy, Row { flags: PADDING, ..greedy }, greedy];
    assert_eq!(on_device(&device, &logits, &rows), [1, -1, 1]);
}

#[test]
fn mutants_of_sampling_are_caught() {
    let mutants = [
        ("sample.cuh", " ^ 16u", ""),
        ("sample.cuh", "logit != logit ? -INFINITY : logit + 0.0f", "logit"),
        ("sample.cuh", "token < vocab ? row[token] : -INFINITY", "row[token]"),
        ("sample.cuh", "return bound + (1e-3f + 1e-6f * fabsf(bound));", "return bound - 10.0f;"),
        ("sample.cu", "row.top_k > 0 && row.top_k < vocab", "row.top_k > 1 && row.top_k < vocab"),
        ("sample.cu", "scaled >= work.floor", "scaled > work.floor"),
        ("sample.cu", "(1.0 - mass.share) * sum", "1e6 * sum"),
        ("sample.cu", "group.sum * exp(behind)", "group.sum"),
        ("sample.cu", "(work.row.flags & PADDING) == 0", "(work.row.flags & PADDING) != 0"),
        ("select.cuh", "upto >= goal.target", "upto > goal.target"),
        ("select.cuh", "above = shared.before;", "above = 0;"),
        ("select.cuh", "shared.bests[thread] >= low", "shared.bests[thread] > low"),
        (
            "select.cuh",
            "        __syncthreads();\n        if (shared.bin < 0) {",
            "        if (shared.bin < 0) {",
        ),
    ];
    let mutants = mutants.map(|(file, from, to)| Mutant { file, from, to });
    must_fail("sample::tokens_are_those_of_the_host", &mutants);
}
