//! No step of the CUDA backend allocates, once its kind of step was met: graphs are captured then.

mod cpu_support;
#[path = "kernels/emulator.rs"]
#[allow(dead_code)] // Made for another test crate.
mod emulator;
#[path = "cuda/gpu.rs"]
#[allow(dead_code)] // As above.
mod gpu;

use cpu_support::allocations::{Counting, so_far};
use cpu_support::*;
use glassbox::runner::{Backend, RowSink, StepBatch};
use glassbox::sampler::Draw;
use glassbox::types::{Token, TokenLogprobs};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counts rows.
struct Count(usize);

impl RowSink for Count {
    fn logits(&mut self, _row: usize, logits: &mut [f32]) {
        assert!(logits.iter().all(|x| x.is_finite()));
        self.0 += 1;
    }

    fn sampled(&mut self, _row: usize, _token: Token) {
        self.0 += 1;
    }

    fn reported(&mut self, _row: usize, _sampled: TokenLogprobs) {
        self.0 += 1;
    }
}

/// Without the test harness, whose own threads allocate too.
fn main() {
    let dims = gpu::dims();
    let limits = limits(&dims, 64, 16, 5);
    let mut backend = gpu::random(&dims, limits, false);
    let tokens = tokens(64, dims.vocab, 5);
    let (mut batch, mut next) = (StepBatch::new(&limits), StepBatch::new(&limits));
    let mut sink = Count(0);
    let mut round = || {
        // A prompt, its first token, and a step ahead of that one's result.
        batch.clear();
        batch.push(&tokens[..33], 0, &[0, 1, 2, 3, 4], 33, None);
        backend.submit(&batch).unwrap();
        backend.collect(&mut sink).unwrap();
        batch.clear();
        batch.push(&tokens[33..34], 33, &[0, 1, 2, 3, 4], 1, Some(Draw::GREEDY));
        backend.submit(&batch).unwrap();
        next.clear();
        next.push_fed(0, 34, &[0, 1, 2, 3, 4], Draw::GREEDY);
        backend.submit(&next).unwrap();
        backend.collect(&mut sink).unwrap();
        backend.collect(&mut sink).unwrap();
        so_far()
    };
    let first = round();
    assert_eq!(round(), first);
    assert_eq!(sink.0, 2 * 35);
    println!("test steps_do_not_allocate ... ok");
}
