//! Memory that is given back and taken again.

use crate::cpu_support::{Tensors, limits, teacher_forced, tokens};
use crate::gpu::{apart, backend, configure, dims, open};
use glassbox::runner::cuda::CudaBackend;
use glassbox::runner::{Backend, Parts};
use std::sync::Arc;
use std::time::Duration;

/// A backend that can give its memory back.
fn sleeper() -> CudaBackend {
    let dims = dims();
    let weights = Arc::new(Tensors::random(&dims, 11));
    let limits = limits(&dims, 64, 16, 4);
    backend(&dims, &*weights, limits, false).sleeping(weights)
}

#[test]
fn a_backend_wakes_with_the_same_weights() {
    // What is free is looked at, so nobody else may be there.
    apart("sleep::a_backend_wakes_with_the_same_weights", "", || {
        let mut backend = sleeper();
        let tokens = tokens(40, dims().vocab, 1);
        let before = teacher_forced(&mut backend, &tokens);
        let gpu = open();
        let (free, _) = gpu.memory().unwrap();
        let all = Parts { weights: true, kv_cache: true };
        backend.release(all);
        let (asleep, _) = gpu.memory().unwrap();
        assert!(asleep > free, "{free} bytes were free, and {asleep} are");
        backend.restore(all).unwrap();
        assert!(teacher_forced(&mut backend, &tokens) == before);
    });
}

#[test]
fn a_wake_up_that_failed_needs_no_more_memory_the_next_time() {
    apart("sleep::a_wake_up_that_failed_needs_no_more_memory_the_next_time", "", || {
        let mut backend = sleeper();
        let tokens = tokens(40, dims().vocab, 1);
        let before = teacher_forced(&mut backend, &tokens);
        let (free, total) = open().memory().unwrap();
        let weights = Parts { weights: true, kv_cache: false };
        backend.release(weights);
        // There is what was in use, and not a byte more.
        let used = total - free;
        configure(&format!("memory={used},fail=cuMemcpyHtoDAsync:3:999"));
        let failed = backend.restore(weights).expect_err("a copy fails");
        assert!(failed.to_string().contains("CUDA_ERROR_UNKNOWN"), "{failed}");
        backend.restore(weights).unwrap();
        assert!(teacher_forced(&mut backend, &tokens) == before);
    });
}

#[test]
fn a_pool_that_peers_know_stays() {
    apart("sleep::a_pool_that_peers_know_stays", "", || {
        let mut backend = sleeper();
        let gpu = open();
        let free = || gpu.memory().unwrap().0;
        let before = free();
        let known = backend.kv_memory().expect("a pool");
        let copies = known.copies.clone().expect("of a device");
        let cache = Parts { weights: false, kv_cache: true };
        backend.release(cache);
        backend.restore(cache).unwrap();
        assert_eq!(free(), before);
        let again = backend.kv_memory().expect("a pool").regions;
        assert_eq!(again, known.regions);
        // A way to it keeps it as well. Without either it goes.
        drop(known);
        let lane = copies.lane(Duration::ZERO).expect("a lane");
        backend.release(cache);
        assert_eq!(free(), before);
        drop(lane);
        backend.release(cache);
        assert!(free() > before);
        backend.restore(cache).unwrap();
        assert_eq!(free(), before);
    });
}
