//! Products with packed weights: which of the kernels runs, and how. All of them give the same
//! bits, so the choice is one of speed alone (see `kernels/README.md`, *Launching*).

use super::driver::{Failure, Function, Launch, Span, Stream, launch};
use super::error::CudaError;
use super::images::Images;
use half::bf16;
use std::ffi::CStr;

/// Most rows of each streaming kernel, and the warps of its blocks.
const STREAMS: [(usize, usize); 3] = [(8, 16), (16, 12), (32, 8)];
/// The fewest warps of a streaming block: so many add partial sums up.
const FEWEST_WARPS: usize = 4;
/// Outputs of a tile of packed weights, and elements along K of a segment.
const TILE: usize = 16;
const SEGMENT: usize = 256;
/// Floats of a row of partial sums.
const PARTIAL: usize = 20;
/// Shared memory of a multiprocessor, and of a block at most.
const PROCESSOR_SHARED: usize = 228 << 10;
const BLOCK_SHARED: usize = 227 << 10;
/// What the driver keeps of each block's.
const RESERVED_SHARED: usize = 1 << 10;

/// A tiled kernel: outputs and rows of a block, elements along K of a stage, stages, threads.
#[derive(Clone, Copy, Debug)]
struct Tiled {
    outputs: usize,
    rows: usize,
    depth: usize,
    stages: usize,
    threads: u32,
}

/// Largest first.
const TILED: [Tiled; 5] = [
    Tiled { outputs: 128, rows: 128, depth: 64, stages: 4, threads: 256 },
    Tiled { outputs: 128, rows: 64, depth: 64, stages: 4, threads: 256 },
    Tiled { outputs: 64, rows: 64, depth: 64, stages: 6, threads: 128 },
    Tiled { outputs: 32, rows: 64, depth: 128, stages: 4, threads: 128 },
    Tiled { outputs: 32, rows: 32, depth: 128, stages: 6, threads: 128 },
];

impl Tiled {
    fn blocks(&self, m: usize, n: usize) -> usize {
        n.div_ceil(self.outputs) * m.div_ceil(self.rows)
    }

    fn shared(&self) -> usize {
        self.stages * (self.outputs + self.rows) * self.depth * size_of::<bf16>()
    }
}

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
    fn find(images: &Images, (streams, norm, tiled): Names) -> Result<Self, CudaError> {
        let stream = |i: usize| images.kernel(streams[i], BLOCK_SHARED);
        let tile = |i: usize| images.kernel(tiled[i], TILED[i].shared());
        Ok(Self {
            streams: [stream(0)?, stream(1)?, stream(2)?],
            norm: norm.map(|name| images.kernel(name, BLOCK_SHARED)).transpose()?,
            tiled: [tile(0)?, tile(1)?, tile(2)?, tile(3)?, tile(4)?],
        })
    }
}

impl Products {
    /// Finds the kernels, for a GPU with so many multiprocessors.
    pub fn find(images: &Images, processors: usize) -> Result<Self, CudaError> {
        Ok(Self {
            store: Family::find(images, STORE)?,
            add: Family::find(images, ADD)?,
            swiglu: Family::find(images, SWIGLU)?,
            processors,
        })
    }

    fn family(&self, output: &Output) -> &Family {
        match output {
            Output::Store(_) => &self.store,
            Output::Add(_) => &self.add,
            Output::SwiGlu(_) => &self.swiglu,
        }
    }

    /// Whether a product of `m` rows of `k` elements norms them on the way.
    pub fn norms(&self, m: usize, k: usize, output: &Output) -> bool {
        let (rows, warps) = STREAMS[0];
        let slots = k.div_ceil(SEGMENT);
        self.family(output).norm.is_some()
            && m <= rows
            && stream_shared(rows, slots, warps.min(slots).max(FEWEST_WARPS), 0) <= BLOCK_SHARED
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
        if let Input::Norm { x, weight, eps } = input {
            let launch = self.stream_launch(0, true, n, k);
            let kernel = family.norm.as_ref().expect("`norms` was asked");
            // SAFETY: shapes as the workspace and the weights were planned for.
            return unsafe {
                launch!(kernel, stream, launch, out, matrix, x, weight, eps, m, n, k, ld)
            };
        }
        let Input::Rows(x) = input else { unreachable!("the other form has returned") };
        let (kernel, launch) = match STREAMS.iter().position(|&(rows, _)| m <= rows) {
            Some(i) => (&family.streams[i], self.stream_launch(i, false, n, k)),
            None => {
                let i = self.tiled(m, n);
                let (tiled, blocks) = (TILED[i], TILED[i].blocks(m, n) as u32);
                let (block, shared) = (tiled.threads, tiled.shared() as u32);
                (&family.tiled[i], Launch { grid: [blocks, 1, 1], block, shared })
            }
        };
        // SAFETY: as above.
        unsafe { launch!(kernel, stream, launch, out, matrix, x, m, n, k, ld) }
    }

    /// The largest tiles of which there are enough for every multiprocessor.
    fn tiled(&self, m: usize, n: usize) -> usize {
        let enough = |tiled: &Tiled| tiled.blocks(m, n) >= self.processors;
        TILED.iter().position(enough).unwrap_or(TILED.len() - 1)
    }

    /// How streaming kernel `i` runs: as many warps as there are segments to share out, as many
    /// blocks as there is work or room for.
    fn stream_launch(&self, i: usize, norms: bool, n: usize, k: usize) -> Launch {
        let (rows, most) = STREAMS[i];
        let segments = k.div_ceil(SEGMENT);
        let warps = segments.clamp(FEWEST_WARPS, most);
        let slots = if norms { segments } else { warps };
        let tiles = n.div_ceil(TILE);
        let rounds = segments.div_ceil(warps);
        let smallest = stream_shared(rows, slots, warps, 0);
        let at_once = (PROCESSOR_SHARED / (smallest + RESERVED_SHARED)).min(2048 / (32 * warps));
        let blocks = tiles.min(self.processors * at_once.max(1));
        let totals = if rounds > 1 { tiles.div_ceil(blocks) } else { 0 };
        Launch {
            grid: [blocks as u32, 1, 1],
            block: 32 * warps as u32,
            shared: stream_shared(rows, slots, warps, totals) as u32,
        }
    }
}

/// Dynamic shared memory of a streaming block: rows, partial sums, totals of so many tiles.
fn stream_shared(rows: usize, slots: usize, warps: usize, totals: usize) -> usize {
    slots * rows * SEGMENT * 2 + 2 * warps * rows * PARTIAL * 4 + totals * rows * TILE * 4
}
