//! The CPU backend: bf16 weights packed once, own kernels, one thread pool.
//!
//! `submit` checks and copies a step; `collect` runs it on the calling thread and the pool's. A
//! step goes through the layers in passes of bounded size, so activations stay small however many
//! tokens a step has. Within a layer, a pass writes the KV of all its rows before any of them
//! attends, so a sequence may share blocks that an earlier sequence of the same step fills.
//!
//! Which kernels run is chosen once, by what the machine has ([`Isa`]); within one choice a row's
//! bits depend on its own sequence alone (see `kernels`).

mod forward;
mod isa;
mod kernels;
mod memory;
mod pack;
mod pool;
mod simd;
mod step;
mod weights;
mod workspace;

pub use forward::Phase;
pub use isa::{Isa, UnknownIsa};
pub use memory::CpuMemory;

use crate::model::{Dims, WeightError, Weights};
use crate::runner::{Backend, BackendError, Limits, Parts, RowSink, StepBatch, StepTiming};
use crate::types::{KvMemory, KvPlace, KvRegion};
use forward::Forward;
use kernels::{Kernels, MAX_HEAD_DIM};
use memory::{Buffer, Paging};
use pool::Pool;
use std::sync::Arc;
use std::time::Instant;
use step::Step;
use weights::Model;
use workspace::Workspace;

/// Why the backend could not be built.
#[derive(Debug, thiserror::Error)]
pub enum CpuError {
    #[error(transparent)]
    Weight(#[from] WeightError),
    #[error("this machine does not have the instruction set {0}")]
    Isa(Isa),
    #[error("the CPU backend cannot run this model: {0}")]
    Shape(String),
    #[error("no memory for the model: {0}")]
    Memory(std::io::Error),
    #[error("no threads for the CPU backend: {0}")]
    Threads(std::io::Error),
}

/// The model on this machine's processors.
pub struct CpuBackend {
    limits: Limits,
    isa: Isa,
    forward: Forward,
    step: Step,
    /// Where released weights come from again; `None`: nothing is released.
    source: Option<Arc<dyn Weights + Send + Sync>>,
    weights_are_released: bool,
}

impl CpuBackend {
    /// Reads and packs the weights and maps all memory that will ever be used.
    ///
    /// `threads` take part in each step, the caller's among them; `isa` is the fastest that the
    /// machine has unless given.
    ///
    /// # Errors
    /// A tensor that is missing or of a wrong shape, a model shape that the kernels do not know, an
    /// instruction set that the machine does not have, or no memory.
    pub fn new(
        dims: &Dims,
        weights: &dyn Weights,
        limits: Limits,
        threads: usize,
        isa: Option<Isa>,
    ) -> Result<Self, CpuError> {
        check(dims, &limits)?;
        let isa = isa.unwrap_or_else(Isa::best);
        let kernels = Kernels::of(isa).ok_or(CpuError::Isa(isa))?;
        let mut pool = Pool::new(threads).map_err(CpuError::Threads)?;
        let model = Model::load(&mut pool, kernels, dims, weights)?;
        let work = Workspace::new(dims, &limits, pool.threads())?;
        let kv_layer = kv_layer_len(dims, &limits);
        let kv = Buffer::new(dims.layers * kv_layer, Paging::Lazy).map_err(CpuError::Memory)?;
        let forward = Forward {
            dims: dims.clone(),
            kernels,
            pool,
            model,
            kv: Arc::new(kv),
            kv_layer,
            block_size: limits.block_size,
            tiles: Vec::with_capacity(work.rows),
            slots: Vec::with_capacity(work.rows),
            work,
        };
        let step = Step::new(&limits);
        Ok(Self { limits, isa, forward, step, source: None, weights_are_released: false })
    }

    /// The same backend, which can sleep: weights that it gives back are read from `source` again.
    pub fn sleeping(self, source: Arc<dyn Weights + Send + Sync>) -> Self {
        Self { source: Some(source), ..self }
    }

    /// What [`CpuBackend::new`] will map: exact, before anything is.
    pub fn memory(dims: &Dims, limits: &Limits, threads: usize) -> CpuMemory {
        CpuMemory {
            weights: Model::bytes(dims),
            kv_cache: Buffer::<u16>::bytes(dims.layers * kv_layer_len(dims, limits)),
            workspace: Workspace::bytes(dims, limits, threads.max(1)),
        }
    }

    /// Runs one phase of layer `layer` on the rows of the submitted step (as many as one pass
    /// takes), for measurements: nothing comes of it but what it overwrites.
    pub fn probe(&mut self, phase: Phase, layer: usize) {
        self.forward.probe(phase, layer, &self.step);
    }

    /// Which kernels run.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// How many threads take part in a step.
    pub fn threads(&self) -> usize {
        self.forward.pool.threads()
    }
}

/// Elements of one layer's region of the pool.
fn kv_layer_len(dims: &Dims, limits: &Limits) -> usize {
    limits.num_blocks * dims.kv_heads * limits.block_size * 2 * dims.head_dim
}

/// What the kernels take for granted.
fn check(dims: &Dims, limits: &Limits) -> Result<(), CpuError> {
    let shape = |ok: bool, what: &str| match ok {
        true => Ok(()),
        false => Err(CpuError::Shape(what.to_owned())),
    };
    shape(
        dims.hidden > 0 && dims.hidden.is_multiple_of(32),
        "hidden_size is not a multiple of 32",
    )?;
    shape(
        dims.intermediate > 0 && dims.intermediate.is_multiple_of(32),
        "intermediate_size is not a multiple of 32",
    )?;
    shape(
        dims.head_dim > 0 && dims.head_dim.is_multiple_of(32) && dims.head_dim <= MAX_HEAD_DIM,
        "head_dim is not a multiple of 32 up to 256",
    )?;
    shape(
        dims.kv_heads > 0 && dims.heads > 0 && dims.heads.is_multiple_of(dims.kv_heads),
        "num_attention_heads is not a multiple of num_key_value_heads",
    )?;
    shape(dims.vocab == limits.vocab_size, "vocab_size differs from the limits'")?;
    shape(
        limits.block_size > 0 && limits.block_size.is_multiple_of(16),
        "the block size is not a multiple of 16",
    )?;
    shape(limits.max_tokens > 0 && limits.max_seqs > 0, "the limits allow no step")
}

impl Backend for CpuBackend {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn submit(&mut self, batch: &StepBatch) -> Result<(), BackendError> {
        let copied = self.step.copy(batch, &self.limits);
        copied.map_err(|reason| BackendError { backend: "CPU", reason })
    }

    fn collect(&mut self, sink: &mut dyn RowSink) -> Result<StepTiming, BackendError> {
        let start = Instant::now();
        let in_sink = self.forward.run(&self.step, sink);
        Ok(StepTiming { device: start.elapsed().saturating_sub(in_sink) })
    }

    fn kv_memory(&self) -> Option<KvMemory> {
        let Forward { kv, kv_layer, dims, .. } = &self.forward;
        let block_len = kv_layer / self.limits.num_blocks.max(1) * size_of::<u16>();
        let region = |layer: usize| KvRegion {
            place: KvPlace::Main,
            address: kv.at(layer * kv_layer) as u64,
            block_len,
            stride: block_len,
            num_blocks: self.limits.num_blocks,
        };
        Some(KvMemory::of_host((0..dims.layers).map(region).collect(), kv.clone()))
    }

    fn can_release(&self) -> bool {
        self.source.is_some()
    }

    fn release(&mut self, parts: Parts) {
        if self.source.is_none() {
            log::warn!("sleep gives no memory back without --enable-sleep-mode");
            return;
        }
        if parts.kv_cache {
            self.forward.kv.discard();
        }
        if parts.weights {
            self.forward.model = Model::released(&self.forward.dims);
            self.weights_are_released = true;
        }
    }

    fn restore(&mut self, parts: Parts) -> Result<(), BackendError> {
        let wanted = parts.weights && self.weights_are_released;
        let Some(source) = self.source.as_deref().filter(|_| wanted) else { return Ok(()) };
        let Forward { pool, kernels, dims, model, .. } = &mut self.forward;
        *model = Model::load(pool, kernels, dims, source)
            .map_err(|error| BackendError { backend: "CPU", reason: error.to_string() })?;
        self.weights_are_released = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    /// Weights that are all one.
    struct Ones;

    impl Weights for Ones {
        fn check(&self, _name: &str, _shape: &[usize]) -> Result<(), WeightError> {
            Ok(())
        }

        fn read_rows(&self, _name: &str, _row: usize, out: &mut [bf16]) -> Result<(), WeightError> {
            out.fill(bf16::ONE);
            Ok(())
        }
    }

    #[test]
    fn the_table_of_memory_is_what_is_mapped() {
        for (tied, vocab, threads) in [(true, 100, 1), (false, 1000, 3)] {
            let dims = Dims {
                hidden: 64,
                layers: 3,
                heads: 4,
                kv_heads: 2,
                head_dim: 32,
                intermediate: 96,
                vocab,
                rms_eps: 1e-6,
                rope_theta: 1e4,
                rope_scaling: None,
                tied,
                max_positions: 512,
            };
            let limits = Limits {
                max_tokens: 700,
                max_seqs: 4,
                max_blocks_per_seq: 9,
                num_blocks: 23,
                block_size: 16,
                vocab_size: vocab,
            };
            let before = memory::MAPPED.get();
            let backend = CpuBackend::new(&dims, &Ones, limits, threads, None).unwrap();
            let table = CpuBackend::memory(&dims, &limits, threads);
            assert_eq!(memory::MAPPED.get() - before, table.total());
            assert_eq!(backend.threads(), threads);
        }
    }
}
