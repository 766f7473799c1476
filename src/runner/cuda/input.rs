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
/// Tiles whose rows see fewer segments than this are not split, nor are those of more rows times
/// heads: writing a segment and reading it again takes about as long then as computing it does
/// (an estimate: see `benches/gpu`).
const SPLIT_SEGMENTS: usize = 4;
const SPLIT_HEADS: usize = 2048;
/// What stands where there is no row.
const NONE: i32 = -1;

/// How many of everything a step has, padding included. Two steps of one shape differ in nothing
/// but the integers, and in how many of them tell of blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    pub rows: usize,
    /// Rows that attend by themselves, each to its whole context: one token of a sequence.
    pub singles: usize,
    /// What a single row has room for in the partial results, in segments.
    pub segments: usize,
    /// Query tiles of longer sequences.
    pub tiles: usize,
    /// Whether several blocks share the keys of a tile out.
    pub split: Option<Split>,
    /// Rows whose logits are wanted.
    pub wanted: usize,
}

/// How the keys of tiles are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// Of a tile and a KV head.
    pub blocks: usize,
    /// Rows of all tiles.
    pub rows: usize,
    /// What a row has room for in the partial results, in segments.
    pub segments: usize,
}

/// Where each part starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    shape: Shape,
    positions: usize,
    table_starts: usize,
    feed: usize,
    singles: usize,
    tiles: usize,
    tile_places: usize,
    tiled: usize,
    wanted: usize,
    draws: usize,
    reports: usize,
    /// The last part.
    tables: usize,
}

impl Layout {
    /// The layout of a step of `shape`.
    pub fn new(shape: Shape) -> Self {
        let mut end = 0;
        let (places, tiled) = shape.split.map_or((0, 0), |split| (shape.tiles, split.rows));
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
            table_starts: take(shape.rows),
            feed: take(shape.rows),
            singles: take(shape.singles),
            tiles: take(shape.tiles * 4),
            tile_places: take(places),
            tiled: take(tiled),
            wanted: take(shape.wanted),
            draws: take(shape.wanted * DRAW_LEN),
            reports: take(shape.wanted),
            tables: end,
        }
    }

    /// The integers that the largest step of `limits` takes.
    pub fn longest(limits: &Limits) -> usize {
        let (rows, seqs) = (limits.max_tokens, limits.max_seqs);
        // A group has at least one head, so a tile has at least one token.
        let split = Some(Split { blocks: 1, rows, segments: 0 });
        let shape = Shape { rows, singles: seqs, segments: 0, tiles: rows, split, wanted: rows };
        Self::new(shape).tables + seqs * limits.max_blocks_per_seq
    }

    /// The parts of `input`, which is laid out like this.
    pub fn parts(&self, input: Span<i32>) -> Parts {
        let Shape { rows, singles, tiles, split, wanted, .. } = self.shape;
        let (places, tiled) = split.map_or((0, 0), |split| (tiles, split.rows));
        Parts {
            tokens: input.part(0, rows),
            positions: input.part(self.positions, rows),
            table_starts: input.part(self.table_starts, rows),
            feed: input.part(self.feed, rows),
            singles: input.part(self.singles, singles),
            tiles: input.part(self.tiles, tiles * 4),
            tile_places: input.part(self.tile_places, places),
            tiled: input.part(self.tiled, tiled),
            wanted: input.part(self.wanted, wanted),
            draws: input.part(self.draws, wanted * DRAW_LEN),
            reports: input.part(self.reports, wanted),
            tables: input.part(self.tables, input.len - self.tables),
        }
    }
}

/// The parts of a step on the device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    /// `[rows]`; none: padding.
    pub tokens: Span<i32>,
    pub positions: Span<i32>,
    /// `[rows]`: where the block table of each one's sequence starts in `tables`.
    pub table_starts: Span<i32>,
    /// `[rows]`: the wanted row of the step before whose token each is; none: it is known.
    pub feed: Span<i32>,
    /// `[singles]`: rows.
    pub singles: Span<i32>,
    /// `[tiles][4]`: start of the block table, first row, tokens, first position.
    pub tiles: Span<i32>,
    /// `[tiles]`: where the first row of each is among `tiled`; nothing, if tiles are not split.
    pub tile_places: Span<i32>,
    /// The rows of all tiles, likewise.
    pub tiled: Span<i32>,
    /// `[wanted]`: rows.
    pub wanted: Span<i32>,
    /// `[wanted][8]`.
    pub draws: Span<i32>,
    /// `[wanted]`: how many log-probabilities are told beside that of the sampled token; none: not
    /// even that one.
    pub reports: Span<i32>,
    /// Block tables, one after the other.
    pub tables: Span<i32>,
}

/// Cuts steps up.
#[derive(Clone, Debug)]
pub(super) struct Planner {
    pub block_size: usize,
    /// Segments of the longest sequence.
    pub longest: usize,
    /// Query heads that share a KV head.
    pub group: usize,
    pub kv_heads: usize,
    /// Multiprocessors of the device.
    pub processors: usize,
    /// Segments of partial results at once, enough for one sequence.
    pub segments: usize,
    /// Buckets that steps of single rows are padded to, ascending.
    pub buckets: Vec<usize>,
    /// Whether they are padded at all.
    pub pads: bool,
    /// Whether tiles may be split.
    pub splits: bool,
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

    /// The shape of steps of single tokens that are padded to `bucket` rows, all wanted: with room
    /// for contexts as long as there may be, or as there is room for.
    pub fn padded(&self, bucket: usize) -> Shape {
        let segments = self.longest.min(self.segments / bucket);
        let (rows, singles, wanted) = (bucket, bucket, bucket);
        Shape { rows, singles, segments, tiles: 0, split: None, wanted }
    }

    /// The shape of `batch`, and whether it is padded to a bucket: then a graph can be had for it.
    /// Only steps are that have nothing but single rows, all wanted.
    pub fn shape(&self, batch: &StepBatch) -> (Shape, bool) {
        let (rows, wanted) = (batch.num_tokens(), batch.rows.len());
        let (mut singles, mut tiles, mut single, mut tiled) = (0, 0, 0, 0);
        for seq in 0..batch.num_seqs() {
            let context = batch.context_len[seq] as usize;
            match Self::is_single(batch, seq) {
                true => {
                    singles += 1;
                    single = single.max(context);
                }
                false => {
                    tiles += batch.rows_of(seq).len().div_ceil(self.tile_tokens());
                    tiled = tiled.max(context);
                }
            }
        }
        let segments = segments_of(single);
        let bucket = self.buckets.iter().copied().find(|&bucket| bucket >= rows);
        let padded = bucket.filter(|_| self.pads).map(|bucket| self.padded(bucket));
        match padded.filter(|padded| segments <= padded.segments) {
            Some(padded) if singles == rows && wanted == rows => (padded, true),
            _ => {
                let split = self.split(tiles, rows - singles, segments_of(tiled));
                (Shape { rows, singles, segments, tiles, split, wanted }, false)
            }
        }
    }

    /// Whether the keys of `tiles` tiles, `rows` rows in all that see up to so many segments, are
    /// shared out over blocks that would have nothing to do otherwise. Then all segments of all
    /// rows go to memory and are merged from there, which few rows are worth.
    fn split(&self, tiles: usize, rows: usize, segments: usize) -> Option<Split> {
        let blocks = self.processors / (self.kv_heads * tiles).max(1);
        let is_worth_it = self.splits
            && blocks >= 2
            && segments >= SPLIT_SEGMENTS
            && rows * self.kv_heads * self.group <= SPLIT_HEADS
            && rows * segments <= self.segments;
        (tiles > 0 && is_worth_it).then(|| Split { blocks: blocks.min(segments), rows, segments })
    }

    /// Writes `batch` as `layout` says; how many integers that takes. `passes`: over the single
    /// rows, whose partial results find room together.
    pub fn write(
        &self,
        batch: &StepBatch,
        layout: &Layout,
        out: &mut [i32],
        passes: &mut Vec<Range<usize>>,
    ) -> usize {
        let shape = layout.shape;
        copy(&batch.tokens, &mut out[..shape.rows]);
        copy(&batch.positions, &mut out[layout.positions..][..shape.rows]);
        copy(&batch.feed, &mut out[layout.feed..][..shape.rows]);
        let len = self.write_tables(batch, layout, out);
        self.write_singles(batch, layout, out, passes);
        self.write_tiles(batch, layout, out);
        write_wanted(&batch.rows, layout, out);
        len
    }

    /// The block tables, one after the other, and where each row's starts; the end of the last.
    fn write_tables(&self, batch: &StepBatch, layout: &Layout, out: &mut [i32]) -> usize {
        let (before, tables) = out.split_at_mut(layout.tables);
        let starts = &mut before[layout.table_starts..][..layout.shape.rows];
        starts[batch.num_tokens()..].fill(0);
        let mut start = 0;
        for seq in 0..batch.num_seqs() {
            // What lies behind is never looked at.
            let used = (batch.context_len[seq] as usize).div_ceil(self.block_size);
            copy(&batch.block_table(seq)[..used], &mut tables[start..][..used]);
            starts[batch.rows_of(seq)].fill(start as i32);
            start += used;
        }
        layout.tables + start
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
        let (mut tile, mut place, split) = (0, 0, layout.shape.split.is_some());
        for seq in (0..batch.num_seqs()).filter(|&seq| !Self::is_single(batch, seq)) {
            let rows = batch.rows_of(seq);
            for row in rows.clone().step_by(self.tile_tokens()) {
                let tokens = self.tile_tokens().min(rows.end - row);
                let start = out[layout.table_starts + row];
                let position = batch.positions[row] as i32;
                let entry = [start, row as i32, tokens as i32, position];
                out[layout.tiles + 4 * tile..][..4].copy_from_slice(&entry);
                if split {
                    out[layout.tile_places + tile] = place as i32;
                    let tiled = &mut out[layout.tiled + place..][..tokens];
                    tiled.iter_mut().zip(row..).for_each(|(to, row)| *to = row as i32);
                }
                (tile, place) = (tile + 1, place + tokens);
            }
        }
        debug_assert_eq!(tile, layout.shape.tiles);
    }
}

/// Segments of a context.
pub(super) fn segments_of(context: usize) -> usize {
    context.div_ceil(SEGMENT)
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
