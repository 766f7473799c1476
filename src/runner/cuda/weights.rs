//! All weights of a model on the device, packed.

use super::driver::{Plan, Span};
use crate::model::Dims;
use half::bf16;

/// One decoder layer. Matrices are packed (see `kernels/README.md`).
#[derive(Clone, Debug)]
pub(super) struct Layer {
    /// `[hidden]` f32, like the other norm weights.
    pub input_norm: Span<f32>,
    /// Q, K and V stacked: `(heads + 2 kv_heads) * head_dim` outputs of `hidden`.
    pub qkv: Span<bf16>,
    /// `[head_dim]`.
    pub q_norm: Span<f32>,
    pub k_norm: Span<f32>,
    /// `hidden` outputs of `heads * head_dim`.
    pub o: Span<bf16>,
    /// `[hidden]`.
    pub post_attention_norm: Span<f32>,
    /// 8 gates, their 8 ups, and so on: `2 intermediate` outputs of `hidden`.
    pub gate_up: Span<bf16>,
    /// `hidden` outputs of `intermediate`.
    pub down: Span<bf16>,
}

/// The model.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub layers: Vec<Layer>,
    /// `[hidden]`.
    pub last_norm: Span<f32>,
    /// `vocab` outputs of `hidden`.
    pub lm_head: Span<bf16>,
    /// Like `lm_head`, and the same where they are tied.
    pub embedding: Span<bf16>,
    /// `[positions][cos(head_dim / 2) | sin(head_dim / 2)]`.
    pub rotary: Span<f32>,
}

/// Outputs of the stacked QKV matrix.
pub(super) fn qkv_outputs(dims: &Dims) -> usize {
    (dims.heads + 2 * dims.kv_heads) * dims.head_dim
}

impl Model {
    /// Finds everything its place; `positions` is the longest sequence.
    pub fn cut(plan: &mut Plan, dims: &Dims, positions: usize) -> Self {
        let lm_head = packed(plan, dims.vocab, dims.hidden);
        let embedding = match dims.tied {
            true => lm_head,
            false => packed(plan, dims.vocab, dims.hidden),
        };
        let layers = (0..dims.layers).map(|_| Layer::cut(plan, dims)).collect();
        let last_norm = plan.take(dims.hidden);
        let rotary = plan.take(positions * dims.head_dim);
        Self { layers, last_norm, lm_head, embedding, rotary }
    }
}

impl Layer {
    fn cut(plan: &mut Plan, dims: &Dims) -> Self {
        let (hidden, queries) = (dims.hidden, dims.heads * dims.head_dim);
        Self {
            input_norm: plan.take(hidden),
            qkv: packed(plan, qkv_outputs(dims), hidden),
            q_norm: plan.take(dims.head_dim),
            k_norm: plan.take(dims.head_dim),
            o: packed(plan, hidden, queries),
            post_attention_norm: plan.take(hidden),
            gate_up: packed(plan, 2 * dims.intermediate, hidden),
            down: packed(plan, hidden, dims.intermediate),
        }
    }
}

/// Room for a packed matrix of `outputs` by `k`.
fn packed(plan: &mut Plan, outputs: usize, k: usize) -> Span<bf16> {
    plan.take(outputs.next_multiple_of(16) * k)
}
