//! Sleep of the CPU backend: its memory really goes back, and what comes after is as before.

mod cpu_support;

use cpu_support::*;
use glassbox::runner::cpu::CpuBackend;
use glassbox::runner::{Backend, Parts, StepBatch};
use std::sync::Arc;

const ALL: Parts = Parts { weights: true, kv_cache: true };

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = text.split(' ').nth(1).expect("a second number").parse().expect("a number");
    pages * 4096
}

#[test]
fn memory_goes_back_and_comes_again() {
    let mut dims = small();
    dims.vocab = 65536;
    let weights = Arc::new(Tensors::random(&dims, 3));
    // 8 MiB of KV cache, all of it used below.
    let limits = limits(&dims, 1024, 16, 256);
    let backend = CpuBackend::new(&dims, &*weights, limits, 1, None).expect("a backend");
    let mut backend = backend.sleeping(weights);
    let memory = CpuBackend::memory(&dims, &limits, 1);
    let prompt = tokens(16, dims.vocab, 5);
    let before = teacher_forced(&mut backend, &prompt);
    let blocks: Vec<u32> = (0..limits.num_blocks as u32).collect();
    for blocks in blocks.chunks(64) {
        let mut batch = StepBatch::new(&limits);
        for own in blocks.chunks(4) {
            batch.push(&tokens(64, dims.vocab, 7), 0, own, 1, None);
        }
        run(&mut backend, &batch);
    }
    let awake = resident();
    backend.release(Parts { weights: false, kv_cache: true });
    let level_1 = resident();
    // Other parts of the test come and go by a little.
    let slack = 2 << 20;
    assert!(level_1 + memory.kv_cache < awake + slack, "{awake} → {level_1}: {memory:?}");
    backend.release(Parts { weights: true, kv_cache: false });
    let level_2 = resident();
    assert!(level_2 + memory.weights < level_1 + slack, "{level_1} → {level_2}: {memory:?}");
    backend.restore(ALL).expect("the weights are still there");
    assert_eq!(teacher_forced(&mut backend, &prompt), before);
}

#[test]
fn without_a_source_nothing_is_released() {
    let dims = small();
    let weights = Tensors::random(&dims, 3);
    let mut backend = CpuBackend::new(&dims, &weights, limits(&dims, 64, 16, 8), 1, None).unwrap();
    let prompt = tokens(40, dims.vocab, 5);
    let before = teacher_forced(&mut backend, &prompt);
    assert!(!backend.can_release());
    backend.release(ALL);
    backend.restore(ALL).unwrap();
    assert_eq!(teacher_forced(&mut backend, &prompt), before);
}
