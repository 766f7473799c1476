//! `--logprobs-mode` against what vLLM's kernels leave of a row.

use super::tests::{golden_params, tokens};
use super::*;
use serde_json::Value;
use std::collections::HashMap;

/// All tokens of a row with what is reported of them.
fn reported(mode: LogprobsMode, case: &Value) -> (TokenLogprobs, HashMap<Token, f32>) {
    let params = SamplingParams { logprobs: Some(-1), ..golden_params(case) };
    let mut logits = numbers(&case["logits"]);
    let (prompt, output) = (tokens(&case["prompt"]), tokens(&case["output"]));
    let mut state = SamplerState::new(&params, &prompt, logits.len(), 0);
    output.iter().for_each(|&token| state.accept(token));
    let mut sampler = Sampler::new(logits.len()).reporting(mode);
    let sampled = sampler.sample(&params, &state, &output, &mut logits);
    assert_eq!(u64::from(sampled.token), case["token"].as_u64().unwrap(), "drawn as ever");
    let logprobs = *sampled.logprobs.unwrap();
    let top = logprobs.top.iter().copied().collect();
    (logprobs, top)
}

fn numbers(row: &Value) -> Vec<f32> {
    let number = |x: &Value| x.as_f64().map_or(f32::NEG_INFINITY, |x| x as f32);
    row.as_array().unwrap().iter().map(number).collect()
}

/// A row's log-probabilities, in f64.
fn log_softmax(row: &[f32]) -> Vec<f64> {
    let best = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = row.iter().map(|&x| (f64::from(x) - best).exp()).sum();
    row.iter().map(|&x| f64::from(x) - best - sum.ln()).collect()
}

fn is_close(a: f32, b: f64) -> bool {
    a == b as f32 || (f64::from(a) - b).abs() < 1e-4 * b.abs().max(1.0)
}

#[test]
fn each_mode_shows_what_it_says() {
    let cases: Value =
        serde_json::from_str(include_str!("../../tests/data/text/sampler.json")).unwrap();
    for (i, case) in cases.as_array().unwrap().iter().enumerate() {
        let temperature = case["params"]["temperature"].as_f64().unwrap() as f32;
        let raw = numbers(&case["logits"]);
        let mut drawn = numbers(&case["adjusted"]);
        if temperature > 0.0 {
            let kept = tokens(&case["kept"]);
            for (token, logit) in drawn.iter_mut().enumerate() {
                let is_kept = kept.contains(&(token as Token));
                *logit = if is_kept { *logit / temperature } else { f32::NEG_INFINITY };
            }
        }
        for (mode, row) in
            [(LogprobsMode::RawLogits, &raw), (LogprobsMode::ProcessedLogits, &drawn)]
        {
            let (chosen, top) = reported(mode, case);
            let shown: Vec<f32> = (0..row.len()).map(|token| top[&(token as Token)]).collect();
            assert_eq!(&shown, row, "case {i}, {mode:?}");
            let logit = row[chosen.token as usize];
            let rank = row.iter().filter(|&&other| other >= logit).count();
            assert_eq!((chosen.logprob, chosen.rank as usize), (logit, rank), "case {i}, {mode:?}");
        }
        for (mode, row) in
            [(LogprobsMode::RawLogprobs, &raw), (LogprobsMode::ProcessedLogprobs, &drawn)]
        {
            let (chosen, top) = reported(mode, case);
            for (token, wanted) in log_softmax(row).into_iter().enumerate() {
                let shown = top[&(token as Token)];
                assert!(is_close(shown, wanted), "case {i}, {mode:?}: {shown}, not {wanted}");
            }
            assert_eq!(top[&chosen.token], chosen.logprob, "case {i}, {mode:?}");
        }
    }
}

#[test]
fn prompts_are_shown_raw_or_as_logits() {
    let row = [0.5, 2.0, -1.0];
    let score = |mode| Sampler::new(3).reporting(mode).score(2, 1, &row);
    for (mode, plain) in [
        (LogprobsMode::ProcessedLogits, LogprobsMode::RawLogits),
        (LogprobsMode::ProcessedLogprobs, LogprobsMode::RawLogprobs),
    ] {
        assert_eq!(score(mode), score(plain));
    }
    let logits = score(LogprobsMode::RawLogits);
    assert_eq!((logits.logprob, logits.rank, &*logits.top), (-1.0, 3, &[(1, 2.0)][..]));
}
