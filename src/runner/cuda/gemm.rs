//! Products with packed weights: which of the kernels runs, and how. All of them give the same
//! bits, so the choice is one of speed alone (see `kernels/README.md`, *Launching*).

mod choice;

use super::driver::{Failure, Function, Launch, Span, Stream, launch};
use super::error::CudaError;
use super::gpu::Gpu;
use super::images::Images;
use choice::{StreamShape, TILED};
use half::bf16;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CStr;

/// Rows to multiply.
#[derive(Clone, Copy, Debug)]
pub(super) enum Input {
    /// `[m][k]`.
    Rows(Span<bf16>),
    /// `[m][k]`, normed on the way: only where [`Products::norms`] says so.
    Norm { x: Span<f32>, weight: Span<f32>, eps: f32 },
}

/// What becomes of the `[m][n]` products.
#[derive(Clone, Copy, Debug)]
pub(super) enum Output {
    /// `[m][n]`.
    Store(Span<f32>),
    /// Added to `[m][n]`.
    Add(Span<f32>),
    /// `[m][n / 2]`: of interleaved gates and ups.
    SwiGlu(Span<bf16>),
}

/// The kernels with one kind of output.
#[derive(Debug)]
struct Family {
    streams: [Function; 3],
    /// With the norm, up to the rows of the first stream.
    norm: Option<Function>,
    tiled: [Function; 5],
}

/// All of them.
#[derive(Debug)]
pub(super) struct Products {
    store: Family,
    add: Family,
    swiglu: Family,
    processors: usize,
    block_shared: usize,
    /// By kernel, threads of a block and its shared memory.
    resident: RefCell<HashMap<(&'static str, u32, usize), usize>>,
    /// The tiled kernel that runs, by its place in [`TILED`]; `None`: the one with the least work.
    pub tile: Option<usize>,
    /// Whether rows are normed on the way; `None`: where it pays.
    pub fused: Option<bool>,
}

type Names = ([&'static CStr; 3], Option<&'static CStr>, [&'static CStr; 5]);

const STORE: Names = (
    [c"gb_stream_store_8", c"gb_stream_store_16", c"gb_stream_store_32"],
    Some(c"gb_stream_norm_store_8"),
    [
        c"gb_tile_store_128x128",
        c"gb_tile_store_128x64",
        c"gb_tile_store_64x64",
        c"gb_tile_store_32x64",
        c"gb_tile_store_32x32",
    ],
);
const ADD: Names = (
    [c"gb_stream_add_8", c"gb_stream_add_16", c"gb_stream_add_32"],
    None,
    [
        c"gb_tile_add_128x128",
        c"gb_tile_add_128x64",
        c"gb_tile_add_64x64",
        c"gb_tile_add_32x64",
        c"gb_tile_add_32x32",
    ],
);
const SWIGLU: Names = (
    [c"gb_stream_swiglu_8", c"gb_stream_swiglu_16", c"gb_stream_swiglu_32"],
    Some(c"gb_stream_norm_swiglu_8"),
    [
        c"gb_tile_swiglu_128x128",
        c"gb_tile_swiglu_128x64",
        c"gb_tile_swiglu_64x64",
        c"gb_tile_swiglu_32x64",
        c"gb_tile_swiglu_32x32",
    ],
);

impl Family {
    fn find(
        images: &Images,
        block_shared: usize,
        (streams, norm, tiled): Names,
    ) -> Result<Self, CudaError> {
        let stream = |i: usize| images.kernel(streams[i], block_shared);
        let tile = |i: usize| images.kernel(tiled[i], TILED[i].shared);
        Ok(Self {
            streams: [stream(0)?, stream(1)?, stream(2)?],
            norm: norm.map(|name| images.kernel(name, block_shared)).transpose()?,
            tiled: [tile(0)?, tile(1)?, tile(2)?, tile(3)?, tile(4)?],
        })
    }
}

impl Products {
    /// How many tiled kernels there are.
    pub const TILES: usize = TILED.len();

    /// Finds the kernels for a GPU.
    pub fn find(images: &Images, gpu: &Gpu) -> Result<Self, CudaError> {
        let find = |names| Family::find(images, gpu.block_shared(), names);
        Ok(Self {
            store: find(STORE)?,
            add: find(ADD)?,
            swiglu: find(SWIGLU)?,
            processors: gpu.processors(),
            block_shared: gpu.block_shared(),
            resident: RefCell::default(),
            tile: None,
            fused: None,
        })
    }

    fn family(&self, output: &Output) -> &Family {
        match output {
            Output::Store(_) => &self.store,
            Output::Add(_) => &self.add,
            Output::SwiGlu(_) => &self.swiglu,
        }
    }

    /// Whether a product of `m` rows with `n` outputs norms its rows of `k` elements on the way.
    pub fn norms(&self, (m, n, k): (usize, usize, usize), output: &Output) -> bool {
        let shape = StreamShape::of(0, true, (n, k), self.processors);
        let is_there = self.family(output).norm.is_some() && shape.fits(self.block_shared);
        is_there && m <= shape.rows && self.fused.unwrap_or_else(|| choice::norm_pays(m, k))
    }

    /// Asks `stream` for the product of `input` with a packed `matrix`: `m` rows, `n` outputs, `k`
    /// elements along the sum.
    pub fn run(
        &self,
        stream: &Stream,
        input: Input,
        matrix: Span<bf16>,
        (m, n, k): (usize, usize, usize),
        output: Output,
    ) -> Result<(), Failure> {
        let family = self.family(&output);
        let (out, ld) = match output {
            Output::Store(span) | Output::Add(span) => (span.at, n),
            Output::SwiGlu(span) => (span.at, n / 2),
        };
        let x = match input {
            Input::Rows(x) => x,
            Input::Norm { x, weight, eps } => {
                let kernel = family.norm.as_ref().expect("`norms` was asked");
                let shape = StreamShape::of(0, true, (n, k), self.processors);
                let launch = self.stream_launch(kernel, &shape, n)?;
                // SAFETY: shapes as the workspace and the weights were planned for.
                return unsafe {
                    launch!(kernel, stream, launch, out, matrix, x, weight, eps, m, n, k, ld)
                };
            }
        };
        let (kernel, launch) = match choice::stream_for(m) {
            Some(i) => {
                let kernel = &family.streams[i];
                let shape = StreamShape::of(i, false, (n, k), self.processors);
                (kernel, self.stream_launch(kernel, &shape, n)?)
            }
            None => {
                let best = || choice::tiled_for(m, n, self.processors);
                let i = self.tile.unwrap_or_else(best);
                let blocks = TILED[i].blocks(m, n) as u32;
                let (block, shared) = (TILED[i].threads, TILED[i].shared as u32);
                (&family.tiled[i], Launch { grid: [blocks, 1, 1], block, shared })
            }
        };
        // SAFETY: as above.
        unsafe { launch!(kernel, stream, launch, out, matrix, x, m, n, k, ld) }
    }

    /// Every block that is resident at once has an equal share of the tiles of outputs.
    fn stream_launch(
        &self,
        kernel: &Function,
        shape: &StreamShape,
        n: usize,
    ) -> Result<Launch, Failure> {
        let block = 32 * shape.warps as u32;
        let reckoned = shape.reckoned().min(self.block_shared);
        let resident = self.resident(kernel, block, reckoned)?;
        let (blocks, share) = shape.share(n, self.processors * resident);
        Ok(Launch { grid: [blocks as u32, 1, 1], block, shared: shape.shared(share) as u32 })
    }

    /// Blocks of a kernel that a multiprocessor holds, asked for once.
    fn resident(&self, kernel: &Function, block: u32, shared: usize) -> Result<usize, Failure> {
        let key = (kernel.name(), block, shared);
        if let Some(&resident) = self.resident.borrow().get(&key) {
            return Ok(resident);
        }
        let resident = kernel.resident(block, shared)?.max(1);
        self.resident.borrow_mut().insert(key, resident);
        Ok(resident)
    }
}
