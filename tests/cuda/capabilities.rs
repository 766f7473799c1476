//! Devices of other compute capabilities: they differ in the shared memory of a block, and with it
//! in what runs at once; never in a bit.

use crate::cpu_support::{Tensors, limits, run, teacher_forced, tokens};
use crate::gpu::{all_bits, apart, configure, dims, open, options, random};
use glassbox::runner::cuda::CudaBackend;
use glassbox::runner::{Backend, StepBatch};

/// The bits of the logits of steps of one row, and of steps of many.
fn logits(capability: &str) -> Vec<Vec<u32>> {
    configure(&format!("capability={capability}"));
    let dims = dims();
    let mut backend = random(&dims, limits(&dims, 64, 16, 9), false);
    let tokens = tokens(140, dims.vocab, 5);
    let mut all = teacher_forced(&mut backend, &tokens[..20]);
    let blocks: Vec<u32> = (0..9).collect();
    let mut batch = StepBatch::new(backend.limits());
    for (start, end) in [(0, 64), (64, 128), (128, 129), (129, 140)] {
        batch.clear();
        batch.push(&tokens[start..end], start, &blocks, end - start, None);
        all.extend(run(&mut backend, &batch));
    }
    all_bits(&all)
}

#[test]
fn those_that_there_are_kernels_for_give_the_same_bits() {
    apart("capabilities::those_that_there_are_kernels_for_give_the_same_bits", "", || {
        let wanted = logits("9.0");
        for capability in ["8.0", "10.0"] {
            assert!(logits(capability) == wanted, "{capability}");
        }
    });
}

#[test]
fn those_with_too_little_shared_memory_are_told_so() {
    apart("capabilities::those_with_too_little_shared_memory_are_told_so", "", || {
        for capability in ["8.6", "8.9", "12.0"] {
            configure(&format!("capability={capability}"));
            let (dims, weights) = (dims(), Tensors::random(&dims(), 1));
            let limits = limits(&dims, 64, 16, 4);
            let made = CudaBackend::new(&open(), &dims, &weights, limits, options(true));
            let error = made.err().expect("too little").to_string();
            assert!(error.starts_with("this program has no kernels for"), "{error}");
            let why = "bytes of shared memory, of which a block may have 101376";
            assert!(error.contains(capability) && error.ends_with(why), "{error}");
        }
    });
}
