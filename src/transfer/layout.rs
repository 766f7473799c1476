//! How the elements of a block lie: here, and in the CPU caches of vLLM.
//!
//! Our blocks, like those of vLLM's FLASH_ATTN, are `[kv_head][token][K(d) | V(d)]`. CPU_ATTN has
//! K before V in each head, both packed for the instruction set that its kernels use, which no
//! handshake tells.

use crate::config::CpuAttnIsa;

/// Rows of a tile of AMX.
const TILE: usize = 16;
/// Values that AMX multiplies at once.
const PAIR: usize = 2;

/// One block of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockShape {
    pub kv_heads: usize,
    pub tokens: usize,
    pub head_dim: usize,
}

impl BlockShape {
    /// Elements of a block.
    pub fn len(self) -> usize {
        self.kv_heads * self.tokens * 2 * self.head_dim
    }

    /// Whether it has no elements.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether CPU_ATTN can pack it: tiles are never cut.
    pub fn fits(self, isa: CpuAttnIsa) -> bool {
        match isa {
            CpuAttnIsa::Vec | CpuAttnIsa::Vec16 => true,
            CpuAttnIsa::Amx => {
                self.tokens.is_multiple_of(TILE) && self.head_dim.is_multiple_of(TILE)
            }
        }
    }
}

/// How vLLM would pack on this machine.
///
/// # Errors
/// On machines whose packing is not known.
pub fn detect(shape: BlockShape) -> Result<CpuAttnIsa, String> {
    if !shape.head_dim.is_multiple_of(32) && shape.head_dim.is_multiple_of(16) {
        return Ok(CpuAttnIsa::Vec16);
    }
    let whole = shape.tokens.is_multiple_of(32);
    if whole && has_amx() {
        return Ok(CpuAttnIsa::Amx);
    }
    if !cfg!(target_arch = "x86_64") {
        return Err("CPU_ATTN packs blocks in a way of its own on this machine; set cpu_attn_isa \
                    in kv_connector_extra_config to that of the peers"
            .to_owned());
    }
    Ok(if whole { CpuAttnIsa::Vec } else { CpuAttnIsa::Vec16 })
}

/// Whether the processor has tiles: what vLLM asks, too.
fn has_amx() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        const AMX_TILE: u32 = 1 << 24;
        use std::arch::x86_64::{__cpuid, __cpuid_count};
        __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & AMX_TILE != 0
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// A row of elements that are equally far from each other in both layouts.
#[derive(Clone, Copy)]
struct Run {
    len: usize,
    block: usize,
    block_step: usize,
    packed: usize,
    packed_step: usize,
}

/// Packs one of our blocks as CPU_ATTN does.
///
/// # Panics
/// When a length is not that of the shape, or the shape does not fit.
pub fn pack(isa: CpuAttnIsa, shape: BlockShape, block: &[u16], packed: &mut [u16]) {
    assert!(shape.fits(isa) && (block.len(), packed.len()) == (shape.len(), shape.len()));
    runs(isa, shape, |run| {
        let to = Steps { at: run.packed, step: run.packed_step };
        copy(packed, to, block, Steps { at: run.block, step: run.block_step }, run.len);
    });
}

/// Takes one of CPU_ATTN's blocks apart again.
///
/// # Panics
/// As [`pack`].
pub fn unpack(isa: CpuAttnIsa, shape: BlockShape, packed: &[u16], block: &mut [u16]) {
    assert!(shape.fits(isa) && (block.len(), packed.len()) == (shape.len(), shape.len()));
    runs(isa, shape, |run| {
        let to = Steps { at: run.block, step: run.block_step };
        copy(block, to, packed, Steps { at: run.packed, step: run.packed_step }, run.len);
    });
}

/// Where a run begins, and how far apart its elements are.
#[derive(Clone, Copy)]
struct Steps {
    at: usize,
    step: usize,
}

#[inline(always)]
fn copy(to: &mut [u16], into: Steps, from: &[u16], out_of: Steps, len: usize) {
    if (into.step, out_of.step) == (1, 1) {
        to[into.at..into.at + len].copy_from_slice(&from[out_of.at..out_of.at + len]);
        return;
    }
    let to = to[into.at..].iter_mut().step_by(into.step);
    let from = from[out_of.at..].iter().step_by(out_of.step);
    to.zip(from).take(len).for_each(|(to, from)| *to = *from);
}

/// Calls `each` with the runs that make up a block.
#[inline(always)]
fn runs(isa: CpuAttnIsa, shape: BlockShape, mut each: impl FnMut(Run)) {
    let BlockShape { kv_heads, tokens, head_dim } = shape;
    let (row, half) = (2 * head_dim, tokens * head_dim);
    for head in 0..kv_heads {
        let (keys, values) = (head * 2 * half, head * 2 * half + half);
        match isa {
            CpuAttnIsa::Vec | CpuAttnIsa::Vec16 => {
                // K: [d][token]. V: [token][d].
                for d in 0..head_dim {
                    let (block, packed) = (keys + d, keys + d * tokens);
                    each(Run { len: tokens, block, block_step: row, packed, packed_step: 1 });
                }
                for token in 0..tokens {
                    let (block, packed) =
                        (keys + token * row + head_dim, values + token * head_dim);
                    each(Run { len: head_dim, block, block_step: 1, packed, packed_step: 1 });
                }
            }
            CpuAttnIsa::Amx => {
                // K: [token / 16][d / 2][16 tokens][2 d].
                for (tile, d) in pairs(tokens / TILE, head_dim) {
                    let block = keys + tile * TILE * row + d;
                    let packed = keys + tile * TILE * head_dim + tiled(d);
                    each(Run { len: TILE, block, block_step: row, packed, packed_step: PAIR });
                }
                // V: [d / 16][token / 2][16 d][2 tokens].
                for (tile, token) in pairs(head_dim / TILE, tokens) {
                    let block = keys + token * row + head_dim + tile * TILE;
                    let packed = values + tile * TILE * tokens + tiled(token);
                    each(Run { len: TILE, block, block_step: 1, packed, packed_step: PAIR });
                }
            }
        }
    }
}

fn pairs(outer: usize, inner: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..outer).flat_map(move |i| (0..inner).map(move |j| (i, j)))
}

/// Where the first of 16 elements lies in rows of 16 pairs, given which row and which of the pair.
fn tiled(index: usize) -> usize {
    index / PAIR * (TILE * PAIR) + index % PAIR
}

#[cfg(test)]
mod tests;
