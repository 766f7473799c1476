//! The tensors of a dense Qwen3 by Hugging Face's names.

use super::{Dims, WeightError, Weights};

/// Name and shape of every tensor that a model of these dimensions is made of. Matrices are
/// `[out, in]`.
pub fn tensors(dims: &Dims) -> Vec<(String, Vec<usize>)> {
    let (hidden, head_dim) = (dims.hidden, dims.head_dim);
    let (queries, keys) = (dims.heads * head_dim, dims.kv_heads * head_dim);
    let in_layer = [
        ("input_layernorm", vec![hidden]),
        ("self_attn.q_proj", vec![queries, hidden]),
        ("self_attn.k_proj", vec![keys, hidden]),
        ("self_attn.v_proj", vec![keys, hidden]),
        ("self_attn.q_norm", vec![head_dim]),
        ("self_attn.k_norm", vec![head_dim]),
        ("self_attn.o_proj", vec![hidden, queries]),
        ("post_attention_layernorm", vec![hidden]),
        ("mlp.gate_proj", vec![dims.intermediate, hidden]),
        ("mlp.up_proj", vec![dims.intermediate, hidden]),
        ("mlp.down_proj", vec![hidden, dims.intermediate]),
    ];
    let mut all = vec![("model.embed_tokens.weight".to_owned(), vec![dims.vocab, hidden])];
    for layer in 0..dims.layers {
        all.extend(
            in_layer.iter().map(|(name, shape)| {
                (format!("model.layers.{layer}.{name}.weight"), shape.clone())
            }),
        );
    }
    all.push(("model.norm.weight".to_owned(), vec![hidden]));
    if !dims.tied {
        all.push(("lm_head.weight".to_owned(), vec![dims.vocab, hidden]));
    }
    all
}

/// Checks that `weights` has every tensor of the model, in its shape.
pub fn check_tensors(dims: &Dims, weights: &dyn Weights) -> Result<(), WeightError> {
    tensors(dims).iter().try_for_each(|(name, shape)| weights.check(name, shape))
}

/// Parameters of the model; a tied head counts once.
pub fn parameters(dims: &Dims) -> usize {
    tensors(dims).iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
}
