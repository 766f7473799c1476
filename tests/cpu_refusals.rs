//! What the backend refuses, and how it says so: at start, and in a step.

mod cpu_support;

use cpu_support::*;
use glassbox::model::Dims;
use glassbox::runner::cpu::{CpuBackend, Isa};
use glassbox::runner::{Backend, Limits, SampleRow, StepBatch};

fn refused(dims: &Dims, tensors: &Tensors, isa: Option<Isa>) -> String {
    let limits = limits(dims, 64, 16, 4);
    match CpuBackend::new(dims, tensors, limits, 1, isa) {
        Ok(_) => panic!("should have been refused"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn models_that_do_not_fit_are_refused() {
    let mut tensors = Tensors::random(&small(), 1);
    let odd = Dims { head_dim: 48, ..small() };
    assert!(refused(&odd, &tensors, None).contains("head_dim is not a multiple of 32"));
    let wide = Dims { intermediate: 128, ..small() };
    let reason = refused(&wide, &tensors, None);
    assert!(reason.contains("mlp.gate_proj.weight has shape [96, 64]"), "{reason}");
    tensors.0.remove("model.layers.1.self_attn.k_norm.weight");
    let reason = refused(&small(), &tensors, None);
    assert!(reason.contains("model.layers.1.self_attn.k_norm.weight is missing"), "{reason}");
    if let Some(isa) = Isa::ALL.into_iter().find(|isa| !isa.is_available()) {
        let reason = refused(&small(), &tensors, Some(isa));
        assert!(reason.contains(&format!("does not have the instruction set {isa}")), "{reason}");
    }
}

#[test]
fn names_of_instruction_sets_are_read_back() {
    for isa in Isa::ALL {
        assert_eq!(isa.name().parse::<Isa>().unwrap(), isa);
    }
    assert!("sse9".parse::<Isa>().unwrap_err().to_string().contains("sse9"));
}

/// A step that breaks the contract must not reach the kernels, which trust it.
#[test]
fn steps_that_break_the_contract_are_refused() {
    let dims = small();
    let limits = limits(&dims, 64, 16, 4);
    let tensors = Tensors::random(&dims, 1);
    let mut backend = CpuBackend::new(&dims, &tensors, limits, 1, None).unwrap();
    let good = || {
        let mut batch = StepBatch::new(&limits);
        batch.push(&[1, 2, 3], 14, &[0, 1], 1, None);
        batch
    };
    assert!(backend.submit(&good()).is_ok());
    let mut refused = |what: &str, batch: &StepBatch| {
        let reason = backend.submit(batch).unwrap_err().to_string();
        assert!(reason.contains(what), "{reason}");
    };
    let mut batch = good();
    batch.tokens[1] = dims.vocab as u32;
    refused("token 100", &batch);
    let mut batch = good();
    batch.positions[1] = 20;
    refused("rows 0..3", &batch);
    let mut batch = good();
    batch.context_len[0] = 65;
    batch.positions = vec![62, 63, 64];
    refused("too long", &batch);
    let mut batch = good();
    batch.rows.push(SampleRow { row: 2, seq: 0, draw: None });
    refused("ascending", &batch);
    let mut batch = StepBatch::new(&limits);
    batch.push(&[1], 0, &[limits.num_blocks as u32], 1, None);
    refused("block 16", &batch);
    let larger = Limits { max_tokens: 65, ..limits };
    let mut batch = StepBatch::new(&larger);
    batch.push(&[1; 65], 0, &[0, 1, 2, 3], 1, None);
    refused("65 tokens", &batch);
}
