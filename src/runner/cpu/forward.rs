//! The forward pass: a handful of phases a layer, each shared out over the threads.

use super::kernels::{Attention, Gemm, Heads, Kernels, Output, QueryTile, Scratch, Slot};
use super::memory::Buffer;
use super::pack::PackedMatrix;
use super::pool::Pool;
use super::step::{Step, TilePlan};
use super::weights::{Model, Norm};
use super::workspace::{LOGIT_ROWS, Rows, Workspace};
use crate::model::Dims;
use crate::runner::RowSink;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rows of one piece of work, where rows are shared out.
const NORM_ROWS: usize = 8;
const HEAD_ROWS: usize = 2;
const EMBED_ROWS: usize = 4;

/// What a layer does, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    InputNorm,
    /// The product with the stacked Q, K and V matrices.
    Qkv,
    /// qk-norm, rotary embedding, writing K and V to the pool.
    Rotate,
    Attend,
    /// The output projection, added to the residual stream.
    O,
    PostAttentionNorm,
    /// The products with gate and up, and the SwiGLU of the two.
    GateUp,
    /// The down projection, added to the residual stream.
    Down,
}

impl Phase {
    pub const ALL: [Phase; 8] = [
        Phase::InputNorm,
        Phase::Qkv,
        Phase::Rotate,
        Phase::Attend,
        Phase::O,
        Phase::PostAttentionNorm,
        Phase::GateUp,
        Phase::Down,
    ];
}

/// Everything a pass works with.
pub(super) struct Forward {
    pub dims: Dims,
    pub kernels: &'static Kernels,
    pub pool: Pool,
    pub model: Model,
    pub work: Workspace,
    /// `[layer][block][kv_head][token][K(d) | V(d)]` bf16.
    pub kv: Arc<Buffer<u16>>,
    /// Elements of one layer's region.
    pub kv_layer: usize,
    pub block_size: usize,
    pub tiles: Vec<TilePlan>,
    pub slots: Vec<Slot>,
}

/// A raw pointer that threads may share; who uses it says why they do not meet.
#[derive(Clone, Copy)]
struct Shared<T>(*mut T);

// SAFETY: only a promise of the users; see each `unsafe` block.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn get(&self) -> *mut T {
        self.0
    }
}

impl Forward {
    /// Runs a step in passes and hands out its logits. Returns the time spent in `sink`.
    pub fn run(&mut self, step: &Step, sink: &mut dyn RowSink) -> Duration {
        let (mut in_sink, mut given) = (Duration::ZERO, 0);
        for start in (0..step.tokens.len()).step_by(self.work.rows) {
            let rows = start..(start + self.work.rows).min(step.tokens.len());
            self.layers(step, &rows);
            let wanted = step.wanted[given..].partition_point(|&row| (row as usize) < rows.end);
            for group in step.wanted[given..given + wanted].chunks(LOGIT_ROWS) {
                self.logits(group, rows.start);
                let start = Instant::now();
                for i in 0..group.len() {
                    // SAFETY: the row holds the vocabulary, and nobody else uses it now.
                    let logits = unsafe {
                        std::slice::from_raw_parts_mut(self.work.logits.at(i), self.dims.vocab)
                    };
                    sink.logits(given + i, logits);
                }
                in_sink += start.elapsed();
                given += group.len();
            }
            sink.progress();
        }
        in_sink
    }

    /// Takes `rows` through all layers; leaves them in the residual stream.
    fn layers(&mut self, step: &Step, rows: &Range<usize>) {
        let group = self.dims.heads / self.dims.kv_heads;
        step.plan(rows, group, &mut self.tiles, &mut self.slots);
        self.embed(step, rows);
        for layer in 0..self.dims.layers {
            for phase in Phase::ALL {
                self.phase(phase, layer, step, rows);
            }
        }
    }

    /// Runs one phase of layer `layer` for `rows`, which were planned.
    fn phase(&mut self, phase: Phase, layer: usize, step: &Step, rows: &Range<usize>) {
        let m = rows.len();
        match phase {
            Phase::InputNorm => self.norm(self.model.norm(layer, Norm::Input), m, |row| row),
            Phase::Rotate => self.rotate(step, rows, layer),
            Phase::Attend => self.attend(step, layer),
            Phase::PostAttentionNorm => {
                self.norm(self.model.norm(layer, Norm::PostAttention), m, |row| row);
            }
            Phase::Qkv | Phase::O | Phase::GateUp | Phase::Down => {
                let (weights, work) = (&self.model.layers[layer], &self.work);
                let (matrix, a, out) = match phase {
                    Phase::Qkv => (&weights.qkv, &work.normed, store(&work.qkv)),
                    Phase::O => (&weights.o, &work.attended, add(&work.x)),
                    Phase::GateUp => (&weights.gate_up, &work.normed, swiglu(&work.activated)),
                    _ => (&weights.down, &work.activated, add(&work.x)),
                };
                gemm(&mut self.pool, self.kernels, matrix, a, m, out, work);
            }
        }
    }

    /// Runs one phase for the first pass of `step` alone, for measurements.
    pub fn probe(&mut self, phase: Phase, layer: usize, step: &Step) {
        let rows = 0..step.tokens.len().min(self.work.rows);
        if rows.is_empty() {
            return;
        }
        let group = self.dims.heads / self.dims.kv_heads;
        step.plan(&rows, group, &mut self.tiles, &mut self.slots);
        self.phase(phase, layer, step, &rows);
    }

    /// Puts the embeddings of `rows` into the residual stream.
    fn embed(&mut self, step: &Step, rows: &Range<usize>) {
        let (model, kernels, x) = (&self.model, self.kernels, &self.work.x);
        let hidden = self.dims.hidden;
        over_rows(&mut self.pool, rows.len(), EMBED_ROWS, &|row| {
            // SAFETY: a row of its own.
            let to = unsafe { std::slice::from_raw_parts_mut(x.at(row), hidden) };
            model.embed(kernels, step.tokens[rows.start + row] as usize, to);
        });
    }

    /// Normalises row `pick(i)` of the residual stream into row `i` of `normed`, for `m` rows.
    fn norm(&mut self, weight: *const f32, m: usize, pick: impl Fn(usize) -> usize + Sync) {
        let (work, kernels) = (&self.work, self.kernels);
        let (hidden, eps) = (self.dims.hidden, self.dims.rms_eps);
        let weight = Shared(weight.cast_mut());
        over_rows(&mut self.pool, m, NORM_ROWS, &|row| {
            // SAFETY: rows of `hidden` elements; each row is written by one call, and nobody
            // writes the weights.
            unsafe {
                let (x, out) = (work.x.at(pick(row)), work.normed.at(row));
                (kernels.rms_norm)(x, weight.get(), hidden, eps, out);
            }
        });
    }

    /// Q to its buffer, K and V to the pool.
    fn rotate(&mut self, step: &Step, rows: &Range<usize>, layer: usize) {
        let (work, slots, kernels) = (&self.work, &self.slots, self.kernels);
        let heads = Heads {
            qkv: work.qkv.at(0),
            qkv_stride: work.qkv.stride,
            heads: self.dims.heads,
            kv_heads: self.dims.kv_heads,
            head_dim: self.dims.head_dim,
            q_norm: self.model.norm(layer, Norm::Q),
            k_norm: self.model.norm(layer, Norm::K),
            eps: self.dims.rms_eps,
            rotary: work.rotary.at(0),
            q: work.q.at(0),
            q_rows: work.rows,
            kv: self.kv.at(layer * self.kv_layer),
            block_size: self.block_size,
        };
        over_rows(&mut self.pool, rows.len(), HEAD_ROWS, &|row| {
            let position = step.position(rows.start + row);
            // SAFETY: `Step::copy` checked position and block; each row has its own slot.
            unsafe { (kernels.rotate)(&heads, row, position, slots[row]) }
        });
    }

    /// Attention of all rows of the pass, from Q and the pool.
    fn attend(&mut self, step: &Step, layer: usize) {
        let (work, tiles, kernels) = (&self.work, &self.tiles, self.kernels);
        let (head_dim, kv_heads) = (self.dims.head_dim, self.dims.kv_heads);
        let group = self.dims.heads / kv_heads;
        let attention = Attention {
            q: work.q.at(0),
            q_rows: work.rows,
            kv_heads,
            group,
            head_dim,
            kv: self.kv.at(layer * self.kv_layer),
            block_size: self.block_size,
            out: work.attended.at(0),
            out_stride: work.attended.stride,
        };
        self.pool.run(tiles.len() * kv_heads, &|thread, item| {
            let TilePlan { seq, row, tokens, position } = tiles[item / kv_heads];
            let tile = QueryTile { table: step.table(seq), row, tokens, position };
            // SAFETY: the scratch is the thread's own; heads and rows of tiles are disjoint; all
            // KV up to these positions was written before this phase.
            unsafe {
                let scratch = Scratch::new(work.scratch(thread), head_dim, group);
                (kernels.attend)(kernels, &attention, &tile, item % kv_heads, &scratch);
            }
        });
    }

    /// Logits of the step's rows `wanted`, all in the pass that starts at row `start`.
    fn logits(&mut self, wanted: &[u32], start: usize) {
        self.norm(self.model.last_norm(), wanted.len(), |i| wanted[i] as usize - start);
        let (work, head) = (&self.work, &self.model.lm_head);
        let out = store(&work.logits);
        gemm(&mut self.pool, self.kernels, head, &work.normed, wanted.len(), out, work);
    }
}

fn store(c: &Rows<f32>) -> Output {
    Output::Store { c: c.at(0), stride: c.stride }
}

fn add(c: &Rows<f32>) -> Output {
    Output::Add { c: c.at(0), stride: c.stride }
}

fn swiglu(out: &Rows<u16>) -> Output {
    Output::SwiGlu { out: out.at(0), stride: out.stride }
}

/// Calls `job` for every row below `rows`, `grain` of them a piece.
fn over_rows(pool: &mut Pool, rows: usize, grain: usize, job: &(dyn Fn(usize) + Sync)) {
    pool.run(rows.div_ceil(grain), &|_, item| {
        (item * grain..rows.min((item + 1) * grain)).for_each(job);
    });
}

/// The first `m` rows of `a` times `matrix`.
fn gemm(
    pool: &mut Pool,
    kernels: &Kernels,
    matrix: &PackedMatrix,
    a: &Rows<u16>,
    m: usize,
    out: Output,
    work: &Workspace,
) {
    let gemm = Gemm {
        a: a.at(0).cast(),
        a_stride: a.stride / 2,
        w: matrix.start(),
        pairs: matrix.k() / 2,
        out,
    };
    // Strips are shared out; where they are too few for many threads, rows are cut as well.
    let strips = matrix.strips();
    let wanted = (4 * pool.threads()).div_ceil(strips);
    let blocks = wanted.min(m.div_ceil(kernels.tile_rows())).max(1);
    pool.run(strips * blocks, &|thread, item| {
        let (strip, block) = (item / blocks, item % blocks);
        let rows = block * m / blocks..(block + 1) * m / blocks;
        // SAFETY: strips and blocks are disjoint, the scratch is the thread's own, and the
        // workspace was made for these shapes.
        unsafe { gemm.strip(kernels, strip, rows, work.scratch(thread)) }
    });
}
