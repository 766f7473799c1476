//! The forward pass: which kernels run over a step, in which order, on which memory.
//!
//! Nothing here waits for the device. What is asked for depends on the [`Shape`] of a step alone,
//! so that a graph of it can be replayed for every step of that shape.

use super::attention::Attention;
use super::driver::{Failure, Launch, Span, Stream, launch};
use super::gemm::{Input, Output};
use super::input::{Parts, Shape};
use super::kernels::Kernels;
use super::weights::{Layer, Model, qkv_outputs};
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
    /// Asks `stream` to take a step of `shape` through all layers; its rows stay in the residual
    /// stream. `passes`: see [`super::input::Planner::write`].
    pub fn layers(
        &self,
        stream: &Stream,
        shape: &Shape,
        parts: &Parts,
        passes: &[Range<usize>],
    ) -> Result<(), Failure> {
        self.embed(stream, shape.rows, parts.tokens)?;
        for (layer, kv) in self.model.layers.iter().zip(&self.kv) {
            self.attend(stream, shape, parts, passes, (layer, *kv))?;
            self.feed_forward(stream, shape.rows, layer)?;
        }
        Ok(())
    }

    /// Asks for the logits and the sampled tokens of wanted rows `range`, at most as many as
    /// [`Workspace::logit_rows`].
    pub fn head(&self, stream: &Stream, parts: &Parts, range: Range<usize>) -> Result<(), Failure> {
        let (work, dims, kernels) = (&self.work, &self.dims, &self.kernels);
        let (count, vocab) = (range.len(), dims.vocab);
        let rows = parts.wanted.part(range.start, count);
        self.norm(stream, count, self.model.last_norm, work.last, Some(rows))?;
        let input = Input::Rows(work.last);
        let (matrix, k) = (self.model.lm_head, dims.hidden);
        let output = Output::Store(work.logits);
        kernels.products.run(stream, input, matrix, (count, vocab, k), output)?;
        let groups = vocab.div_ceil(SAMPLE_GROUP).div_ceil(SAMPLE_WARPS);
        let draws = parts.draws.part(range.start * 8, count * 8);
        let none: Option<Span<i32>> = None;
        // SAFETY: the buffers hold `count` rows; see `kernels/README.md`.
        unsafe {
            let grid = [groups as u32, count as u32, 1];
            let first = Launch { grid, block: 32 * SAMPLE_WARPS as u32, shared: 0 };
            launch!(
                kernels.sample_groups,
                stream,
                first,
                work.sampling,
                work.logits,
                draws,
                vocab
            )?;
            let last = Launch { grid: [count as u32, 1, 1], block: 1024, shared: 0 };
            let (sampled, logits, groups) = (work.sampled, work.logits, work.sampling);
            launch!(kernels.sample_rows, stream, last, sampled, none, logits, draws, groups, vocab)
        }
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

    /// Norms the residual stream and multiplies it, in one kernel where there is one.
    fn norm_and_multiply(
        &self,
        stream: &Stream,
        rows: usize,
        weight: Span<f32>,
        (matrix, outputs): (Span<bf16>, usize),
        output: Output,
    ) -> Result<(), Failure> {
        let (work, hidden, products) = (&self.work, self.dims.hidden, &self.kernels.products);
        let shape = (rows, outputs, hidden);
        if products.norms(shape, &output) {
            let input = Input::Norm { x: work.x, weight, eps: self.dims.rms_eps };
            return products.run(stream, input, matrix, shape, output);
        }
        self.norm(stream, rows, weight, work.normed, None)?;
        products.run(stream, Input::Rows(work.normed), matrix, shape, output)
    }

    /// The first half of a layer: what is attended to is added to the residual stream.
    fn attend(
        &self,
        stream: &Stream,
        shape: &Shape,
        parts: &Parts,
        passes: &[Range<usize>],
        (layer, kv): (&Layer, Span<bf16>),
    ) -> Result<(), Failure> {
        let (work, dims, rows) = (&self.work, &self.dims, shape.rows);
        let matrix = (layer.qkv, qkv_outputs(dims));
        self.norm_and_multiply(stream, rows, layer.input_norm, matrix, Output::Store(work.qkv))?;
        let attention = &self.attention;
        let around = (work, &self.model, parts);
        attention.heads(stream, &self.kernels, around, (layer, kv), rows)?;
        for pass in passes {
            let pass = (pass, shape.segments);
            attention.singles(stream, &self.kernels, (work, parts), kv, pass)?;
        }
        attention.tiles(stream, &self.kernels, (work, parts), kv, shape.tiles)?;
        let heads = dims.heads * dims.head_dim;
        let input = Input::Rows(work.attended);
        let product = (rows, dims.hidden, heads);
        self.kernels.products.run(stream, input, layer.o, product, Output::Add(work.x))
    }

    /// The second half.
    fn feed_forward(&self, stream: &Stream, rows: usize, layer: &Layer) -> Result<(), Failure> {
        let (work, dims) = (&self.work, &self.dims);
        let matrix = (layer.gate_up, 2 * dims.intermediate);
        let output = Output::SwiGlu(work.activated);
        self.norm_and_multiply(stream, rows, layer.post_attention_norm, matrix, output)?;
        let input = Input::Rows(work.activated);
        let product = (rows, dims.hidden, dims.intermediate);
        self.kernels.products.run(stream, input, layer.down, product, Output::Add(work.x))
    }
}
