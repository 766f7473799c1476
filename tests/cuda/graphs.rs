//! Steps as CUDA graphs: which are, and what happens where there is no memory for them.

use crate::cpu_support::{Collected, Tensors, limits, run, tokens};
use crate::gpu::{all_bits, apart, configure, dims, open, options, random};
use glassbox::runner::cuda::{CudaBackend, Options};
use glassbox::runner::{Backend, Parts, StepBatch};
use std::sync::Arc;

/// What the driver says when there is no memory, and when it does not capture something.
const NO_MEMORY: u32 = 2;
const NOT_CAPTURED: u32 = 900;

/// A step of the first tokens of so many sequences.
fn step(backend: &CudaBackend, seqs: usize) -> StepBatch {
    let mut batch = StepBatch::new(backend.limits());
    for (seq, token) in tokens(seqs, dims().vocab, 5).into_iter().enumerate() {
        batch.push(&[token], 0, &[seq as u32], 1, None);
    }
    batch
}

fn logits(backend: &mut CudaBackend, seqs: usize) -> Vec<Vec<u32>> {
    let batch = step(backend, seqs);
    all_bits(&run(backend, &batch))
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

/// A backend that was made while the device did as `words` say.
fn without(words: &str) -> Result<CudaBackend, String> {
    let (dims, weights) = (dims(), Tensors::random(&dims(), 11));
    let (gpu, limits) = (open(), limits(&dims, 64, 16, 4));
    configure(words);
    let backend = CudaBackend::new(&gpu, &dims, &weights, limits, options(false));
    configure("");
    backend.map_err(|error| error.to_string())
}

#[test]
fn where_a_graph_cannot_be_had_kernels_start_one_by_one() {
    apart("graphs::where_a_graph_cannot_be_had_kernels_start_one_by_one", "", || {
        let mut eager = random(&dims(), limits(&dims(), 64, 16, 4), true);
        let wanted: Vec<_> = (1..=3).map(|seqs| logits(&mut eager, seqs)).collect();
        for call in ["cuGraphInstantiateWithFlags", "cuGraphUpload"] {
            for code in [NO_MEMORY, NOT_CAPTURED] {
                let mut backend = without(&format!("fail={call}:2:{code}")).expect("a backend");
                let all: Vec<_> = (1..=3).map(|seqs| logits(&mut backend, seqs)).collect();
                assert!(all == wanted, "{call}, {code}");
                let graphs = [1, 2, 3].map(|seqs| is_graph(&mut backend, seqs));
                assert_eq!(graphs, [true, false, false], "{call}, {code}");
            }
        }
    });
}

#[test]
fn the_last_of_the_memory_is_left_to_others() {
    apart("graphs::the_last_of_the_memory_is_left_to_others", "", || {
        let mut backend = without("memory=200000000").expect("a backend");
        assert!(!is_graph(&mut backend, 1));
    });
}

#[test]
fn a_device_that_fails_is_not_taken_for_one_without_graphs() {
    apart("graphs::a_device_that_fails_is_not_taken_for_one_without_graphs", "", || {
        let error = without("fail=cuGraphUpload:1:700").err().expect("it fails");
        assert!(error.contains("cuGraphUpload: CUDA_ERROR_ILLEGAL_ADDRESS"), "{error}");
    });
}

#[test]
fn graphs_come_back_with_the_memory() {
    apart("graphs::graphs_come_back_with_the_memory", "", || {
        let weights = Arc::new(Tensors::random(&dims(), 11));
        let backend = random(&dims(), limits(&dims(), 64, 16, 4), false);
        let mut backend = backend.sleeping(weights);
        let wanted = logits(&mut backend, 2);
        let both = Parts { weights: true, kv_cache: true };
        backend.release(both);
        backend.restore(Parts { kv_cache: false, ..both }).expect("weights");
        backend.restore(both).expect("a pool");
        assert!(is_graph(&mut backend, 2));
        assert!(logits(&mut backend, 2) == wanted);
    });
}
