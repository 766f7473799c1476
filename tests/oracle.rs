//! The CPU backend against candle-transformers' Qwen3 in f32, one token at a time.
//!
//! Both start from the same bf16 weights; ours rounds operands of products and the KV cache to bf16
//! on the way, the oracle rounds nothing. So logits differ by what bf16 costs, a small part of
//! their size, and the most likely token is the same wherever it is clear.

mod cpu_support;

use candle_core::{DType, Device, Tensor};
use candle_nn::{Activation, VarBuilder};
use candle_transformers::models::qwen3::{Config, ModelForCausalLM};
use cpu_support::*;
use glassbox::model::{Checkpoint, Dims, ModelConfig, Weights, tensors};
use glassbox::runner::cpu::CpuBackend;
use glassbox::types::Token;
use half::bf16;
use std::collections::HashMap;
use std::path::Path;

/// The oracle's view of `weights`: every tensor in f32.
fn oracle(dims: &Dims, weights: &dyn Weights) -> ModelForCausalLM {
    let mut all = HashMap::new();
    for (name, shape) in tensors(dims) {
        let mut data = vec![bf16::ZERO; shape.iter().product()];
        weights.read_rows(&name, 0, &mut data).unwrap();
        let data: Vec<f32> = data.iter().map(|x| x.to_f32()).collect();
        all.insert(name, Tensor::from_vec(data, shape, &Device::Cpu).unwrap());
    }
    let config = Config {
        vocab_size: dims.vocab,
        hidden_size: dims.hidden,
        intermediate_size: dims.intermediate,
        num_hidden_layers: dims.layers,
        num_attention_heads: dims.heads,
        head_dim: dims.head_dim,
        attention_bias: false,
        num_key_value_heads: dims.kv_heads,
        max_position_embeddings: dims.max_positions,
        sliding_window: None,
        max_window_layers: dims.layers,
        tie_word_embeddings: dims.tied,
        rope_theta: dims.rope_theta,
        rms_norm_eps: f64::from(dims.rms_eps),
        use_sliding_window: false,
        hidden_act: Activation::Silu,
    };
    let builder = VarBuilder::from_tensors(all, DType::F32, &Device::Cpu);
    ModelForCausalLM::new(&config, builder).unwrap()
}

fn oracle_logits(model: &mut ModelForCausalLM, tokens: &[Token]) -> Vec<Vec<f32>> {
    let one = |(position, token): (usize, &Token)| {
        let input = Tensor::from_slice(&[*token], (1, 1), &Device::Cpu).unwrap();
        model.forward(&input, position).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    };
    tokens.iter().enumerate().map(one).collect()
}

/// The index of the largest, and how far it is ahead of the next.
fn best(logits: &[f32]) -> (usize, f32) {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_unstable_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    (order[0], logits[order[0]] - logits[order[1]])
}

fn compare(name: &str, dims: &Dims, weights: &dyn Weights, tokens: &[Token]) {
    let wanted = oracle_logits(&mut oracle(dims, weights), tokens);
    for isa in isas() {
        let limits = limits(dims, 512, 16, 20);
        let mut backend = CpuBackend::new(dims, weights, limits, 2, Some(isa)).unwrap();
        let found = teacher_forced(&mut backend, tokens);
        let (mut squares, mut of) = (0.0, 0.0);
        for (position, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
            for (a, b) in found.iter().zip(wanted) {
                squares += f64::from(a - b).powi(2);
                of += f64::from(*b).powi(2);
            }
            let (error, scale) = difference(found, wanted);
            let at = format!("{name}, {isa}, position {position}: {error} of {scale}");
            assert!(error <= 0.05 * scale, "{at}");
            let (token, ahead) = best(wanted);
            assert!(ahead <= 2.0 * error || best(found).0 == token, "{at}");
        }
        let relative = (squares / of).sqrt();
        assert!(relative <= 0.01, "{name}, {isa}: {relative} off in all");
    }
}

#[test]
fn the_model_that_ships_agrees_with_candle() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/qwen3-tiny");
    let config = ModelConfig::load(&folder.join("config.json"), &Default::default());
    let dims = config.unwrap().dims;
    let weights = Checkpoint::open(&[folder.join("model.safetensors")]).unwrap();
    compare("qwen3-tiny", &dims, &weights, &tokens(300, dims.vocab, 2));
}

#[test]
fn random_models_of_other_shapes_agree_with_candle() {
    let shapes = [
        ("untied", Dims { tied: false, vocab: 333, layers: 3, ..small() }),
        ("five heads on one", Dims { heads: 5, kv_heads: 1, head_dim: 64, ..small() }),
        ("heads of their own", Dims { heads: 3, kv_heads: 3, head_dim: 128, ..small() }),
    ];
    for (i, (name, dims)) in shapes.into_iter().enumerate() {
        let weights = Tensors::random(&dims, i as u64);
        compare(name, &dims, &weights, &tokens(150, dims.vocab, 4));
    }
}
