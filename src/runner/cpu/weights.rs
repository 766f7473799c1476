//! All weights of a model, packed.

use super::CpuError;
use super::kernels::Kernels;
use super::memory::{Buffer, Paging};
use super::pack::{PackedMatrix, Source, load_table, load_vector};
use super::pool::Pool;
use crate::model::{Dims, Weights};

/// One decoder layer's matrices.
pub(super) struct Layer {
    /// Q, K and V stacked.
    pub qkv: PackedMatrix,
    pub o: PackedMatrix,
    /// 16 gates, their 16 ups, and so on.
    pub gate_up: PackedMatrix,
    pub down: PackedMatrix,
}

/// The model.
pub(super) struct Model {
    pub layers: Vec<Layer>,
    pub lm_head: PackedMatrix,
    /// `[vocab][hidden]` bf16; `None` when the LM head is the embedding table.
    embedding: Option<Buffer<u16>>,
    /// Each layer's [`Norm`]s, then the last norm.
    norms: Buffer<f32>,
    dims: Dims,
}

/// The norms of a layer, in the order in which they are kept.
#[derive(Clone, Copy)]
pub(super) enum Norm {
    Input,
    PostAttention,
    Q,
    K,
}

/// Where `norm` starts within its layer's norms.
fn norm_offset(dims: &Dims, norm: Norm) -> usize {
    match norm {
        Norm::Input => 0,
        Norm::PostAttention => dims.hidden,
        Norm::Q => 2 * dims.hidden,
        Norm::K => 2 * dims.hidden + dims.head_dim,
    }
}

/// The f32 that one layer's norms take.
fn norms_per_layer(dims: &Dims) -> usize {
    2 * dims.hidden + 2 * dims.head_dim
}

/// Outputs of the stacked QKV matrix.
pub(super) fn qkv_outputs(dims: &Dims) -> usize {
    (dims.heads + 2 * dims.kv_heads) * dims.head_dim
}

impl Model {
    /// The bytes that [`Model::load`] maps.
    pub fn bytes(dims: &Dims) -> usize {
        let matrix = |n, k| Buffer::<u32>::bytes(PackedMatrix::len(n, k));
        let layer = matrix(qkv_outputs(dims), dims.hidden)
            + matrix(dims.hidden, dims.heads * dims.head_dim)
            + matrix(2 * dims.intermediate, dims.hidden)
            + matrix(dims.hidden, dims.intermediate);
        let embedding = if dims.tied { 0 } else { dims.vocab * dims.hidden };
        let norms = dims.layers * norms_per_layer(dims) + dims.hidden;
        dims.layers * layer
            + matrix(dims.vocab, dims.hidden)
            + Buffer::<u16>::bytes(embedding)
            + Buffer::<f32>::bytes(norms)
    }

    /// No weights and no memory; nothing can be computed with it.
    pub fn released(dims: &Dims) -> Self {
        let (lm_head, norms) = (PackedMatrix::released(), Buffer::empty());
        Self { layers: Vec::new(), lm_head, embedding: None, norms, dims: dims.clone() }
    }

    /// Reads every tensor once and packs it.
    pub fn load(
        pool: &mut Pool,
        kernels: &Kernels,
        dims: &Dims,
        weights: &dyn Weights,
    ) -> Result<Self, CpuError> {
        const EMBEDDING: &str = "model.embed_tokens.weight";
        let layers = (0..dims.layers)
            .map(|layer| Layer::load(pool, kernels, dims, weights, layer))
            .collect::<Result<_, _>>()?;
        let head = if dims.tied { EMBEDDING } else { "lm_head.weight" };
        let head = [(head.to_owned(), dims.vocab)];
        let source = Source::Stacked(&head);
        let lm_head = PackedMatrix::load(pool, kernels, weights, &source, dims.hidden)?;
        let embedding = match dims.tied {
            true => None,
            false => Some(load_table(pool, weights, EMBEDDING, [dims.vocab, dims.hidden])?),
        };
        let norms = load_norms(dims, weights)?;
        Ok(Self { layers, lm_head, embedding, norms, dims: dims.clone() })
    }

    /// The weights of one of layer `layer`'s norms.
    pub fn norm(&self, layer: usize, norm: Norm) -> *const f32 {
        let dims = &self.dims;
        self.norms.at(layer * norms_per_layer(dims) + norm_offset(dims, norm))
    }

    /// The weights of the norm before the LM head.
    pub fn last_norm(&self) -> *const f32 {
        self.norms.at(self.dims.layers * norms_per_layer(&self.dims))
    }

    /// The embedding of `token`, which is below the vocabulary size; `to` is `[hidden]`.
    pub fn embed(&self, kernels: &Kernels, token: usize, to: &mut [f32]) {
        match &self.embedding {
            None => self.lm_head.row(token, to),
            Some(table) => {
                let row = &table.as_slice()[token * to.len()..][..to.len()];
                // SAFETY: both hold `to.len()` elements, a multiple of 32.
                unsafe { (kernels.widen)(row.as_ptr(), to.len(), to.as_mut_ptr()) }
            }
        }
    }
}

impl Layer {
    fn load(
        pool: &mut Pool,
        kernels: &Kernels,
        dims: &Dims,
        weights: &dyn Weights,
        layer: usize,
    ) -> Result<Self, CpuError> {
        let name = |part: &str| format!("model.layers.{layer}.{part}_proj.weight");
        let (q, kv) = (dims.heads * dims.head_dim, dims.kv_heads * dims.head_dim);
        let mut load =
            |source: Source<'_>, k| PackedMatrix::load(pool, kernels, weights, &source, k);
        let qkv = [(name("self_attn.q"), q), (name("self_attn.k"), kv), (name("self_attn.v"), kv)];
        let gate_up = [name("mlp.gate"), name("mlp.up")];
        Ok(Self {
            qkv: load(Source::Stacked(&qkv), dims.hidden)?,
            o: load(Source::Stacked(&[(name("self_attn.o"), dims.hidden)]), q)?,
            gate_up: load(Source::Interleaved(gate_up, dims.intermediate), dims.hidden)?,
            down: load(Source::Stacked(&[(name("mlp.down"), dims.hidden)]), dims.intermediate)?,
        })
    }
}

fn load_norms(dims: &Dims, weights: &dyn Weights) -> Result<Buffer<f32>, CpuError> {
    let per_layer = norms_per_layer(dims);
    let mut norms = Buffer::new(dims.layers * per_layer + dims.hidden, Paging::Lazy)
        .map_err(CpuError::Memory)?;
    let all = norms.as_mut_slice();
    let parts = [
        (Norm::Input, "input_layernorm", dims.hidden),
        (Norm::PostAttention, "post_attention_layernorm", dims.hidden),
        (Norm::Q, "self_attn.q_norm", dims.head_dim),
        (Norm::K, "self_attn.k_norm", dims.head_dim),
    ];
    for layer in 0..dims.layers {
        for (norm, part, len) in parts {
            let start = layer * per_layer + norm_offset(dims, norm);
            let name = format!("model.layers.{layer}.{part}.weight");
            load_vector(weights, &name, &mut all[start..start + len])?;
        }
    }
    load_vector(weights, "model.norm.weight", &mut all[dims.layers * per_layer..])?;
    Ok(norms)
}
