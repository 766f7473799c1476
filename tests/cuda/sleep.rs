//! Memory that is given back and taken again.

use crate::cpu_support::{Tensors, limits, teacher_forced, tokens};
use crate::gpu::{backend, dims, open};
use glassbox::runner::{Backend, Parts};
use std::sync::Arc;

#[test]
fn a_backend_wakes_with_the_same_weights() {
    let dims = dims();
    let weights = Arc::new(Tensors::random(&dims, 11));
    let limits = limits(&dims, 64, 16, 4);
    let mut backend = backend(&dims, &*weights, limits, false).sleeping(weights);
    let tokens = tokens(40, dims.vocab, 1);
    let before = teacher_forced(&mut backend, &tokens);
    let gpu = open();
    let (free, _) = gpu.memory().unwrap();
    let all = Parts { weights: true, kv_cache: true };
    backend.release(all);
    let (asleep, _) = gpu.memory().unwrap();
    assert!(asleep > free, "{free} bytes were free, and {asleep} are");
    backend.restore(all).unwrap();
    assert!(teacher_forced(&mut backend, &tokens) == before);
}
