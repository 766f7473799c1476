//! The sampler against vLLM's own kernels, naive references in f64, and statistics.

use super::noise::{Noise, gumbel};
use super::select::Selection;
use super::*;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeSet;

/// A neutral request at this temperature.
fn at_temperature(temperature: f32) -> SamplingParams {
    SamplingParams { temperature, ..SamplingParams::greedy(100) }
}

fn sample_once(params: &SamplingParams, logits: &[f32]) -> Sampled {
    let state = SamplerState::new(params, &[0], logits.len(), 1);
    Sampler::new(logits.len()).sample(params, &state, &[], &mut logits.to_vec())
}

/// Pseudo-random logits, about normal with a standard deviation of `spread`.
fn random_row(len: usize, seed: u64, spread: f32) -> Vec<f32> {
    let uniform = |token, position| {
        f64::from(Noise::new(seed, position).bits(token)) / f64::from(u32::MAX) - 0.5
    };
    let normal = |token| (0..12).map(|i| uniform(token, i)).sum::<f64>() as f32;
    (0..len as Token).map(|token| normal(token) * spread).collect()
}

// --- vLLM's kernels ---

pub(super) fn tokens(value: &Value) -> Vec<Token> {
    value.as_array().unwrap().iter().map(|t| t.as_u64().unwrap() as Token).collect()
}

pub(super) fn golden_params(case: &Value) -> SamplingParams {
    let p = &case["params"];
    let number = |name: &str| p[name].as_f64().unwrap() as f32;
    SamplingParams {
        temperature: number("temperature"),
        top_p: number("top_p"),
        top_k: p["top_k"].as_u64().unwrap() as u32,
        min_p: number("min_p"),
        repetition_penalty: number("repetition_penalty"),
        presence_penalty: number("presence_penalty"),
        frequency_penalty: number("frequency_penalty"),
        logit_bias: (p["logit_bias"].as_array().unwrap().iter())
            .map(|pair| (pair[0].as_u64().unwrap() as Token, pair[1].as_f64().unwrap() as f32))
            .collect(),
        allowed_token_ids: Some(&p["allowed_token_ids"])
            .filter(|v| !v.is_null())
            .map(|v| BTreeSet::from_iter(tokens(v)).into_iter().collect()),
        bad_words: case["bad_words"].as_array().unwrap().iter().map(tokens).collect(),
        min_tokens: p["min_tokens"].as_u64().unwrap() as u32,
        // vLLM's mask holds all three kinds.
        eos: Some(tokens(&p["ends"])[0]),
        ignored_eos: vec![tokens(&p["ends"])[1]],
        stop_token_ids: tokens(&p["ends"])[2..].into(),
        seed: p["seed"].as_i64(),
        ..SamplingParams::greedy(100)
    }
}

#[test]
fn equals_the_kernels_of_vllm() {
    let cases: Value =
        serde_json::from_str(include_str!("../../tests/data/text/sampler.json")).unwrap();
    for (i, case) in cases.as_array().unwrap().iter().enumerate() {
        let params = golden_params(case);
        let numbers = |name: &str| -> Vec<f32> {
            let number = |v: &Value| v.as_f64().map_or(f32::NEG_INFINITY, |x| x as f32);
            case[name].as_array().unwrap().iter().map(number).collect()
        };
        let mut logits = numbers("logits");
        let (prompt, output) = (tokens(&case["prompt"]), tokens(&case["output"]));
        let mut state = SamplerState::new(&params, &prompt, logits.len(), 0);
        output.iter().for_each(|&token| state.accept(token));
        let mut sampler = Sampler::new(logits.len());
        let token = sampler.sample(&params, &state, &output, &mut logits).token;
        assert_eq!(logits, numbers("adjusted"), "case {i}");
        assert_eq!(Some(u64::from(token)), case["token"].as_u64(), "case {i}");
        if !params.is_greedy() {
            let mut selection = Selection::with_capacity(logits.len());
            let rule = Draw::new(&params, &state, output.len());
            let scale = draw::Scale::of(&logits, rule.temperature);
            if draw::pick(&rule, &scale, &logits, &mut selection) {
                let kept: BTreeSet<_> = selection.iter().map(|(token, _)| token).collect();
                assert!(kept.into_iter().eq(tokens(&case["kept"])), "case {i}");
            }
        }
    }
}

// --- naive references ---

/// Ids, best first, by logit and then id; NaN last.
fn ranked(row: &[f32]) -> Vec<(Token, f32)> {
    let clean = |x: f32| if x.is_nan() { f32::NEG_INFINITY } else { x };
    let mut all: Vec<_> = row.iter().enumerate().map(|(i, &x)| (i as Token, clean(x))).collect();
    all.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
    all
}

/// The tokens that may be drawn, by the definitions, in f64 and with a full sort.
fn naive_kept(params: &SamplingParams, row: &[f32]) -> Vec<Token> {
    let temperature = f64::from(params.temperature);
    let scaled = |logit: f32| f64::from(logit) / temperature;
    let mut kept = ranked(row);
    kept.retain(|(_, logit)| *logit > f32::NEG_INFINITY);
    let best = scaled(kept[0].1);
    if params.min_p > 0.0 {
        kept.retain(|(_, logit)| scaled(*logit) - best >= f64::from(params.min_p).ln());
    }
    if params.top_k > 0 {
        kept.truncate(params.top_k as usize);
    }
    let total: f64 = kept.iter().map(|(_, logit)| (scaled(*logit) - best).exp()).sum();
    let mut above = 0.0;
    kept.retain(|(_, logit)| {
        let keep = params.top_p == 1.0 || above / total < f64::from(params.top_p);
        above += (scaled(*logit) - best).exp();
        keep
    });
    kept.into_iter().map(|(token, _)| token).collect()
}

fn naive_draw(params: &SamplingParams, row: &[f32], kept: &[Token]) -> Token {
    let noise = Noise::new(params.seed.unwrap() as u64, 0);
    let score = |token: Token| {
        f64::from(row[token as usize] / params.temperature) + gumbel(noise.bits(token))
    };
    let better = |a: Token, b: Token| if score(b) > score(a) { b } else { a };
    kept.iter().copied().reduce(better).unwrap()
}

/// Rows with ties and impossible tokens, long enough to cross block edges.
fn rows() -> impl Strategy<Value = Vec<f32>> {
    let logit = prop_oneof![
        8 => (-60i32..60).prop_map(|x| x as f32 / 4.0),
        8 => -15f32..15.0,
        1 => Just(f32::NEG_INFINITY),
        1 => Just(f32::NAN),
    ];
    prop::collection::vec(logit, 1..1500)
        .prop_filter("some token is possible", |row| row.iter().any(|x| x.is_finite()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn best_tokens_are_those_of_a_sort(row in rows(), n in 0usize..1600) {
        let mut selection = Selection::with_capacity(row.len());
        selection.take_best(&row, n);
        selection.sort();
        let expected: Vec<_> = ranked(&row).into_iter().take(n).collect();
        prop_assert_eq!(selection.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn greedy_takes_the_first_maximum(row in rows()) {
        let token = sample_once(&SamplingParams::greedy(1), &row).token;
        prop_assert_eq!(token, ranked(&row)[0].0);
    }

    #[test]
    fn draws_equal_the_definition(
        row in rows(),
        temperature in prop::sample::select(vec![0.01f32, 0.3, 0.6, 1.0, 2.0]),
        top_k in prop::sample::select(vec![0u32, 0, 1, 7, 20, 700, 5000]),
        top_p in prop::sample::select(vec![1.0f32, 1.0, 1e-6, 0.37, 0.81, 0.95]),
        min_p in prop::sample::select(vec![0.0f32, 0.0, 0.013, 0.31]),
        seed in any::<i64>(),
    ) {
        let params =
            SamplingParams { top_k, top_p, min_p, seed: Some(seed), ..at_temperature(temperature) };
        let kept = naive_kept(&params, &row);
        let token = sample_once(&params, &row).token;
        prop_assert_eq!(token, naive_draw(&params, &row, &kept));
    }

    #[test]
    fn logprobs_equal_the_definition(row in rows(), top in -1i32..40) {
        let token = (row.len() / 2) as Token;
        let found = Sampler::new(row.len()).score(token, top, &row);
        let finite = row.iter().filter(|x| !x.is_nan());
        let log_sum = finite.map(|&x| f64::from(x).exp()).sum::<f64>().ln();
        let close = |logprob: f32, logit: f32| {
            let expected = f64::from(logit) - log_sum;
            (f64::from(logprob) - expected).abs() < 1e-5
                || (logprob == f32::NEG_INFINITY && !logit.is_finite())
        };
        let logit = row[token as usize];
        prop_assert!(close(found.logprob, logit));
        let rank = row.iter().filter(|&&x| x >= logit).count().max(1);
        prop_assert_eq!(found.rank as usize, rank);
        let wanted = usize::try_from(top).unwrap_or(row.len()).min(row.len());
        let expected = &ranked(&row)[..wanted];
        prop_assert_eq!(found.top.len(), expected.len());
        for (found, expected) in found.top.iter().zip(expected) {
            prop_assert_eq!(found.0, expected.0);
            prop_assert!(close(found.1, expected.1));
        }
    }

    #[test]
    fn exp_is_that_of_f64(x in -87f32..=0.0) {
        let expected = f64::from(x).exp();
        prop_assert!((f64::from(math::exp(x)) / expected - 1.0).abs() < 2.5e-7);
    }
}

#[test]
fn a_full_vocabulary_is_drawn_from_as_a_small_one() {
    let row = random_row(151_936, 5, 2.5);
    for (top_k, top_p, min_p) in
        [(0, 1.0, 0.0), (20, 0.95, 0.0), (0, 0.9, 0.0), (0, 1.0, 0.05), (0, 0.999, 1e-5)]
    {
        for seed in 0..3 {
            let params =
                SamplingParams { top_k, top_p, min_p, seed: Some(seed), ..at_temperature(1.0) };
            let kept = naive_kept(&params, &row);
            let expected = naive_draw(&params, &row, &kept);
            assert_eq!(sample_once(&params, &row).token, expected, "{top_k} {top_p} {min_p}");
        }
    }
}

// --- statistics ---

/// Pearson's χ² of `draws` draws at successive positions against softmax probabilities.
fn chi_square(params: &SamplingParams, row: &[f32], kept: &[Token], draws: usize) -> f64 {
    let state = SamplerState::new(params, &[0], row.len(), 0);
    let mut sampler = Sampler::new(row.len());
    let mut counts = vec![0usize; row.len()];
    let mut output = Vec::new();
    for _ in 0..draws {
        let token = sampler.sample(params, &state, &output, &mut row.to_vec()).token;
        counts[token as usize] += 1;
        output.push(token);
    }
    let weight = |token: Token| (f64::from(row[token as usize] / params.temperature)).exp();
    let total: f64 = kept.iter().map(|&token| weight(token)).sum();
    assert_eq!(kept.iter().map(|&token| counts[token as usize]).sum::<usize>(), draws);
    (kept.iter())
        .map(|&token| {
            let expected = draws as f64 * weight(token) / total;
            (counts[token as usize] as f64 - expected).powi(2) / expected
        })
        .sum()
}

#[test]
fn draws_follow_the_softmax() {
    let row = [0.0, 1.0, -1.0, 2.0, 0.5, 0.5, -2.0, 1.5, 3.0, -0.5];
    // The 99.9 % quantile of χ² with one degree of freedom less than there are tokens.
    for (top_k, top_p, quantile) in [(0, 1.0, 27.88), (5, 1.0, 18.47), (0, 0.9, 20.52)] {
        let params = SamplingParams { top_k, top_p, seed: Some(11), ..at_temperature(0.8) };
        let kept = naive_kept(&params, &row);
        let found = chi_square(&params, &row, &kept, 20_000);
        assert!(
            found < quantile,
            "top_k {top_k}, top_p {top_p}: {found} for {} tokens",
            kept.len()
        );
    }
}

#[test]
fn noise_is_uniform_over_seeds_positions_and_tokens() {
    let mut cells = [0f64; 64];
    for seed in 0..40 {
        for position in 0..40 {
            let noise = Noise::new(seed, position);
            (0..40).for_each(|token| cells[(noise.bits(token) >> 26) as usize] += 1.0);
        }
    }
    let found: f64 = cells.iter().map(|count| (count - 1000.0f64).powi(2) / 1000.0).sum();
    assert!(found < 103.4, "χ² with 63 degrees of freedom: {found}");
}

// --- requests side by side, edges ---

#[test]
fn a_text_depends_on_its_request_alone() {
    let params = |seed| SamplingParams { seed, top_p: 0.9, ..at_temperature(1.0) };
    let row = |step: usize| random_row(1000, step as u64, 2.0);
    let text = |sampler: &mut Sampler, params: &SamplingParams, drawn: u64, others: bool| {
        let state = SamplerState::new(params, &[1, 2, 3], 1000, drawn);
        let mut output = Vec::new();
        for step in 0..20 {
            if others {
                sampler.sample(&at_temperature(1.5), &state, &[], &mut row(99 + step));
            }
            output.push(sampler.sample(params, &state, &output, &mut row(step)).token);
        }
        output
    };
    let mut sampler = Sampler::new(1000);
    let seeded = params(Some(7));
    let expected = text(&mut Sampler::new(1000), &seeded, 0, false);
    assert_eq!(text(&mut sampler, &seeded, 123, true), expected);
    assert_eq!(text(&mut sampler, &params(None), 7, true), expected);
    assert_ne!(text(&mut sampler, &params(Some(8)), 0, true), expected);
    assert_ne!(text(&mut sampler, &params(None), 8, true), expected);
}

#[test]
fn impossible_rows_have_defined_results() {
    let nan = f32::NAN;
    let inf = f32::INFINITY;
    let rows: [(&[f32], Token); 5] = [
        (&[nan, nan, nan], 0),
        (&[-inf, -inf], 0),
        (&[nan, -inf, 1.0, nan], 2),
        (&[0.0, inf, 5.0, inf], 1),
        (&[3.0], 0),
    ];
    for (row, expected) in rows {
        for temperature in [0.0, 1.0] {
            for (top_k, top_p, min_p) in
                [(0, 1.0, 0.0), (2, 0.5, 0.1), (0, 0.5, 0.0), (1, 1.0, 0.0)]
            {
                let params = SamplingParams {
                    top_k,
                    top_p,
                    min_p,
                    logprobs: Some(-1),
                    repetition_penalty: 1.3,
                    ..at_temperature(temperature)
                };
                let sampled = sample_once(&params, row);
                assert_eq!(sampled.token, expected, "{row:?} at {temperature}");
                let logprobs = sampled.logprobs.unwrap();
                assert_eq!(logprobs.top.len(), row.len());
                assert!(logprobs.top.iter().all(|(_, logprob)| !logprob.is_nan()));
            }
        }
    }
}

#[test]
fn logprobs_are_those_of_the_unmodified_row() {
    let params = SamplingParams {
        logit_bias: [(0, 100.0)].into(),
        bad_words: [vec![3]].into(),
        logprobs: Some(2),
        ..SamplingParams::greedy(1)
    };
    let row = [0.0, 1.0, 1.0, 2.0];
    let sampled = sample_once(&params, &row);
    assert_eq!(sampled.token, 0);
    let expected = Sampler::new(4).score(0, 2, &row);
    assert_eq!(*sampled.logprobs.unwrap(), expected);
    assert_eq!(expected.rank, 4);
    assert_eq!(expected.top.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [3, 1]);
    assert_eq!(Sampler::new(4).score(1, 0, &row).rank, 3, "ties count, as in vLLM");
}

#[test]
fn chosen_tokens_are_reported_in_their_order() {
    let mut params = SamplingParams { logprobs: Some(0), ..SamplingParams::greedy(1) };
    params.logprob_token_ids = Some([2, 0, 9].into());
    let logprobs = sample_once(&params, &[0.0, 1.0, 3.0]).logprobs.unwrap();
    let all = Sampler::new(3).score(0, -1, &[0.0, 1.0, 3.0]).top;
    let of = |token: Token| all.iter().find(|entry| entry.0 == token).unwrap().1;
    assert_eq!(logprobs.top, [(2, of(2)), (0, of(0)), (9, f32::NEG_INFINITY)]);
    assert_eq!((logprobs.token, logprobs.logprob, logprobs.rank), (2, of(2), 1));
}

#[test]
fn ids_outside_of_the_vocabulary_do_nothing() {
    let params = SamplingParams {
        logit_bias: [(9, 1.0)].into(),
        allowed_token_ids: Some([0, 1, 9].into()),
        bad_words: [vec![9], vec![]].into(),
        min_tokens: 5,
        eos: Some(9),
        repetition_penalty: 2.0,
        ..SamplingParams::greedy(1)
    };
    let mut state = SamplerState::new(&params, &[9, 1], 3, 0);
    state.accept(9);
    let mut logits = [1.0, 3.0, 5.0];
    assert_eq!(Sampler::new(3).sample(&params, &state, &[9], &mut logits).token, 1);
    assert_eq!(logits, [1.0, 1.5, f32::NEG_INFINITY]);
}

#[test]
fn penalties_remember_only_what_they_need() {
    let start = |params: &SamplingParams| SamplerState::new(params, &[1, 2, 3], 10, 0);
    let mut state = start(&at_temperature(1.0));
    state.accept(4);
    assert!(state.seen.is_empty());
    let presence = SamplingParams { presence_penalty: 1.0, ..at_temperature(1.0) };
    let mut state = start(&presence);
    state.accept(4);
    state.accept(4);
    assert_eq!(state.seen.len(), 1);
    assert_eq!(state.seen[&4].generated, 2);
}
