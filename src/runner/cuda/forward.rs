//! The forward pass: which kernels run over a step, in which order, on which memory.
//!
//! Nothing here waits for the device. What is asked for depends on the [`Shape`] of a step alone,
//! so that a graph of it can be replayed for every step of that shape.

use super::attention::Attention;
use super::driver::{Failure, Launch, Span, Stream, launch};
use super::gemm::{Input, Output};
use super::input::{DRAW_LEN, Parts, Shape};
use super::kernels::Kernels;
use super::probe::Phase;
use super::weights::{Model, qkv_outputs};
use super::workspace::{SAMPLE_GROUP, Workspace};
use crate::model::Dims;
use half::bf16;
use std::ops::Range;

/// Rows that the RMS norm of a block takes, one a warp.
const NORM_ROWS: usize = 8;
const FEED_THREADS: u32 = 256;
/// Threads of a block that gathers an embedding.
const EMBED_THREADS: u32 = 128;
/// Warps of a block of the first sampling kernel, each of which takes a group of tokens.
const SAMPLE_WARPS: usize = 8;

/// A product of what is normed: the norm's weights, the matrix, its outputs, and where they go.
type Normed = (Span<f32>, Span<bf16>, usize, Output);

/// Everything a step works with; all of it lives as long as the backend.
pub(super) struct Forward {
    pub dims: Dims,
    pub kernels: Kernels,
    pub model: Model,
    pub work: Workspace,
    pub attention: Attention,
    /// One region a layer.
    pub kv: Vec<Span<bf16>>,
}

impl Forward {
    /// Asks `stream` for a step of `shape`: all layers, and its first wanted rows. `passes`: see
    /// [`super::input::Planner::write`].
    pub fn step(
        &self,
        stream: &Stream,
        shape: &Shape,
        parts: &Parts,
        passes: &[Range<usize>],
    ) -> Result<(), Failure> {
        self.embed(stream, shape.rows, parts.tokens)?;
        for layer in 0..self.model.layers.len() {
            for phase in Phase::LAYER {
                self.phase(phase, layer, stream, shape, parts, passes)?;
            }
        }
        self.head(stream, parts, self.first_wanted(shape))
    }

    /// The wanted rows of a step that there is room for at once.
    fn first_wanted(&self, shape: &Shape) -> Range<usize> {
        0..shape.wanted.min(self.work.logit_rows)
    }

    /// Asks for one phase of layer `layer`; the layer says nothing to what comes before and after
    /// all of them.
    pub fn phase(
        &self,
        phase: Phase,
        layer: usize,
        stream: &Stream,
        shape: &Shape,
        parts: &Parts,
        passes: &[Range<usize>],
    ) -> Result<(), Failure> {
        let (work, dims, products) = (&self.work, &self.dims, &self.kernels.products);
        let (rows, of_layer, kv) = (shape.rows, &self.model.layers[layer], self.kv[layer]);
        let qkv = (of_layer.input_norm, of_layer.qkv, qkv_outputs(dims), Output::Store(work.qkv));
        let gate_up = (
            of_layer.post_attention_norm,
            of_layer.gate_up,
            2 * dims.intermediate,
            Output::SwiGlu(work.activated),
        );
        let add = |input, matrix, k| {
            let shape = (rows, dims.hidden, k);
            products.run(stream, Input::Rows(input), matrix, shape, Output::Add(work.x))
        };
        match phase {
            Phase::Embed => self.embed(stream, rows, parts.tokens),
            Phase::InputNorm => self.norm_before(stream, rows, qkv),
            Phase::Qkv => self.multiply(stream, rows, qkv),
            Phase::Heads => {
                let around = (work, &self.model, parts);
                self.attention.heads(stream, &self.kernels, around, (of_layer, kv), rows)
            }
            Phase::Attend => self.attend(stream, shape, parts, passes, kv),
            Phase::O => add(work.attended, of_layer.o, dims.heads * dims.head_dim),
            Phase::PostAttentionNorm => self.norm_before(stream, rows, gate_up),
            Phase::GateUp => self.multiply(stream, rows, gate_up),
            Phase::Down => add(work.activated, of_layer.down, dims.intermediate),
            Phase::LmHead => self.lm_head(stream, parts, self.first_wanted(shape)),
            Phase::Sample => self.sample(stream, parts, self.first_wanted(shape)),
        }
    }

    /// Asks for the logits and the sampled tokens of wanted rows `range`, at most as many as
    /// [`Workspace::logit_rows`].
    pub fn head(&self, stream: &Stream, parts: &Parts, range: Range<usize>) -> Result<(), Failure> {
        if range.is_empty() {
            return Ok(());
        }
        self.lm_head(stream, parts, range.clone())?;
        self.sample(stream, parts, range)
    }

    fn lm_head(&self, stream: &Stream, parts: &Parts, range: Range<usize>) -> Result<(), Failure> {
        let (work, dims, kernels) = (&self.work, &self.dims, &self.kernels);
        let (count, vocab) = (range.len(), dims.vocab);
        let rows = parts.wanted.part(range.start, count);
        self.norm(stream, count, self.model.last_norm, work.last, Some(rows))?;
        let input = Input::Rows(work.last);
        let (matrix, k) = (self.model.lm_head, dims.hidden);
        let output = Output::Store(work.logits);
        kernels.products.run(stream, input, matrix, (count, vocab, k), output)
    }

    fn sample(&self, stream: &Stream, parts: &Parts, range: Range<usize>) -> Result<(), Failure> {
        let (work, kernels) = (&self.work, &self.kernels);
        let (count, vocab) = (range.len(), self.dims.vocab);
        let draws = parts.draws.part(range.start * DRAW_LEN, count * DRAW_LEN);
        let (sampled, logits, groups) = (work.sampled, work.logits, work.sampling);
        let [first, last] = self.over_logits(count);
        // SAFETY: the buffers hold `count` rows; see `kernels/README.md`.
        unsafe {
            launch!(kernels.sample_groups, stream, first, groups, logits, draws, vocab)?;
            launch!(kernels.sample_rows, stream, last, sampled, logits, draws, groups, vocab)
        }
    }

    /// Asks for the log-probabilities that are told with the tokens of wanted rows `range`, whose
    /// logits and tokens [`Forward::head`] was asked for last.
    pub fn logprobs(
        &self,
        stream: &Stream,
        parts: &Parts,
        range: Range<usize>,
    ) -> Result<(), Failure> {
        let (work, kernels, vocab) = (&self.work, &self.kernels, self.dims.vocab);
        let (logits, chosen, groups) = (work.logits, work.sampled, work.sampling);
        let wanted = parts.reports.part(range.start, range.len());
        let [first, last] = self.over_logits(range.len());
        // SAFETY: the buffers hold as many rows; see `kernels/README.md`.
        unsafe {
            let (groups_kernel, rows_kernel) = (&kernels.logprobs_groups, &kernels.logprobs_rows);
            launch!(groups_kernel, stream, first, groups, logits, chosen, wanted, vocab)?;
            let reports = work.reports;
            launch!(rows_kernel, stream, last, reports, logits, chosen, wanted, groups, vocab)
        }
    }

    /// The blocks of the two kernels that look at `rows` rows of logits: warps take a group of
    /// tokens each, then blocks a row.
    fn over_logits(&self, rows: usize) -> [Launch; 2] {
        let blocks = self.dims.vocab.div_ceil(SAMPLE_GROUP).div_ceil(SAMPLE_WARPS);
        let grid = [blocks as u32, rows as u32, 1];
        let first = Launch { grid, block: 32 * SAMPLE_WARPS as u32, shared: 0 };
        [first, Launch { grid: [rows as u32, 1, 1], block: 1024, shared: 0 }]
    }

    /// Puts what the step before sampled in the place of tokens that only the device knows.
    pub fn feed(&self, stream: &Stream, rows: usize, parts: &Parts) -> Result<(), Failure> {
        let blocks = rows.div_ceil(FEED_THREADS as usize) as u32;
        let grid = Launch { grid: [blocks, 1, 1], block: FEED_THREADS, shared: 0 };
        let (tokens, feed, sampled) = (parts.tokens, parts.feed, self.work.sampled);
        // SAFETY: as many of both as rows; what feeds them are wanted rows of a step.
        unsafe { launch!(self.kernels.feed, stream, grid, tokens, sampled, feed, rows) }
    }

    fn embed(&self, stream: &Stream, rows: usize, tokens: Span<i32>) -> Result<(), Failure> {
        let grid = Launch { grid: [rows as u32, 1, 1], block: EMBED_THREADS, shared: 0 };
        let (x, table, hidden) = (self.work.x, self.model.embedding, self.dims.hidden);
        // SAFETY: as many tokens as rows, all in the vocabulary or negative.
        unsafe { launch!(self.kernels.embed, stream, grid, x, table, tokens, hidden) }
    }

    /// Norms row `pick[i]` of the residual stream (row `i` without) into row `i` of `to`.
    fn norm(
        &self,
        stream: &Stream,
        rows: usize,
        weight: Span<f32>,
        to: Span<bf16>,
        pick: Option<Span<i32>>,
    ) -> Result<(), Failure> {
        let blocks = rows.div_ceil(NORM_ROWS) as u32;
        let grid = Launch { grid: [blocks, 1, 1], block: 32 * NORM_ROWS as u32, shared: 0 };
        let (x, hidden, eps) = (self.work.x, self.dims.hidden, self.dims.rms_eps);
        // SAFETY: `to` has room for as many rows; rows that are picked are rows of the step.
        unsafe {
            launch!(self.kernels.rms_norm, stream, grid, to, x, weight, pick, rows, hidden, eps)
        }
    }

    /// Norms the residual stream for a product, unless the product does it on the way.
    fn norm_before(
        &self,
        stream: &Stream,
        rows: usize,
        (weight, _, outputs, output): Normed,
    ) -> Result<(), Failure> {
        let (work, hidden) = (&self.work, self.dims.hidden);
        match self.kernels.products.norms((rows, outputs, hidden), &output) {
            true => Ok(()),
            false => self.norm(stream, rows, weight, work.normed, None),
        }
    }

    /// The product that [`Forward::norm_before`] is for.
    fn multiply(
        &self,
        stream: &Stream,
        rows: usize,
        (weight, matrix, outputs, output): Normed,
    ) -> Result<(), Failure> {
        let (work, products) = (&self.work, &self.kernels.products);
        let shape = (rows, outputs, self.dims.hidden);
        let input = match products.norms(shape, &output) {
            true => Input::Norm { x: work.x, weight, eps: self.dims.rms_eps },
            false => Input::Rows(work.normed),
        };
        products.run(stream, input, matrix, shape, output)
    }

    /// What each row attends to.
    fn attend(
        &self,
        stream: &Stream,
        shape: &Shape,
        parts: &Parts,
        passes: &[Range<usize>],
        kv: Span<bf16>,
    ) -> Result<(), Failure> {
        let around = (&self.work, parts);
        for pass in passes {
            let pass = (pass, shape.segments);
            self.attention.singles(stream, &self.kernels, around, kv, pass)?;
        }
        let tiles = (shape.tiles, shape.split);
        self.attention.tiles(stream, &self.kernels, around, kv, tiles)
    }
}
