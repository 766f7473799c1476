//! All memory on the device: planned exactly, taken once.

use super::attention::Attention;
use super::driver::{Arena, Device, Failure, Plan, Span};
use super::error::CudaError;
use super::forward::Forward;
use super::gpu::Gpu;
use super::kernels::Kernels;
use super::upload::staging_len;
use super::weights::Model;
use super::workspace::Workspace;
use crate::model::Dims;
use crate::runner::Limits;
use half::bf16;
use std::sync::Arc;

/// Bytes on the device, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CudaMemory {
    pub weights: usize,
    pub kv_cache: usize,
    /// Activations; while weights are loaded, what they come through.
    pub workspace: usize,
}

impl CudaMemory {
    /// All of it.
    pub fn total(&self) -> usize {
        self.weights + self.kv_cache + self.workspace
    }
}

const WEIGHTS: &str = "the weights";
const KV_CACHE: &str = "the KV cache";

/// What [`Memory::take`] will take.
pub(super) fn table(dims: &Dims, limits: &Limits) -> CudaMemory {
    let workspace = bytes(|plan| Workspace::cut(plan, dims, limits));
    CudaMemory {
        weights: bytes(|plan| Model::cut(plan, dims, positions(limits))),
        kv_cache: bytes(|plan| cut_kv(plan, dims, limits)),
        workspace: workspace.max(bytes(|plan| cut_staging(plan, dims))),
    }
}

/// What the parts that `cut` takes add up to.
fn bytes<R>(cut: impl FnOnce(&mut Plan) -> R) -> usize {
    let mut plan = Plan::new();
    cut(&mut plan);
    plan.bytes()
}

/// The longest sequence.
fn positions(limits: &Limits) -> usize {
    limits.max_blocks_per_seq * limits.block_size
}

fn cut_staging(plan: &mut Plan, dims: &Dims) -> Span<bf16> {
    plan.take(staging_len(dims))
}

/// `[layer][block][kv_head][token][K(d) | V(d)]`.
fn cut_kv(plan: &mut Plan, dims: &Dims, limits: &Limits) -> Vec<Span<bf16>> {
    let layer = limits.num_blocks * limits.block_size * dims.kv_heads * 2 * dims.head_dim;
    (0..dims.layers).map(|_| plan.take(layer)).collect()
}

/// The three allocations.
pub(super) struct Memory {
    device: Arc<Device>,
    weights: Arena,
    kv: Arc<Arena>,
    workspace: Arena,
}

/// Takes `bytes` for `what`.
fn arena(device: &Arc<Device>, what: &'static str, bytes: usize) -> Result<Arena, CudaError> {
    Arena::new(device, bytes).map_err(|failure: Failure| match failure.is_out_of_memory() {
        true => CudaError::Memory { what, bytes },
        false => failure.into(),
    })
}

impl Memory {
    pub fn take(device: &Arc<Device>, dims: &Dims, limits: &Limits) -> Result<Self, CudaError> {
        let table = table(dims, limits);
        Ok(Self {
            device: device.clone(),
            weights: arena(device, WEIGHTS, table.weights)?,
            kv: Arc::new(arena(device, KV_CACHE, table.kv_cache)?),
            workspace: arena(device, "the workspace", table.workspace)?,
        })
    }

    /// Cuts the memory into what a forward pass works with.
    pub fn forward(&self, gpu: &Gpu, dims: &Dims, limits: &Limits, kernels: Kernels) -> Forward {
        Forward {
            dims: dims.clone(),
            kernels,
            model: self.weights.cut(|plan| Model::cut(plan, dims, positions(limits))),
            work: self.workspace.cut(|plan| Workspace::cut(plan, dims, limits)),
            attention: Attention::new(gpu, dims, limits),
            kv: self.kv.cut(|plan| cut_kv(plan, dims, limits)),
        }
    }

    /// What weights come through, in the place of the workspace: there is no step meanwhile.
    pub fn staging(&self, dims: &Dims) -> Span<bf16> {
        self.workspace.cut(|plan| cut_staging(plan, dims))
    }

    /// Gives the memory of the weights back; nothing may use it any more.
    pub fn release_weights(&mut self) {
        self.weights = Arena::empty(&self.device);
    }

    /// Takes memory for the weights again, wherever it is.
    pub fn restore_weights(&mut self, dims: &Dims, limits: &Limits) -> Result<Model, CudaError> {
        // It may have been taken before, by a wake-up that failed later: there is no room for two.
        self.release_weights();
        self.weights = arena(&self.device, WEIGHTS, table(dims, limits).weights)?;
        Ok(self.weights.cut(|plan| Model::cut(plan, dims, positions(limits))))
    }

    /// Gives the memory of the KV pool back, unless peers were told its addresses.
    pub fn release_kv(&mut self) -> bool {
        let alone = Arc::get_mut(&mut self.kv).is_some();
        if alone {
            self.kv = Arc::new(Arena::empty(&self.device));
        }
        alone
    }

    /// Takes memory for the KV pool again, wherever it is.
    pub fn restore_kv(
        &mut self,
        dims: &Dims,
        limits: &Limits,
    ) -> Result<Vec<Span<bf16>>, CudaError> {
        self.kv = Arc::new(arena(&self.device, KV_CACHE, table(dims, limits).kv_cache)?);
        Ok(self.kv.cut(|plan| cut_kv(plan, dims, limits)))
    }

    /// The KV pool, for those that peers read from and write to it for.
    pub fn kv(&self) -> &Arc<Arena> {
        &self.kv
    }
}
