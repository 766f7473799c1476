//! Steps as CUDA graphs: which are, and what happens where there is no memory for them.

use crate::cpu_support::{Collected, Tensors, limits, run, tokens};
use crate::gpu::{apart, configure, dims, open, options, random};
use glassbox::runner::cuda::{CudaBackend, Options};
use glassbox::runner::{Backend, StepBatch};

/// What the driver says when there is no memory.
const NO_MEMORY: &str = "2";

/// A step of the first tokens of so many sequences.
fn step(backend: &CudaBackend, seqs: usize) -> StepBatch {
    let mut batch = StepBatch::new(backend.limits());
    for (seq, token) in tokens(seqs, dims().vocab, 5).into_iter().enumerate() {
        batch.push(&[token], 0, &[seq as u32], 1, None);
    }
    batch
}

fn bits(backend: &mut CudaBackend, seqs: usize) -> Vec<Vec<u32>> {
    let batch = step(backend, seqs);
    let logits = run(backend, &batch);
    logits.iter().map(|row| row.iter().map(|x| x.to_bits()).collect()).collect()
}

/// Whether a step of so many sequences is a graph.
fn is_graph(backend: &mut CudaBackend, seqs: usize) -> bool {
    configure("fail=cuGraphLaunch:1:719");
    let batch = step(backend, seqs);
    let failed = backend.submit(&batch).is_err();
    configure("");
    if !failed {
        backend.collect(&mut Collected::default()).expect("it was submitted");
    }
    failed
}

#[test]
fn sizes_that_were_asked_for_and_no_others() {
    apart("graphs::sizes_that_were_asked_for_and_no_others", "", || {
        let (dims, weights) = (dims(), Tensors::random(&dims(), 11));
        let limits = limits(&dims, 64, 16, 4);
        let seqs = limits.max_seqs;
        let with = |graph_sizes: &[usize]| {
            let options = Options { graph_sizes: graph_sizes.to_vec(), ..options(true) };
            let backend = CudaBackend::new(&open(), &dims, &weights, limits, options);
            let mut backend = backend.expect("a backend");
            (1..=seqs).map(|seqs| is_graph(&mut backend, seqs)).collect::<Vec<_>>()
        };
        assert!(with(&[]).iter().all(|graph| !graph));
        let some = with(&[1, 3]);
        assert!(some[..3].iter().all(|&graph| graph) && some[3..].iter().all(|graph| !graph));
        // One that is larger than any step is the largest step's.
        assert!(with(&[1, 1000]).iter().all(|&graph| graph));
    });
}

#[test]
fn without_memory_for_a_graph_kernels_start_one_by_one() {
    apart("graphs::without_memory_for_a_graph_kernels_start_one_by_one", "", || {
        let mut backend = random(&dims(), limits(&dims(), 64, 16, 4), true);
        let wanted: Vec<_> = (1..=3).map(|seqs| bits(&mut backend, seqs)).collect();
        for call in ["cuGraphInstantiateWithFlags", "cuGraphUpload"] {
            let mut backend = random(&dims(), limits(&dims(), 64, 16, 4), false);
            assert!(bits(&mut backend, 1) == wanted[0]);
            configure(&format!("fail={call}:1:{NO_MEMORY}"));
            assert!(bits(&mut backend, 2) == wanted[1], "{call}");
            // No more are tried, and those that there are go on.
            assert!(bits(&mut backend, 3) == wanted[2], "{call}");
            assert!(!is_graph(&mut backend, 3) && is_graph(&mut backend, 1), "{call}");
        }
    });
}

#[test]
fn the_last_of_the_memory_is_left_to_others() {
    apart("graphs::the_last_of_the_memory_is_left_to_others", "memory=200000000", || {
        let mut backend = random(&dims(), limits(&dims(), 64, 16, 4), false);
        let batch = step(&backend, 1);
        configure("memory=200000000,fail=cuGraphLaunch:1:719");
        backend.submit(&batch).expect("no graph");
    });
}

#[test]
fn a_failure_that_is_not_of_memory_ends_the_backend() {
    apart("graphs::a_failure_that_is_not_of_memory_ends_the_backend", "", || {
        let mut backend = random(&dims(), limits(&dims(), 64, 16, 4), false);
        let batch = step(&backend, 1);
        configure("fail=cuGraphUpload:1:700");
        let error = backend.submit(&batch).expect_err("it fails").to_string();
        assert!(error.contains("cuGraphUpload: CUDA_ERROR_ILLEGAL_ADDRESS"), "{error}");
    });
}
