//! From the QKV product to attention's operands: qk-norm, rotary embedding, the KV cache.

use super::super::simd::{LANES, Simd};
use super::norm::inverse_rms;

/// A token's place in the KV pool.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Slot {
    pub block: usize,
    /// Below the block size.
    pub offset: usize,
}

/// One layer's heads.
pub(in super::super) struct Heads {
    /// `[rows][(heads + 2 kv_heads) * head_dim]`: Q, K, V; rows `qkv_stride` apart.
    pub qkv: *const f32,
    pub qkv_stride: usize,
    pub heads: usize,
    pub kv_heads: usize,
    /// A multiple of 32.
    pub head_dim: usize,
    /// `[head_dim]` each.
    pub q_norm: *const f32,
    pub k_norm: *const f32,
    pub eps: f32,
    /// `[positions][cos(head_dim / 2) | sin(head_dim / 2)]`.
    pub rotary: *const f32,
    /// `[kv_heads][q_rows][heads / kv_heads][head_dim]` bf16.
    pub q: *mut u16,
    pub q_rows: usize,
    /// This layer's region of the pool, `[block][kv_head][token][K(d) | V(d)]` bf16.
    pub kv: *mut u16,
    pub block_size: usize,
}

// SAFETY: rows write disjoint parts of `q` and `kv`; see `rotate`.
unsafe impl Sync for Heads {}

/// Takes row `row`, which is at `position`, apart: Q to `q`, K and V to their slot.
///
/// # Safety
/// As for [`Simd`]; the pointers of `h` are good for their shapes, with `row`, `position` and
/// `slot` inside, and no other thread touches this row of `q` or this slot.
#[inline(always)]
pub(super) unsafe fn rotate<S: Simd>(h: &Heads, row: usize, position: usize, slot: Slot) {
    let d = h.head_dim;
    let group = h.heads / h.kv_heads;
    // SAFETY: heads and rows are inside the shapes of `h`.
    unsafe {
        let x = h.qkv.add(row * h.qkv_stride);
        let turn = h.rotary.add(position * d);
        for head in 0..h.heads {
            let place = ((head / group * h.q_rows + row) * group + head % group) * d;
            turned::<S>(x.add(head * d), h.q_norm, turn, d, h.eps, h.q.add(place));
        }
        for head in 0..h.kv_heads {
            let place = (slot.block * h.kv_heads + head) * h.block_size + slot.offset;
            let key = h.kv.add(place * 2 * d);
            let k = x.add((h.heads + head) * d);
            turned::<S>(k, h.k_norm, turn, d, h.eps, key);
            let v = x.add((h.heads + h.kv_heads + head) * d);
            for i in (0..d).step_by(LANES) {
                S::store_bf16(key.add(d + i), S::load(v.add(i)));
            }
        }
    }
}

/// One head, normalised and turned (half-split rotation), as bf16.
#[inline(always)]
unsafe fn turned<S: Simd>(
    x: *const f32,
    weight: *const f32,
    turn: *const f32,
    d: usize,
    eps: f32,
    out: *mut u16,
) {
    let half = d / 2;
    // SAFETY: `i + half` stays below `d`.
    unsafe {
        let scale = S::splat(inverse_rms::<S>(x, d, eps));
        let minus = S::splat(-1.0);
        for i in (0..half).step_by(LANES) {
            let j = i + half;
            let low = S::mul(S::mul(S::load(x.add(i)), scale), S::load(weight.add(i)));
            let high = S::mul(S::mul(S::load(x.add(j)), scale), S::load(weight.add(j)));
            let (cos, sin) = (S::load(turn.add(i)), S::load(turn.add(j)));
            let away = S::mul(S::mul(high, sin), minus);
            S::store_bf16(out.add(i), S::mul_add(low, cos, away));
            S::store_bf16(out.add(j), S::mul_add(high, cos, S::mul(low, sin)));
        }
    }
}
