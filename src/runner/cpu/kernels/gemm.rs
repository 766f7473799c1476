//! Products of a few or many rows with a packed matrix, at the speed of memory or of the FMA units.
//!
//! A matrix of N outputs by K is packed in strips of [`STRIP`] outputs, `[N / 32][K / 2][2][16][2]`
//! bf16: one step along K is two vectors of 16 outputs, each lane a pair of neighbours in K. An
//! output element is one chain of [`Simd::dot2`] along K. A register tile computes up to a
//! machine's number of rows for a strip. When all rows fit one tile, the strip streams past once.
//! Otherwise K is cut so that a block of the strip stays in the first-level cache while the rows
//! pass by; the accumulators wait in memory meanwhile, as f32, which does not change the chain.

use super::super::simd::{LANES, Simd, exp2};
use super::Kernels;
use std::ops::Range;

/// Vectors of outputs in a strip.
pub(in super::super) const PANELS: usize = 2;

/// Outputs in a strip.
pub(in super::super) const STRIP: usize = PANELS * LANES;

/// Pairs along K in a block that several tiles share: 32 KiB of weights.
const BLOCK: usize = 256;

/// How far ahead of its use a streamed strip is asked for, in bytes.
const AHEAD: usize = 8192;

/// One register tile: `c[r][0..32] (+)= a[r] * w` over `pairs` pairs.
pub(in super::super) struct Tile {
    /// `[rows][pairs]`, rows `a_stride` pairs apart.
    pub a: *const u32,
    pub a_stride: usize,
    /// `[pairs][PANELS][LANES]`.
    pub w: *const u32,
    /// `[rows][STRIP]`, rows `c_stride` apart.
    pub c: *mut f32,
    pub c_stride: usize,
    pub pairs: usize,
    /// Whether the chains go on from what is in `c`.
    pub resume: bool,
    /// What to ask the memory for: from here on, `prefetch_step` bytes for each pair.
    pub prefetch: *const u8,
    pub prefetch_step: usize,
}

/// Computes a tile of `R` rows.
///
/// # Safety
/// As for [`Simd`]; the pointers of `t` are good for the shapes given there.
#[inline(always)]
pub(super) unsafe fn tile<S: Simd, const R: usize>(t: &Tile) {
    // SAFETY: passed on.
    unsafe {
        if size_of::<S::F>() == 64 && align_of::<S::F>() == 64 {
            tile_panels::<S, R, PANELS>(t, 0);
        } else {
            // Fewer registers, or narrower ones: a panel at a time.
            for panel in 0..PANELS {
                tile_panels::<S, R, 1>(t, panel);
            }
        }
    }
}

/// Computes `P` panels of a tile from `first` on.
#[inline(always)]
unsafe fn tile_panels<S: Simd, const R: usize, const P: usize>(t: &Tile, first: usize) {
    // SAFETY: rows below R, panels below PANELS and pairs below `t.pairs` are inside the shapes.
    unsafe {
        let c = t.c.add(first * LANES);
        let w = t.w.add(first * LANES);
        let mut acc = [[S::splat(0.0); P]; R];
        if t.resume {
            for (r, acc) in acc.iter_mut().enumerate() {
                for (p, acc) in acc.iter_mut().enumerate() {
                    *acc = S::load(c.add(r * t.c_stride + p * LANES));
                }
            }
        }
        for k in 0..t.pairs {
            let mut weights = [S::load_pairs(w.add(k * STRIP)); P];
            for (p, weights) in weights.iter_mut().enumerate().skip(1) {
                *weights = S::load_pairs(w.add(k * STRIP + p * LANES));
            }
            let ahead = t.prefetch.wrapping_add(k * t.prefetch_step);
            S::prefetch(ahead);
            S::prefetch(ahead.wrapping_add(64));
            for (r, acc) in acc.iter_mut().enumerate() {
                let x = S::splat_pair(t.a.add(r * t.a_stride + k));
                for (acc, weights) in acc.iter_mut().zip(weights) {
                    *acc = S::dot2(*acc, weights, x);
                }
            }
        }
        for (r, acc) in acc.iter().enumerate() {
            for (p, acc) in acc.iter().enumerate() {
                S::store(c.add(r * t.c_stride + p * LANES), *acc);
            }
        }
    }
}

/// `out[r][0..16] = silu(gate) * up` for the strip `gate_up[r] = [gate(16) | up(16)]`.
///
/// # Safety
/// As for [`Simd`]; `gate_up` holds `rows` strips, `out` 16 bf16 every `stride`.
#[inline(always)]
pub(super) unsafe fn swiglu<S: Simd>(
    gate_up: *const f32,
    rows: usize,
    out: *mut u16,
    stride: usize,
) {
    // SAFETY: passed on.
    unsafe {
        let one = S::splat(1.0);
        let to_base_2 = S::splat(-std::f32::consts::LOG2_E);
        for r in 0..rows {
            let gate = S::load(gate_up.add(r * STRIP));
            let up = S::load(gate_up.add(r * STRIP + LANES));
            let silu = S::div(gate, S::add(one, exp2::<S>(S::mul(gate, to_base_2))));
            S::store_bf16(out.add(r * stride), S::mul(silu, up));
        }
    }
}

/// What becomes of a product.
#[derive(Clone, Copy)]
pub(in super::super) enum Output {
    /// `c = product`, rows `stride` apart.
    Store { c: *mut f32, stride: usize },
    /// `c += product`: the chains start from `c`.
    Add { c: *mut f32, stride: usize },
    /// `out = silu(gate) * up` for strips of 16 gates and their 16 ups.
    SwiGlu { out: *mut u16, stride: usize },
}

/// `a * w` for a packed matrix.
pub(in super::super) struct Gemm {
    /// `[rows][2 * pairs]` bf16, rows `a_stride` pairs apart.
    pub a: *const u32,
    pub a_stride: usize,
    /// The packed matrix.
    pub w: *const u32,
    pub pairs: usize,
    pub out: Output,
}

// SAFETY: strips of one product write disjoint columns; see `Gemm::strip`.
unsafe impl Sync for Gemm {}

impl Kernels {
    /// The most rows of one register tile.
    pub fn tile_rows(&self) -> usize {
        self.tiles.len()
    }

    /// Computes one tile of `rows` rows.
    ///
    /// # Safety
    /// As for [`tile`]; `rows` is between 1 and [`Kernels::tile_rows`].
    pub(super) unsafe fn tile(&self, rows: usize, t: &Tile) {
        // SAFETY: passed on.
        unsafe { (self.tiles[rows - 1])(t) }
    }
}

impl Gemm {
    /// Computes the outputs of one strip for `rows`. `scratch` holds a strip of f32 for each of
    /// them; only [`Output::SwiGlu`] uses it.
    ///
    /// # Safety
    /// The machine has the instruction set of `kernels`, the pointers are good, and no other
    /// thread touches this strip's columns of these rows or `scratch` at the same time.
    pub unsafe fn strip(
        &self,
        kernels: &Kernels,
        strip: usize,
        rows: Range<usize>,
        scratch: *mut f32,
    ) {
        let tiles = rows.len().div_ceil(kernels.tile_rows());
        let block = if tiles == 1 { self.pairs } else { BLOCK };
        for k in (0..self.pairs).step_by(block) {
            let pairs = block.min(self.pairs - k);
            // SAFETY: inside the packed matrix.
            let w = unsafe { self.w.add((strip * self.pairs + k) * STRIP) };
            for i in 0..tiles {
                // Tiles of as equal a height as can be.
                let first = i * rows.len() / tiles;
                let height = (i + 1) * rows.len() / tiles - first;
                let step = STRIP * size_of::<u32>() / tiles;
                // All tiles together ask for the next block, which lies behind this one.
                let ahead = if tiles == 1 { AHEAD } else { (STRIP * 4 + step * i) * pairs };
                let first = rows.start + first;
                // SAFETY: rows of `rows` and columns of `strip`, as the caller vouches.
                unsafe {
                    let (c, c_stride, add) = self.columns(strip, first, rows.start, scratch);
                    let tile = Tile {
                        a: self.a.add(first * self.a_stride + k),
                        a_stride: self.a_stride,
                        w,
                        c,
                        c_stride,
                        pairs,
                        resume: add || k > 0,
                        prefetch: w.cast::<u8>().wrapping_add(ahead),
                        prefetch_step: step,
                    };
                    kernels.tile(height, &tile);
                    if let Output::SwiGlu { out, stride } = self.out
                        && k + pairs == self.pairs
                    {
                        let out = out.add(first * stride + strip * LANES);
                        (kernels.swiglu)(c, height, out, stride);
                    }
                }
            }
        }
    }

    /// Where the sums of `strip` for row `row` stand, their stride, and whether they start there.
    unsafe fn columns(
        &self,
        strip: usize,
        row: usize,
        first_row: usize,
        scratch: *mut f32,
    ) -> (*mut f32, usize, bool) {
        // SAFETY: inside what the caller of `strip` vouches for.
        unsafe {
            match self.out {
                Output::Store { c, stride } => (c.add(row * stride + strip * STRIP), stride, false),
                Output::Add { c, stride } => (c.add(row * stride + strip * STRIP), stride, true),
                Output::SwiGlu { .. } => (scratch.add((row - first_row) * STRIP), STRIP, false),
            }
        }
    }
}
