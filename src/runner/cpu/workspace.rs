//! Activations: what one pass over at most [`PASS_ROWS`] rows writes and reads.

use super::CpuError;
use super::kernels::{STRIP, scratch_len};
use super::memory::{Buffer, Paging, Plain};
use super::weights::qkv_outputs;
use crate::model::Dims;
use crate::runner::Limits;
use crate::runner::rotary::fill_rotary;

/// Rows that go through the layers together. A longer step takes several passes, which costs one
/// more reading of the weights for each and keeps the activations small; results do not change.
pub(super) const PASS_ROWS: usize = 512;

/// Rows whose logits are computed together.
pub(super) const LOGIT_ROWS: usize = 32;

/// Added to the width of rows (in bytes: a cache line), so that rows whose width is a power of two
/// do not all fall on the same sets of the caches.
const PAD: usize = 64;

/// A matrix of activations, rows `stride` elements apart.
pub(super) struct Rows<T: Plain> {
    data: Buffer<T>,
    pub stride: usize,
}

impl<T: Plain> Rows<T> {
    fn stride(width: usize) -> usize {
        width + PAD / size_of::<T>()
    }

    fn bytes(rows: usize, width: usize) -> usize {
        Buffer::<T>::bytes(rows * Self::stride(width))
    }

    fn new(rows: usize, width: usize) -> Result<Self, CpuError> {
        let stride = Self::stride(width);
        let data = Buffer::new(rows * stride, Paging::Lazy).map_err(CpuError::Memory)?;
        Ok(Self { data, stride })
    }

    /// Where row `row` starts; see [`Buffer::at`].
    pub fn at(&self, row: usize) -> *mut T {
        self.data.at(row * self.stride)
    }
}

/// The buffers.
pub(super) struct Workspace {
    /// The residual stream, `[rows][hidden]`.
    pub x: Rows<f32>,
    /// A norm's result, `[rows][hidden]` bf16.
    pub normed: Rows<u16>,
    /// `[rows][qkv_outputs]`.
    pub qkv: Rows<f32>,
    /// `[kv_heads][rows][group][head_dim]` bf16.
    pub q: Buffer<u16>,
    /// `[rows][heads * head_dim]` bf16.
    pub attended: Rows<u16>,
    /// `[rows][intermediate]` bf16.
    pub activated: Rows<u16>,
    /// `[LOGIT_ROWS][vocab, to a whole strip]`.
    pub logits: Rows<f32>,
    /// `[positions][cos(head_dim / 2) | sin(head_dim / 2)]`.
    pub rotary: Buffer<f32>,
    /// `[threads][scratch]`.
    scratch: Buffer<f32>,
    scratch_stride: usize,
    /// Rows there is room for.
    pub rows: usize,
}

/// What the sizes follow from.
struct Sizes {
    rows: usize,
    logit_rows: usize,
    positions: usize,
    scratch: usize,
}

impl Sizes {
    fn new(dims: &Dims, limits: &Limits) -> Self {
        let rows = limits.max_tokens.min(PASS_ROWS);
        let attention = scratch_len(dims.head_dim, dims.heads / dims.kv_heads);
        Self {
            rows,
            logit_rows: limits.max_tokens.min(LOGIT_ROWS),
            positions: limits.max_blocks_per_seq * limits.block_size,
            scratch: attention.max(rows * STRIP).next_multiple_of(1024),
        }
    }
}

impl Workspace {
    /// The bytes that [`Workspace::new`] maps.
    pub fn bytes(dims: &Dims, limits: &Limits, threads: usize) -> usize {
        let s = Sizes::new(dims, limits);
        let heads = dims.heads * dims.head_dim;
        Rows::<f32>::bytes(s.rows, dims.hidden)
            + Rows::<u16>::bytes(s.rows, dims.hidden)
            + Rows::<f32>::bytes(s.rows, qkv_outputs(dims))
            + Buffer::<u16>::bytes(s.rows * heads)
            + Rows::<u16>::bytes(s.rows, heads)
            + Rows::<u16>::bytes(s.rows, dims.intermediate)
            + Rows::<f32>::bytes(s.logit_rows, dims.vocab.next_multiple_of(STRIP))
            + Buffer::<f32>::bytes(s.positions * dims.head_dim)
            + Buffer::<f32>::bytes(threads * s.scratch)
    }

    pub fn new(dims: &Dims, limits: &Limits, threads: usize) -> Result<Self, CpuError> {
        let s = Sizes::new(dims, limits);
        let heads = dims.heads * dims.head_dim;
        let lazy = |len| Buffer::new(len, Paging::Lazy).map_err(CpuError::Memory);
        let mut rotary = lazy(s.positions * dims.head_dim)?;
        fill_rotary(dims, rotary.as_mut_slice());
        Ok(Self {
            x: Rows::new(s.rows, dims.hidden)?,
            normed: Rows::new(s.rows, dims.hidden)?,
            qkv: Rows::new(s.rows, qkv_outputs(dims))?,
            q: Buffer::new(s.rows * heads, Paging::Lazy).map_err(CpuError::Memory)?,
            attended: Rows::new(s.rows, heads)?,
            activated: Rows::new(s.rows, dims.intermediate)?,
            logits: Rows::new(s.logit_rows, dims.vocab.next_multiple_of(STRIP))?,
            rotary,
            scratch: lazy(threads * s.scratch)?,
            scratch_stride: s.scratch,
            rows: s.rows,
        })
    }

    /// Thread `thread`'s scratch.
    pub fn scratch(&self, thread: usize) -> *mut f32 {
        self.scratch.at(thread * self.scratch_stride)
    }
}
