//! Tokens that the device samples, and what it tells with them: what the host would make of the
//! same logits.

use crate::cpu_support::{limits, run};
use crate::gpu::{dims, random};
use glassbox::runner::{Backend, Limits, RowSink, StepBatch};
use glassbox::sampler::{Draw, Sampler};
use glassbox::types::{Token, TokenLogprobs};

/// What comes of a row.
#[derive(Debug)]
pub enum Found {
    Logits(Vec<f32>),
    Token(Token),
    Report(TokenLogprobs),
}

impl Found {
    fn token(&self) -> Token {
        match self {
            Self::Token(token) => *token,
            Self::Report(report) => report.token,
            Self::Logits(_) => panic!("logits, and not a token"),
        }
    }
}

/// Keeps what comes, row by row.
#[derive(Default)]
pub struct Results(pub Vec<(usize, Found)>);

impl RowSink for Results {
    fn logits(&mut self, row: usize, logits: &mut [f32]) {
        self.0.push((row, Found::Logits(logits.to_vec())));
    }

    fn sampled(&mut self, row: usize, token: Token) {
        self.0.push((row, Found::Token(token)));
    }

    fn reported(&mut self, row: usize, sampled: TokenLogprobs) {
        self.0.push((row, Found::Report(sampled)));
    }
}

fn draws() -> Vec<Draw> {
    let plain = Draw { temperature: 0.9, seed: 1 << 40 | 7, position: 3, ..Draw::GREEDY };
    vec![
        Draw::GREEDY,
        plain,
        Draw { top_k: 5, position: 4, ..plain },
        Draw { top_p: 0.6, position: 5, ..plain },
        Draw { min_p: 0.3, position: 6, ..plain },
        Draw { top_k: 20, top_p: 0.9, min_p: 0.01, temperature: 1.7, position: 100, ..plain },
    ]
}

#[test]
fn the_device_draws_what_the_host_would() {
    let dims = dims();
    let limits = limits(&dims, 64, 16, 1);
    for eager in [true, false] {
        let mut backend = random(&dims, limits, eager);
        let mut sampler = Sampler::new(dims.vocab);
        for (i, draw) in draws().into_iter().enumerate() {
            // Some rows are drawn, others give their logits, in one step.
            let mut batch = StepBatch::new(&limits);
            for (block, wanted) in [(0, Some(draw)), (1, None), (2, Some(Draw::GREEDY))] {
                batch.push(&[i as Token + 1], 0, &[block], 1, wanted);
            }
            let mut results = Results::default();
            backend.submit(&batch).unwrap();
            backend.collect(&mut results).unwrap();
            let [(0, Found::Token(drawn)), (1, Found::Logits(logits)), (2, Found::Token(best))] =
                &results.0[..]
            else {
                panic!("{:?}", results.0);
            };
            assert_eq!(*drawn, sampler.draw(&draw, logits), "{draw:?}");
            assert_eq!(*best, sampler.draw(&Draw::GREEDY, logits));
        }
    }
}

/// Ranks and tokens are equal; a log-probability differs by the rounding of one sum.
pub fn assert_told(found: &Found, draw: &Draw, logits: &[f32]) {
    let mut sampler = Sampler::new(logits.len());
    let token = sampler.draw(draw, logits);
    let Some(top) = draw.report else {
        assert!(matches!(found, Found::Token(found) if *found == token), "{draw:?}: {found:?}");
        return;
    };
    let Found::Report(found) = found else { panic!("{draw:?}: {found:?}") };
    let wanted = sampler.score(token, top as i32, logits);
    let close = |a: f32, b: f32| (a - b).abs() <= 2e-6 * b.abs().max(1.0);
    assert_eq!((found.token, found.rank, found.top.len()), (token, wanted.rank, top as usize));
    assert!(close(found.logprob, wanted.logprob), "{found:?} {wanted:?}");
    for (found, wanted) in found.top.iter().zip(&wanted.top) {
        assert!(found.0 == wanted.0 && close(found.1, wanted.1), "{found:?} {wanted:?}");
    }
}

#[test]
fn the_device_tells_the_log_probabilities_that_the_host_would() {
    let dims = dims();
    let limits = Limits { num_blocks: 8, ..limits(&dims, 64, 16, 1) };
    for eager in [true, false] {
        let mut backend = random(&dims, limits, eager);
        for (i, draw) in draws().into_iter().enumerate() {
            let mut batch = StepBatch::new(&limits);
            let reports = [Some(0), None, Some(5), Some(Draw::MOST_REPORTED)];
            let draws = reports.map(|report| Draw { report, ..draw });
            for (block, draw) in draws.into_iter().enumerate() {
                let token = (4 * i + block) as Token;
                batch.push(&[token], 0, &[2 * block as u32], 1, Some(draw));
            }
            let mut results = Results::default();
            backend.submit(&batch).unwrap();
            backend.collect(&mut results).unwrap();
            for (block, draw) in draws.into_iter().enumerate() {
                let token = (4 * i + block) as Token;
                let mut alone = StepBatch::new(&limits);
                alone.push(&[token], 0, &[7], 1, None);
                let (row, found) = &results.0[block];
                assert_eq!(*row, block);
                assert_told(found, &draw, &run(&mut backend, &alone)[0]);
            }
        }
    }
}

#[test]
fn a_step_ahead_goes_on_from_tokens_that_only_the_device_knows() {
    let dims = dims();
    let limits = limits(&dims, 64, 16, 2);
    let prompts: [&[Token]; 3] = [&[5, 6, 7], &[9], &[11, 3]];
    let told = Draw { report: Some(2), ..Draw::GREEDY };
    for eager in [true, false] {
        let mut backend = random(&dims, limits, eager);
        assert!(backend.runs_ahead());
        let mut first = StepBatch::new(&limits);
        for (i, prompt) in prompts.iter().enumerate() {
            let blocks = [2 * i as u32, 2 * i as u32 + 1];
            first.push(prompt, 0, &blocks, 1, Some(told));
        }
        // The second sequence has ended; the others go on.
        let mut second = StepBatch::new(&limits);
        second.push_fed(0, 3, &[0, 1], told);
        second.push_fed(2, 2, &[4, 5], Draw::GREEDY);
        let mut results = Results::default();
        backend.submit(&first).unwrap();
        backend.submit(&second).unwrap();
        backend.collect(&mut results).unwrap();
        backend.collect(&mut results).unwrap();
        let token = |i: usize| results.0[i].1.token();
        let mut sampler = Sampler::new(dims.vocab);
        for (prompt, at, next) in [(0, 0, 3), (2, 2, 4)] {
            let mut tokens = prompts[prompt].to_vec();
            tokens.push(token(at));
            let mut batch = StepBatch::new(&limits);
            batch.push(&tokens, 0, &[6, 7], 1, None);
            let logits = &run(&mut backend, &batch)[0];
            assert_eq!(token(next), sampler.draw(&Draw::GREEDY, logits), "prompt {prompt}");
            let draw = if next == 3 { &told } else { &Draw::GREEDY };
            assert_told(&results.0[next].1, draw, logits);
        }
    }
}
