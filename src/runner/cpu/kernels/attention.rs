//! Attention over the paged KV cache, for prompts and single tokens alike.
//!
//! Keys are taken in tiles of [`KEYS`] that start at multiples of it, so a row meets its keys in
//! the same groups whether it comes alone or in a chunk. A tile of K and V is packed like a weight
//! matrix (K with keys as outputs, V with head dimensions as outputs), once for all rows of a query
//! tile and all query heads of the group; both products then are [`super::gemm`]'s. Keys after a
//! row's own position get weight 0 exactly, which leaves every sum as it is.

use super::super::simd::{LANES, Simd, exp2};
use super::Kernels;
use super::gemm::{PANELS, STRIP, Tile};
use crate::types::BlockId;

/// Keys in a tile; a multiple of [`STRIP`].
const KEYS: usize = 64;

/// Rows of a query tile (tokens times heads of the group), unless one group has more heads.
pub(in super::super) const SCORE_ROWS: usize = 128;

/// The largest head.
pub(in super::super) const MAX_HEAD_DIM: usize = 256;

/// What stands for the V of keys that are not there.
static ZEROS: [u16; MAX_HEAD_DIM] = [0; MAX_HEAD_DIM];

/// One layer's attention.
pub(in super::super) struct Attention {
    /// `[kv_heads][q_rows][group][head_dim]` bf16.
    pub q: *const u16,
    pub q_rows: usize,
    pub kv_heads: usize,
    /// Query heads that share a KV head.
    pub group: usize,
    pub head_dim: usize,
    /// This layer's region of the pool, `[block][kv_head][token][K(d) | V(d)]` bf16.
    pub kv: *const u16,
    /// A multiple of 16.
    pub block_size: usize,
    /// `[rows][kv_heads * group * head_dim]` bf16, rows `out_stride` apart.
    pub out: *mut u16,
    pub out_stride: usize,
}

// SAFETY: query tiles and heads write disjoint parts of `out`; see `attend`.
unsafe impl Sync for Attention {}

/// Consecutive tokens of one sequence.
pub(in super::super) struct QueryTile<'a> {
    /// The sequence's blocks.
    pub table: &'a [BlockId],
    /// The first token's row.
    pub row: usize,
    pub tokens: usize,
    /// The first token's position; its KV and that of all tokens before it are in the cache.
    pub position: usize,
}

/// Where one thread keeps a query tile's state.
pub(in super::super) struct Scratch {
    /// `[KEYS / STRIP][head_dim / 2][STRIP]` pairs.
    keys: *mut u32,
    /// `[head_dim / STRIP][KEYS / 2][STRIP]` pairs.
    values: *mut u32,
    /// `[rows][KEYS]`.
    scores: *mut f32,
    /// `[rows][KEYS]` bf16.
    weights: *mut u16,
    /// `[rows][head_dim]`.
    sums: *mut f32,
    /// `[rows]`: the largest score so far and the sum of weights.
    largest: *mut f32,
    total: *mut f32,
}

/// The f32 that a thread's scratch takes.
pub(in super::super) fn scratch_len(head_dim: usize, group: usize) -> usize {
    let rows = SCORE_ROWS.max(group);
    2 * KEYS / 2 * head_dim + rows * (KEYS + KEYS / 2 + head_dim + 2)
}

impl Scratch {
    /// Cuts [`scratch_len`] f32 at `start` into parts.
    ///
    /// # Safety
    /// `start` is good for so many.
    pub unsafe fn new(start: *mut f32, head_dim: usize, group: usize) -> Self {
        let rows = SCORE_ROWS.max(group);
        // SAFETY: the lengths add up to `scratch_len`.
        unsafe {
            let values = start.add(KEYS / 2 * head_dim);
            let scores = values.add(KEYS / 2 * head_dim);
            let weights = scores.add(rows * KEYS);
            let sums = weights.add(rows * KEYS / 2);
            let largest = sums.add(rows * head_dim);
            let total = largest.add(rows);
            Self {
                keys: start.cast(),
                values: values.cast(),
                scores,
                weights: weights.cast(),
                sums,
                largest,
                total,
            }
        }
    }
}

/// Attends from every head of `kv_head`'s group at every token of `t`.
///
/// # Safety
/// As for [`Simd`], whose kernels `kernels` holds; the pointers are good for their shapes; nobody
/// writes the KV that is read, or touches this tile's heads in `out` or `s`. Rows of `t` times the
/// group are at most [`SCORE_ROWS`], or one token.
#[inline(always)]
pub(super) unsafe fn attend<S: Simd>(
    kernels: &Kernels,
    a: &Attention,
    t: &QueryTile,
    kv_head: usize,
    s: &Scratch,
) {
    let (d, rows) = (a.head_dim, t.tokens * a.group);
    let last = t.position + t.tokens - 1;
    // SAFETY: all indices stay inside the shapes that the caller vouches for.
    unsafe {
        for i in 0..rows * d {
            *s.sums.add(i) = 0.0;
        }
        for r in 0..rows {
            *s.largest.add(r) = f32::NEG_INFINITY;
            *s.total.add(r) = 0.0;
        }
        let q = a.q.add((kv_head * a.q_rows + t.row) * a.group * d);
        for first in (0..=last).step_by(KEYS) {
            let keys = (last + 1 - first).min(KEYS);
            pack::<S>(a, t.table, kv_head, first, keys, s);
            for strip in 0..KEYS / STRIP {
                let w = s.keys.add(strip * d / 2 * STRIP);
                let c = s.scores.add(strip * STRIP);
                product(kernels, rows, q.cast(), d / 2, w, c, KEYS, d / 2, false);
            }
            for token in 0..t.tokens {
                let seen = (t.position + token + 1) as isize - first as isize;
                for r in token * a.group..(token + 1) * a.group {
                    weigh::<S>(s, r, seen, d);
                }
            }
            // Pairs of keys; what lies behind them has weight 0.
            let pairs = keys.next_multiple_of(LANES) / 2;
            for strip in 0..d / STRIP {
                let w = s.values.add(strip * KEYS / 2 * STRIP);
                let c = s.sums.add(strip * STRIP);
                product(kernels, rows, s.weights.cast(), KEYS / 2, w, c, d, pairs, true);
            }
        }
        for r in 0..rows {
            let head = kv_head * a.group + r % a.group;
            let out = a.out.add((t.row + r / a.group) * a.out_stride + head * d);
            let total = S::splat(*s.total.add(r));
            for i in (0..d).step_by(LANES) {
                S::store_bf16(out.add(i), S::div(S::load(s.sums.add(r * d + i)), total));
            }
        }
    }
}

/// A product of `rows` rows with one packed strip that lies in the cache.
#[allow(clippy::too_many_arguments)]
unsafe fn product(
    kernels: &Kernels,
    rows: usize,
    a: *const u32,
    a_stride: usize,
    w: *const u32,
    c: *mut f32,
    c_stride: usize,
    pairs: usize,
    resume: bool,
) {
    let tiles = rows.div_ceil(kernels.tile_rows());
    for i in 0..tiles {
        let first = i * rows / tiles;
        let height = (i + 1) * rows / tiles - first;
        // SAFETY: rows below `rows`.
        unsafe {
            let (a, c) = (a.add(first * a_stride), c.add(first * c_stride));
            let (prefetch, prefetch_step) = (w.cast(), 0);
            let tile = Tile { a, a_stride, w, c, c_stride, pairs, resume, prefetch, prefetch_step };
            kernels.tile(height, &tile);
        }
    }
}

/// Packs `keys` keys from position `first` on.
#[inline(always)]
unsafe fn pack<S: Simd>(
    a: &Attention,
    table: &[BlockId],
    kv_head: usize,
    first: usize,
    keys: usize,
    s: &Scratch,
) {
    let d = a.head_dim;
    for group in 0..keys.div_ceil(LANES) {
        let position = first + group * LANES;
        let block = table[position / a.block_size] as usize;
        let slot = (block * a.kv_heads + kv_head) * a.block_size + position % a.block_size;
        // SAFETY: 16 keys from a multiple of 16 on are in one block; the scratch holds the tile.
        unsafe {
            let kv = a.kv.add(slot * 2 * d);
            let strip = s.keys.add(group / PANELS * d / 2 * STRIP + group % PANELS * LANES);
            for pair in (0..d / 2).step_by(LANES) {
                S::transpose(kv.cast::<u32>().add(pair), d, strip.add(pair * STRIP), STRIP);
            }
            for key in (0..LANES).step_by(2) {
                // A slot beyond the last key may hold anything, NaN too, which times 0 is not 0.
                let value = |key: usize| {
                    let there = group * LANES + key < keys;
                    if there { kv.add(key * 2 * d + d) } else { ZEROS.as_ptr() }
                };
                let (even, odd) = (value(key), value(key + 1));
                let to = s.values.add((group * LANES + key) / 2 * STRIP);
                for i in (0..d).step_by(LANES) {
                    let place = i / STRIP * (KEYS / 2) * STRIP + i % STRIP;
                    S::store_pairs(to.add(place), S::zip(even.add(i), odd.add(i)));
                }
            }
        }
    }
}

/// Turns a row's scores for a tile into weights, of which the first `seen` count, and rescales what
/// the row has summed up.
#[inline(always)]
unsafe fn weigh<S: Simd>(s: &Scratch, row: usize, seen: isize, d: usize) {
    const VECTORS: usize = KEYS / LANES;
    // SAFETY: inside the scratch.
    unsafe {
        let weights = s.weights.add(row * KEYS);
        if seen <= 0 {
            for i in 0..VECTORS {
                S::store_bf16(weights.add(i * LANES), S::splat(0.0));
            }
            return;
        }
        let scale = S::splat(std::f32::consts::LOG2_E / (d as f32).sqrt());
        let nothing = S::splat(f32::NEG_INFINITY);
        let mut score = [nothing; VECTORS];
        for (i, score) in score.iter_mut().enumerate() {
            let raw = S::mul(S::load(s.scores.add(row * KEYS + i * LANES)), scale);
            *score = S::keep(raw, seen - (i * LANES) as isize, nothing);
        }
        let largest = S::max(S::max(score[0], score[1]), S::max(score[2], score[3]));
        let before = *s.largest.add(row);
        let now = before.max(S::largest(largest));
        let mut total = S::splat(0.0);
        for (i, score) in score.iter().enumerate() {
            let weight = exp2::<S>(S::sub(*score, S::splat(now)));
            total = S::add(total, weight);
            S::store_bf16(weights.add(i * LANES), weight);
        }
        let shrink = exp2::<S>(S::splat(before - now));
        let factor = S::largest(shrink);
        *s.largest.add(row) = now;
        *s.total.add(row) = *s.total.add(row) * factor + S::sum(total);
        if factor != 1.0 {
            for i in (0..d).step_by(LANES) {
                let sum = s.sums.add(row * d + i);
                S::store(sum, S::mul(S::load(sum), shrink));
            }
        }
    }
}
