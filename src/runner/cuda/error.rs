//! Why the backend could not be built.

use super::driver::{Failure, Missing};
use crate::model::WeightError;

/// What kept the CUDA backend from being built.
#[derive(Debug, thiserror::Error)]
pub enum CudaError {
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error(transparent)]
    Weight(#[from] WeightError),
    #[error("the CUDA backend cannot run this model: {0}")]
    Shape(String),
    #[error(
        "no memory on the GPU for {what}: {bytes} bytes. Decrease --gpu-memory-utilization, \
         --kv-cache-memory-bytes, --max-num-batched-tokens or --max-num-seqs, or stop what else \
         uses the GPU"
    )]
    Memory { what: &'static str, bytes: usize },
    #[error("this program has no kernels for {name} (compute capability {}.{}): {reason}",
        .capability.0, .capability.1)]
    Kernels { name: String, capability: (i32, i32), reason: String },
    #[error("the GPU failed: {0}")]
    Driver(#[from] Failure),
}
