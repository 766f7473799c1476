//! What a step is, as the kernels read it: one array of integers that goes to the device in one
//! copy.

use super::driver::Span;
use super::workspace::SEGMENT;
use crate::runner::{Limits, SampleRow, StepBatch};
use crate::sampler::Draw;
use std::ops::Range;

/// Integers that describe how a row is drawn (see `kernels/README.md`).
pub(super) const DRAW_LEN: usize = 8;
/// The flag of a draw that is none: the row is padding, or its logits are wanted.
const NO_DRAW: i32 = 1;
/// Rows (tokens times heads of a group) of a query tile of long sequences.
const TILE_ROWS: usize = 128;
/// What stands where there is no row.
const NONE: i32 = -1;

/// How many of everything a step has, padding included. Two steps of one shape differ in nothing
/// but the integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    pub rows: usize,
    pub seqs: usize,
    /// Rows that attend by themselves, each to its whole context: one token of a sequence.
    pub singles: usize,
    /// What a single row has room for in the partial results, in segments.
    pub segments: usize,
    /// Query tiles of longer sequences.
    pub tiles: usize,
    /// Rows whose logits are wanted.
    pub wanted: usize,
    /// Entries of a block table.
    pub width: usize,
}

/// Where each part starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    shape: Shape,
    positions: usize,
    seqs: usize,
    feed: usize,
    singles: usize,
    tiles: usize,
    wanted: usize,
    draws: usize,
    reports: usize,
    tables: usize,
    len: usize,
}

impl Layout {
    /// The layout of a step of `shape`.
    pub fn new(shape: Shape) -> Self {
        let mut end = 0;
        // Parts start at multiples of 4, for those that are read four integers at a time.
        let mut take = |len: usize| {
            let start = end;
            end = (end + len).next_multiple_of(4);
            start
        };
        let tokens = take(shape.rows);
        debug_assert_eq!(tokens, 0);
        Self {
            shape,
            positions: take(shape.rows),
            seqs: take(shape.rows),
            feed: take(shape.rows),
            singles: take(shape.singles),
            tiles: take(shape.tiles * 4),
            wanted: take(shape.wanted),
            draws: take(shape.wanted * DRAW_LEN),
            reports: take(shape.wanted),
            tables: take(shape.seqs * shape.width),
            len: end,
        }
    }

    /// The integers that the largest step of `limits` takes.
    pub fn longest(limits: &Limits) -> usize {
        let (rows, seqs) = (limits.max_tokens, limits.max_seqs);
        // A group has at least one head, so a tile has at least one token.
        let (singles, tiles, wanted, width) = (seqs, rows, rows, limits.max_blocks_per_seq);
        Self::new(Shape { rows, seqs, singles, segments: 0, tiles, wanted, width }).len
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// The parts of `input`, which is laid out like this.
    pub fn parts(&self, input: Span<i32>) -> Parts {
        let Shape { rows, seqs, singles, tiles, wanted, width, .. } = self.shape;
        Parts {
            tokens: input.part(0, rows),
            positions: input.part(self.positions, rows),
            seqs: input.part(self.seqs, rows),
            feed: input.part(self.feed, rows),
            singles: input.part(self.singles, singles),
            tiles: input.part(self.tiles, tiles * 4),
            wanted: input.part(self.wanted, wanted),
            draws: input.part(self.draws, wanted * DRAW_LEN),
            reports: input.part(self.reports, wanted),
            tables: input.part(self.tables, seqs * width),
            width,
        }
    }
}

/// The parts of a step on the device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    /// `[rows]`; none: padding.
    pub tokens: Span<i32>,
    pub positions: Span<i32>,
    /// `[rows]`: the sequence of each.
    pub seqs: Span<i32>,
    /// `[rows]`: the wanted row of the step before whose token each is; none: it is known.
    pub feed: Span<i32>,
    /// `[singles]`: rows.
    pub singles: Span<i32>,
    /// `[tiles][4]`: sequence, first row, tokens, first position.
    pub tiles: Span<i32>,
    /// `[wanted]`: rows.
    pub wanted: Span<i32>,
    /// `[wanted][8]`.
    pub draws: Span<i32>,
    /// `[wanted]`: how many log-probabilities are told beside that of the sampled token; none: not
    /// even that one.
    pub reports: Span<i32>,
    /// `[seqs][width]`.
    pub tables: Span<i32>,
    pub width: usize,
}

/// Cuts steps up.
#[derive(Clone, Debug)]
pub(super) struct Planner {
    pub block_size: usize,
    /// Blocks of the longest sequence.
    pub blocks: usize,
    /// Query heads that share a KV head.
    pub group: usize,
    /// Segments of partial results at once, enough for one sequence.
    pub segments: usize,
    /// Buckets that steps of single rows are padded to, ascending.
    pub buckets: Vec<usize>,
    /// Whether they are padded at all.
    pub pads: bool,
}

impl Planner {
    /// Tokens of a query tile.
    fn tile_tokens(&self) -> usize {
        (TILE_ROWS / self.group).max(1)
    }

    /// Whether sequence `seq` is a single row.
    fn is_single(batch: &StepBatch, seq: usize) -> bool {
        batch.rows_of(seq).len() == 1
    }

    /// The shape of `batch`, and whether it is padded to a bucket: then a graph can be had for it.
    /// Only steps are that have nothing but single rows, all wanted.
    pub fn shape(&self, batch: &StepBatch) -> (Shape, bool) {
        let (rows, seqs) = (batch.num_tokens(), batch.num_seqs());
        let (mut singles, mut tiles, mut single, mut longest) = (0, 0, 0, 0);
        for seq in 0..seqs {
            let context = batch.context_len[seq] as usize;
            longest = longest.max(context);
            match Self::is_single(batch, seq) {
                true => {
                    singles += 1;
                    single = single.max(context);
                }
                false => tiles += batch.rows_of(seq).len().div_ceil(self.tile_tokens()),
            }
        }
        // Few sizes, so that few graphs are captured while sequences grow. Where all rows are
        // single ones the two are of one context: the width makes no more of them.
        let segments = segments_of(single).min(self.segments);
        let width = (segments_of(longest) * SEGMENT / self.block_size).min(self.blocks);
        let wanted = batch.rows.len();
        let bucket = self.buckets.iter().copied().find(|&bucket| bucket >= rows);
        match bucket.filter(|bucket| bucket * segments <= self.segments) {
            Some(bucket) if self.pads && singles == rows && wanted == rows => {
                let (rows, seqs, singles, wanted) = (bucket, bucket, bucket, bucket);
                (Shape { rows, seqs, singles, segments, tiles, wanted, width }, true)
            }
            _ => (Shape { rows, seqs, singles, segments, tiles, wanted, width }, false),
        }
    }

    /// Writes `batch` as `layout` says. `passes`: over the single rows, whose partial results find
    /// room together.
    pub fn write(
        &self,
        batch: &StepBatch,
        layout: &Layout,
        out: &mut [i32],
        passes: &mut Vec<Range<usize>>,
    ) {
        let shape = layout.shape;
        copy(&batch.tokens, &mut out[..shape.rows]);
        copy(&batch.positions, &mut out[layout.positions..][..shape.rows]);
        copy(&batch.feed, &mut out[layout.feed..][..shape.rows]);
        let of_rows = &mut out[layout.seqs..][..shape.rows];
        of_rows[batch.num_tokens()..].fill(0);
        for seq in 0..batch.num_seqs() {
            of_rows[batch.rows_of(seq)].fill(seq as i32);
        }
        for seq in 0..batch.num_seqs() {
            // What lies behind is never looked at.
            let used = (batch.context_len[seq] as usize).div_ceil(self.block_size);
            let table = &mut out[layout.tables + seq * shape.width..][..used];
            copy(&batch.block_table(seq)[..used], table);
        }
        self.write_singles(batch, layout, out, passes);
        self.write_tiles(batch, layout, &mut out[layout.tiles..]);
        write_wanted(&batch.rows, layout, out);
    }

    fn write_singles(
        &self,
        batch: &StepBatch,
        layout: &Layout,
        out: &mut [i32],
        passes: &mut Vec<Range<usize>>,
    ) {
        let Shape { singles, segments, .. } = layout.shape;
        let out = &mut out[layout.singles..][..singles];
        out.fill(NONE);
        let rows = (0..batch.num_seqs()).filter(|&seq| Self::is_single(batch, seq));
        for (seq, out) in rows.zip(out) {
            *out = batch.query_start[seq] as i32;
        }
        passes.clear();
        let most = self.segments / segments.max(1);
        passes.extend((0..singles).step_by(most).map(|start| start..singles.min(start + most)));
    }

    fn write_tiles(&self, batch: &StepBatch, layout: &Layout, out: &mut [i32]) {
        let (tiles, _) = out[..layout.shape.tiles * 4].as_chunks_mut::<4>();
        let mut tiles = tiles.iter_mut();
        for seq in (0..batch.num_seqs()).filter(|&seq| !Self::is_single(batch, seq)) {
            let rows = batch.rows_of(seq);
            for row in rows.clone().step_by(self.tile_tokens()) {
                let tokens = self.tile_tokens().min(rows.end - row);
                let tile = [seq as i32, row as i32, tokens as i32, batch.positions[row] as i32];
                *tiles.next().expect("the shape has room for every tile") = tile;
            }
        }
    }
}

/// Segments of a context, as a power of two.
pub(super) fn segments_of(context: usize) -> usize {
    context.div_ceil(SEGMENT).next_power_of_two()
}

fn write_wanted(rows: &[SampleRow], layout: &Layout, out: &mut [i32]) {
    let wanted = &mut out[layout.wanted..][..layout.shape.wanted];
    // Padding is normed too: any row will do.
    wanted[rows.len()..].fill(0);
    for (row, wanted) in rows.iter().zip(wanted) {
        *wanted = row.row as i32;
    }
    let draws = &mut out[layout.draws..][..layout.shape.wanted * DRAW_LEN];
    let (draws, _) = draws.as_chunks_mut::<DRAW_LEN>();
    for (i, draw) in draws.iter_mut().enumerate() {
        *draw = encode(rows.get(i).and_then(|row| row.draw.as_ref()));
    }
    let reports = &mut out[layout.reports..][..layout.shape.wanted];
    reports.fill(NONE);
    for (row, report) in rows.iter().zip(reports) {
        *report = row.draw.and_then(|draw| draw.report).map_or(NONE, |count| count as i32);
    }
}

fn encode(draw: Option<&Draw>) -> [i32; DRAW_LEN] {
    let Some(draw) = draw else { return [0, 0, 0, 0, 0, 0, 0, NO_DRAW] };
    let bits = |value: f32| value.to_bits() as i32;
    let seed = draw.seed;
    [
        bits(draw.temperature),
        i32::try_from(draw.top_k).unwrap_or(0),
        bits(draw.top_p),
        bits(draw.min_p),
        seed as i32,
        (seed >> 32) as i32,
        draw.position as i32,
        0,
    ]
}

/// Copies `from`, and fills what is left of `to` with what stands for nothing.
fn copy(from: &[u32], to: &mut [i32]) {
    let (head, rest) = to.split_at_mut(from.len());
    for (to, &from) in head.iter_mut().zip(from) {
        *to = from as i32;
    }
    rest.fill(NONE);
}

#[cfg(test)]
mod tests;
