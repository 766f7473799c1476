//! The backend under measurement: one phase of a step at a time, and choices between ways to the
//! same bits.

use super::gemm::Products;
use super::{CudaBackend, failed};
use crate::runner::{BackendError, StepBatch};
use std::time::Duration;

/// What a step does, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Embed,
    /// Where the product after it does not norm its rows itself, which it does with few of them.
    InputNorm,
    /// The product with the stacked Q, K and V matrices.
    Qkv,
    /// qk-norm, rotary embedding, writing K and V to the pool.
    Heads,
    /// Single rows and query tiles.
    Attend,
    /// The output projection, added to the residual stream.
    O,
    /// As [`Phase::InputNorm`].
    PostAttentionNorm,
    /// The products with gate and up, and the SwiGLU of the two.
    GateUp,
    /// The down projection, added to the residual stream.
    Down,
    /// The last norm and the product with the LM head, of wanted rows.
    LmHead,
    Sample,
}

impl Phase {
    /// Those of a layer.
    pub const LAYER: [Phase; 8] = [
        Phase::InputNorm,
        Phase::Qkv,
        Phase::Heads,
        Phase::Attend,
        Phase::O,
        Phase::PostAttentionNorm,
        Phase::GateUp,
        Phase::Down,
    ];
}

/// Ways to the same bits, between which only speed decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choices {
    /// Steps of single tokens are replayed as graphs.
    pub graphs: bool,
    /// A kernel may start before the one ahead of it has ended (programmatic dependent launch).
    pub early: bool,
    /// The tiled product that runs from 33 rows on: its line in `kernels/README.md`, from 0;
    /// `None`: the one that the table there says.
    pub tile: Option<usize>,
    /// Segments of keys and values that are under way for a block of single rows; `None`: as many
    /// as it has room for.
    pub stages: Option<usize>,
    /// Products norm their rows on the way wherever there is a kernel for it, or never; `None`:
    /// where it pays.
    pub norms: Option<bool>,
    /// The keys of few query tiles may be shared out over several blocks.
    pub splits: bool,
}

impl Choices {
    /// How many tiled products there are.
    pub const TILES: usize = Products::TILES;
}

impl Default for Choices {
    /// What serves best.
    fn default() -> Self {
        let (tile, stages, norms) = (None, None, None);
        Self { graphs: true, early: true, tile, stages, norms, splits: true }
    }
}

impl CudaBackend {
    /// Runs the next steps so. Every step must have been collected.
    ///
    /// # Errors
    /// A failure of the device.
    ///
    /// # Panics
    /// When there is no such tiled product.
    pub fn choose(&mut self, choices: Choices) -> Result<(), BackendError> {
        let Choices { graphs, early, tile, stages, norms, splits } = choices;
        assert!(tile.is_none_or(|tile| tile < Choices::TILES), "{tile:?}");
        self.forward.kernels.products.tile = tile;
        self.forward.kernels.products.fused = norms;
        self.forward.attention.set_stages(stages);
        self.gpu.device().bind().map_err(failed)?;
        self.steps.choose(&self.forward, (graphs, splits), early).map_err(failed)
    }

    /// Runs one phase of a step of `batch` in every layer in turn, `rounds` times, as a graph, and
    /// gives the time of one, for measurements: nothing comes of it but what it overwrites. The
    /// numbers that it works with are what the step before left.
    ///
    /// # Errors
    /// A batch that exceeds the limits, or a failure of the device.
    pub fn probe(
        &mut self,
        batch: &StepBatch,
        phase: Phase,
        rounds: usize,
    ) -> Result<Duration, BackendError> {
        batch.check(&self.limits).map_err(failed)?;
        let device = self.gpu.device().bind();
        let probed = device.and_then(|()| self.steps.probe(&self.forward, batch, phase, rounds));
        probed.map_err(failed)
    }
}
