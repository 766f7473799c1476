//! The CUDA backend: own kernels (see `kernels/README.md`), one stream, no allocation after start.
//!
//! `submit` writes the step's description to pinned memory and asks the device for everything that
//! can be asked for; `collect` waits and hands out what came. Steps of single tokens are padded to
//! a bucket and replayed as a CUDA graph, which is captured at start.
//!
//! A row's bits depend on its own sequence alone, in either form: see the fixed orders there.

mod attention;
mod copies;
mod driver;
mod error;
mod forward;
mod gemm;
mod gpu;
mod graphs;
mod images;
mod input;
mod kernels;
mod logits;
mod memory;
mod probe;
mod report;
mod step;
mod upload;
mod weights;
mod workspace;

pub use driver::{Absent, Missing};
pub use error::CudaError;
pub use gpu::Gpu;
pub use images::{KERNELS_VARIABLE, are_built_in as are_kernels_built_in};
pub use memory::CudaMemory;
pub use probe::{Choices, Phase};

use crate::model::{Dims, Weights};
use crate::runner::{Backend, BackendError, Limits, Parts, RowSink, StepBatch, StepTiming};
use crate::types::{KvMemory, KvPlace, KvRegion};
use copies::Copies;
use forward::Forward;
use memory::Memory;
use std::path::PathBuf;
use std::sync::Arc;
use step::Steps;

/// How the backend runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Steps of single tokens are padded to one of these numbers of sequences, and are CUDA graphs;
    /// ascending. A longer step is none: every kernel is started by itself.
    pub graph_sizes: Vec<usize>,
    /// A folder with compiled kernels; `None`: see [`KERNELS_VARIABLE`].
    pub kernels: Option<PathBuf>,
}

/// The model on a GPU.
pub struct CudaBackend {
    gpu: Gpu,
    limits: Limits,
    steps: Steps,
    forward: Forward,
    memory: Memory,
    /// Where released weights come from again; `None`: nothing is released.
    source: Option<Arc<dyn Weights + Send + Sync>>,
    released: Parts,
}

impl CudaBackend {
    /// Takes all memory that will ever be used and fills it with the weights.
    ///
    /// # Errors
    /// A tensor that is missing or of a wrong shape, a model that the kernels do not know, no
    /// kernels for the device, no memory, or a failure of the device.
    pub fn new(
        gpu: &Gpu,
        dims: &Dims,
        weights: &dyn Weights,
        limits: Limits,
        options: Options,
    ) -> Result<Self, CudaError> {
        check(dims, &limits)?;
        let device = gpu.device();
        device.bind()?;
        let kernels = kernels::Kernels::load(gpu, options.kernels.as_deref())?;
        let memory = Memory::take(device, dims, &limits)?;
        let forward = memory.forward(gpu, dims, &limits, kernels);
        let mut backend = Self {
            steps: Steps::new(device, dims, &limits, &forward.work, &options.graph_sizes)?,
            gpu: gpu.clone(),
            limits,
            forward,
            memory,
            source: None,
            released: Parts::default(),
        };
        backend.load(weights)?;
        backend.steps.capture(&backend.forward)?;
        Ok(backend)
    }

    /// The same backend, which can sleep: weights that it gives back are read from `source` again.
    pub fn sleeping(self, source: Arc<dyn Weights + Send + Sync>) -> Self {
        Self { source: Some(source), ..self }
    }

    /// What [`CudaBackend::new`] will take on the device: exact, before anything is taken. The
    /// driver's own context and captured graphs come on top.
    pub fn memory(dims: &Dims, limits: &Limits) -> CudaMemory {
        memory::table(dims, limits)
    }

    /// How many graphs there will be, of those sizes that [`Options::graph_sizes`] may name.
    pub fn graphs(graph_sizes: &[usize], limits: &Limits) -> usize {
        step::buckets(graph_sizes, limits).len()
    }

    fn load(&mut self, weights: &dyn Weights) -> Result<(), CudaError> {
        let Forward { dims, kernels, model, .. } = &self.forward;
        let staging = self.memory.staging(dims);
        upload::upload(self.gpu.device(), kernels, dims, weights, model, staging)
    }
}

/// What the kernels take for granted.
fn check(dims: &Dims, limits: &Limits) -> Result<(), CudaError> {
    let shape = |ok: bool, what: &str| match ok {
        true => Ok(()),
        false => Err(CudaError::Shape(what.to_owned())),
    };
    shape(dims.head_dim == 128, "head_dim is not 128")?;
    shape(
        dims.hidden > 0 && dims.hidden.is_multiple_of(128),
        "hidden_size is not a multiple of 128",
    )?;
    shape(
        dims.intermediate > 0 && dims.intermediate.is_multiple_of(16),
        "intermediate_size is not a multiple of 16",
    )?;
    shape(
        dims.kv_heads > 0
            && dims.heads.is_multiple_of(dims.kv_heads)
            && dims.heads / dims.kv_heads <= 16,
        "num_attention_heads is not up to 16 times num_key_value_heads",
    )?;
    shape(dims.vocab == limits.vocab_size, "vocab_size differs from the limits'")?;
    shape(
        dims.vocab < 1 << 18 && dims.vocab.is_multiple_of(16),
        "vocab_size is not a multiple of 16 below 262,144",
    )?;
    shape(
        [16, 32, 64].contains(&limits.block_size),
        "the block size is not 16, 32 or 64 (--block-size)",
    )?;
    shape(limits.max_tokens > 0 && limits.max_seqs > 0, "the limits allow no step")
}

fn failed(failure: impl std::fmt::Display) -> BackendError {
    BackendError { backend: "CUDA", reason: failure.to_string() }
}

impl Backend for CudaBackend {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn runs_ahead(&self) -> bool {
        true
    }

    fn submit(&mut self, batch: &StepBatch) -> Result<(), BackendError> {
        batch.check(&self.limits).map_err(failed)?;
        let submitted =
            self.gpu.device().bind().and_then(|()| self.steps.submit(&self.forward, batch));
        submitted.map_err(failed)
    }

    fn collect(&mut self, sink: &mut dyn RowSink) -> Result<StepTiming, BackendError> {
        let device = self.steps.collect(&self.forward, sink).map_err(failed)?;
        Ok(StepTiming { device })
    }

    fn kv_memory(&self) -> Option<KvMemory> {
        let Forward { dims, kv, .. } = &self.forward;
        let block_len = dims.kv_heads * self.limits.block_size * 2 * dims.head_dim * 2;
        let region = |layer: &driver::Span<half::bf16>| KvRegion {
            place: KvPlace::Gpu(self.gpu.device().ordinal()),
            address: layer.at,
            block_len,
            stride: block_len,
            num_blocks: self.limits.num_blocks,
        };
        let pool = self.memory.kv();
        let copies = Copies::new(self.gpu.device(), pool);
        Some(KvMemory {
            regions: kv.iter().map(region).collect(),
            copies: Some(Arc::new(copies)),
            owner: pool.clone(),
        })
    }

    fn can_release(&self) -> bool {
        self.source.is_some()
    }

    fn release(&mut self, parts: Parts) {
        if self.source.is_none() {
            log::warn!("sleep gives no memory back without --enable-sleep-mode");
            return;
        }
        if let Err(failure) = self.gpu.device().bind() {
            log::error!("nothing was given back: {failure}");
            return;
        }
        // Graphs name addresses that may be others afterwards.
        self.steps.forget_graphs();
        if parts.weights {
            self.memory.release_weights();
            self.released.weights = true;
        }
        if parts.kv_cache {
            self.released.kv_cache = self.memory.release_kv();
            if !self.released.kv_cache {
                log::warn!("the KV cache stays: peers read it by its address");
            }
        }
    }

    fn restore(&mut self, parts: Parts) -> Result<(), BackendError> {
        let Some(source) = self.source.clone() else { return Ok(()) };
        self.gpu.device().bind().map_err(failed)?;
        if parts.weights && self.released.weights {
            let (dims, limits) = (&self.forward.dims, &self.limits);
            self.forward.model = self.memory.restore_weights(dims, limits).map_err(failed)?;
            self.load(source.as_ref()).map_err(failed)?;
            self.released.weights = false;
        }
        if parts.kv_cache && self.released.kv_cache {
            let (dims, limits) = (&self.forward.dims, &self.limits);
            self.forward.kv = self.memory.restore_kv(dims, limits).map_err(failed)?;
            self.released.kv_cache = false;
        }
        // Steps come when everything is back.
        if self.released == Parts::default() {
            self.steps.capture(&self.forward).map_err(failed)?;
        }
        Ok(())
    }
}
