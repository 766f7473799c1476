//! From the QKV product to what is attended to.

use super::driver::{Failure, Launch, Span, Stream, launch};
use super::gpu::Gpu;
use super::input::{Parts, Split};
use super::kernels::Kernels;
use super::weights::{Layer, Model};
use super::workspace::Workspace;
use crate::model::Dims;
use crate::runner::Limits;
use half::bf16;
use std::ops::Range;

/// Dynamic shared memory of a block of query tiles.
pub(super) const TILES_SHARED: usize = 126_976;
/// And of a stage of single rows: a segment of keys and values.
const STAGE_SHARED: usize = 65_536;

/// Threads of a block.
const TILE_THREADS: u32 = 256;
const SINGLE_THREADS: u32 = 128;
const HEAD_THREADS: u32 = 256;
/// Heads of a block: of `gb_heads`, and of one that merges segments.
const TURNED_HEADS: usize = 8;
const MERGED_HEADS: usize = 4;

/// The shapes of attention.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attention {
    heads: usize,
    kv_heads: usize,
    block_size: usize,
    eps: f32,
    /// What scores are multiplied by, for powers of 2.
    scale: f32,
    /// Blocks that share the single rows out.
    blocks: usize,
    /// Stages of such a block.
    stages: usize,
    /// Stages that it has room for.
    most_stages: usize,
}

/// Stages of single rows that fit a block's shared memory: two keep it busy, three busier.
fn stages(block_shared: usize) -> usize {
    (block_shared / STAGE_SHARED).clamp(2, 3)
}

/// Dynamic shared memory of a block of single rows, on a GPU that gives a block so much.
pub(super) fn singles_shared(block_shared: usize) -> usize {
    stages(block_shared) * STAGE_SHARED
}

impl Attention {
    pub fn new(gpu: &Gpu, dims: &Dims, limits: &Limits) -> Self {
        Self {
            heads: dims.heads,
            kv_heads: dims.kv_heads,
            block_size: limits.block_size,
            eps: dims.rms_eps,
            scale: std::f32::consts::LOG2_E / (dims.head_dim as f32).sqrt(),
            blocks: gpu.processors(),
            stages: stages(gpu.block_shared()),
            most_stages: stages(gpu.block_shared()),
        }
    }

    /// Changes how many segments of keys and values are under way for a block of single rows: two
    /// at least, and at most as many as it has room for, which is what `None` says.
    pub fn set_stages(&mut self, stages: Option<usize>) {
        self.stages = stages.map_or(self.most_stages, |stages| stages.clamp(2, self.most_stages));
    }

    /// Q to its buffer, K and V to the pool.
    pub fn heads(
        &self,
        stream: &Stream,
        kernels: &Kernels,
        (work, model, parts): (&Workspace, &Model, &Parts),
        (layer, kv): (&Layer, Span<bf16>),
        rows: usize,
    ) -> Result<(), Failure> {
        let of_row = (self.heads + 2 * self.kv_heads).div_ceil(TURNED_HEADS);
        let grid = [rows as u32, of_row as u32, 1];
        let grid = Launch { grid, block: HEAD_THREADS, shared: 0 };
        let (q, qkv, rotary) = (work.q, work.qkv, model.rotary);
        let Parts { positions, table_starts, tables, .. } = *parts;
        let Self { heads, kv_heads, block_size, eps, .. } = *self;
        // SAFETY: positions are below the table's length, tables name blocks of the pool.
        unsafe {
            launch!(
                kernels.heads,
                stream,
                grid,
                q,
                kv,
                qkv,
                layer.q_norm,
                layer.k_norm,
                rotary,
                positions,
                table_starts,
                tables,
                heads,
                kv_heads,
                block_size,
                eps
            )
        }
    }

    /// Attention of the single rows `pass`, whose partial results find room together.
    pub fn singles(
        &self,
        stream: &Stream,
        kernels: &Kernels,
        (work, parts): (&Workspace, &Parts),
        kv: Span<bf16>,
        (pass, segments): (&Range<usize>, usize),
    ) -> Result<(), Failure> {
        let rows = parts.singles.part(pass.start, pass.len());
        let Parts { positions, table_starts, tables, .. } = *parts;
        let Self { heads, kv_heads, block_size, stages, scale, .. } = *self;
        let (part_o, part_ml, q) = (work.part_o, work.part_ml, work.q);
        let shared = (stages * STAGE_SHARED) as u32;
        let grid = [self.blocks as u32, 1, 1];
        let attend = Launch { grid, block: SINGLE_THREADS, shared };
        // SAFETY: the planner found room for every segment of these rows.
        unsafe {
            launch!(
                kernels.attend_decode,
                stream,
                attend,
                part_o,
                part_ml,
                q,
                kv,
                rows,
                positions,
                table_starts,
                tables,
                pass.len(),
                heads,
                kv_heads,
                block_size,
                segments,
                stages,
                scale
            )?;
        }
        self.merge(stream, kernels, (work, parts), rows, segments)
    }

    /// Merges the segments of `rows`, each of which has room for so many.
    fn merge(
        &self,
        stream: &Stream,
        kernels: &Kernels,
        (work, parts): (&Workspace, &Parts),
        rows: Span<i32>,
        segments: usize,
    ) -> Result<(), Failure> {
        let grid = [rows.len as u32, self.heads.div_ceil(MERGED_HEADS) as u32, 1];
        let grid = Launch { grid, block: 32 * MERGED_HEADS as u32, shared: 0 };
        let (attended, part_o, part_ml) = (work.attended, work.part_o, work.part_ml);
        let (positions, heads) = (parts.positions, self.heads);
        // SAFETY: the planner found room for every segment of these rows.
        unsafe {
            let kernel = &kernels.attend_combine;
            launch!(
                kernel, stream, grid, attended, part_o, part_ml, rows, positions, heads, segments
            )
        }
    }

    /// Attention of `tiles` query tiles.
    pub fn tiles(
        &self,
        stream: &Stream,
        kernels: &Kernels,
        (work, parts): (&Workspace, &Parts),
        kv: Span<bf16>,
        (tiles, split): (usize, Option<Split>),
    ) -> Result<(), Failure> {
        let Self { heads, kv_heads, block_size, scale, .. } = *self;
        let blocks = split.map_or(1, |split| split.blocks);
        let grid = [kv_heads as u32, tiles as u32, blocks as u32];
        let grid = Launch { grid, block: TILE_THREADS, shared: TILES_SHARED as u32 };
        let (attended, q) = (work.attended, work.q);
        let (part_o, part_ml) = (work.part_o, work.part_ml);
        let Parts { tiles, tile_places, tables, .. } = *parts;
        let Some(Split { segments, .. }) = split else {
            // SAFETY: tiles are rows of the step, tables name blocks of the pool.
            return unsafe {
                launch!(
                    kernels.attend_prefill,
                    stream,
                    grid,
                    attended,
                    q,
                    kv,
                    tiles,
                    tables,
                    heads,
                    kv_heads,
                    block_size,
                    scale
                )
            };
        };
        // SAFETY: as above, and the planner found room for every segment of their rows.
        unsafe {
            launch!(
                kernels.attend_prefill_split,
                stream,
                grid,
                part_o,
                part_ml,
                q,
                kv,
                tiles,
                tile_places,
                tables,
                heads,
                kv_heads,
                block_size,
                segments,
                scale
            )?;
        }
        self.merge(stream, kernels, (work, parts), parts.tiled, segments)
    }
}
