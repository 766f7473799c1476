//! No step allocates, on any thread.

mod cpu_support;

use cpu_support::allocations::{Counting, so_far};
use cpu_support::*;
use glassbox::runner::cpu::CpuBackend;
use glassbox::runner::{Backend, RowSink, StepBatch};
use glassbox::types::{Token, TokenLogprobs};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Adds up, so that rows are counted without keeping them.
struct Sum(usize);

impl RowSink for Sum {
    fn logits(&mut self, _row: usize, logits: &mut [f32]) {
        assert!(logits.iter().all(|x| x.is_finite()));
        self.0 += 1;
    }

    fn sampled(&mut self, _row: usize, _token: Token) {}

    fn reported(&mut self, _row: usize, _sampled: TokenLogprobs) {}
}

/// Without the test harness, whose own threads allocate too.
fn main() {
    let dims = small();
    let tensors = Tensors::random(&dims, 3);
    let limits = limits(&dims, 600, 16, 40);
    let mut backend = CpuBackend::new(&dims, &tensors, limits, 2, None).unwrap();
    let blocks: Vec<u32> = (0..40).collect();
    let tokens = tokens(600, dims.vocab, 5);
    let mut batch = StepBatch::new(&limits);
    let mut sink = Sum(0);
    // The standard library makes a thread's handle when it is first asked for.
    let _handle = std::thread::current();
    // The very first step counts too; so does the first that has all rows wanted.
    let before = so_far();
    for (n, start, wanted) in [(1, 0, 1), (600, 0, 600), (33, 567, 1), (1, 600, 1), (1, 601, 1)] {
        batch.clear();
        batch.push(&tokens[..n], start, &blocks, wanted, None);
        backend.submit(&batch).unwrap();
        backend.collect(&mut sink).unwrap();
    }
    assert_eq!(so_far(), before);
    assert_eq!(sink.0, 604);
    println!("test steps_do_not_allocate ... ok");
}
