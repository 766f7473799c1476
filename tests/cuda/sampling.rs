//! Tokens that the device samples: those that the host would draw from the same logits.

use crate::cpu_support::{limits, run};
use crate::gpu::{dims, random};
use glassbox::runner::{Backend, RowSink, StepBatch};
use glassbox::sampler::{Draw, Sampler};
use glassbox::types::Token;

/// Keeps what comes, row by row.
#[derive(Default)]
struct Results(Vec<(usize, Result<Token, Vec<f32>>)>);

impl RowSink for Results {
    fn logits(&mut self, row: usize, logits: &mut [f32]) {
        self.0.push((row, Err(logits.to_vec())));
    }

    fn sampled(&mut self, row: usize, token: Token) {
        self.0.push((row, Ok(token)));
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
        Draw { top_k: 20, top_p: 0.9, min_p: 0.01, temperature: 1.7, seed: 9, position: 100 },
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
            let [(0, Ok(drawn)), (1, Err(logits)), (2, Ok(best))] = &results.0[..] else {
                panic!("{:?}", results.0);
            };
            assert_eq!(*drawn, sampler.draw(&draw, logits), "{draw:?}");
            assert_eq!(*best, sampler.draw(&Draw::GREEDY, logits));
        }
    }
}

#[test]
fn a_step_ahead_goes_on_from_tokens_that_only_the_device_knows() {
    let dims = dims();
    let limits = limits(&dims, 64, 16, 2);
    let prompts: [&[Token]; 3] = [&[5, 6, 7], &[9], &[11, 3]];
    for eager in [true, false] {
        let mut backend = random(&dims, limits, eager);
        assert!(backend.runs_ahead());
        let mut first = StepBatch::new(&limits);
        for (i, prompt) in prompts.iter().enumerate() {
            let blocks = [2 * i as u32, 2 * i as u32 + 1];
            first.push(prompt, 0, &blocks, 1, Some(Draw::GREEDY));
        }
        // The second sequence has ended; the others go on.
        let mut second = StepBatch::new(&limits);
        second.push_fed(0, 3, &[0, 1], Draw::GREEDY);
        second.push_fed(2, 2, &[4, 5], Draw::GREEDY);
        let mut results = Results::default();
        backend.submit(&first).unwrap();
        backend.submit(&second).unwrap();
        backend.collect(&mut results).unwrap();
        backend.collect(&mut results).unwrap();
        let token = |i: usize| *results.0[i].1.as_ref().expect("a token");
        let mut sampler = Sampler::new(dims.vocab);
        for (prompt, at, next) in [(0, 0, 3), (2, 2, 4)] {
            let mut tokens = prompts[prompt].to_vec();
            tokens.push(token(at));
            let mut batch = StepBatch::new(&limits);
            batch.push(&tokens, 0, &[6, 7], 1, None);
            let logits = &run(&mut backend, &batch)[0];
            assert_eq!(token(next), sampler.draw(&Draw::GREEDY, logits), "prompt {prompt}");
        }
    }
}
