//! Which kernel multiplies, and by what blocks: reckoned from shapes alone.

/// The streaming kernels: most rows; warps of a block where there are outputs enough for every
/// multiprocessor, and where there are not.
const STREAMS: [(usize, usize, usize); 3] = [(8, 8, 16), (16, 8, 12), (32, 4, 7)];
/// The fewest warps of a streaming block: so many add partial sums up.
const FEWEST_WARPS: usize = 4;
/// Outputs of a tile of packed weights, and elements along K of a segment.
const TILE: usize = 16;
const SEGMENT: usize = 256;
/// Elements of the residual stream that a product norms on its way, at most, unless they are one
/// row: every block reads all of them twice, which soon takes longer than a kernel that norms them
/// once (an estimate: see `benches/gpu`).
const MOST_NORMED: usize = 4096;
/// Rows of totals, of a tile of outputs each, that a block has at most: 16 KiB.
const MOST_TOTALS: usize = 256;

/// A tiled kernel: outputs and rows of a block, its threads and shared memory, and what an output
/// of a row costs beside one of the largest tiles, in percent.
#[derive(Clone, Copy, Debug)]
pub struct Tiled {
    outputs: usize,
    rows: usize,
    pub threads: u32,
    pub shared: usize,
    weight: usize,
}

/// Largest first.
pub const TILED: [Tiled; 5] = [
    Tiled { outputs: 128, rows: 128, threads: 256, shared: 131_072, weight: 100 },
    Tiled { outputs: 128, rows: 64, threads: 256, shared: 98_304, weight: 110 },
    Tiled { outputs: 64, rows: 64, threads: 128, shared: 98_304, weight: 125 },
    Tiled { outputs: 32, rows: 64, threads: 128, shared: 98_304, weight: 160 },
    Tiled { outputs: 32, rows: 32, threads: 128, shared: 98_304, weight: 200 },
];

impl Tiled {
    pub fn blocks(&self, m: usize, n: usize) -> usize {
        n.div_ceil(self.outputs) * m.div_ceil(self.rows)
    }

    /// The work of the busiest of so many multiprocessors.
    fn work(&self, m: usize, n: usize, processors: usize) -> usize {
        self.blocks(m, n).div_ceil(processors) * self.outputs * self.rows * self.weight
    }
}

/// The streaming kernel for `m` rows, if there is one.
pub fn stream_for(m: usize) -> Option<usize> {
    STREAMS.iter().position(|&(rows, ..)| m <= rows)
}

/// Whether it pays that a product of `m` rows of `k` elements norms them.
pub fn norm_pays(m: usize, k: usize) -> bool {
    m == 1 || m * k <= MOST_NORMED
}

/// The tiled kernel for `m` rows and `n` outputs: the busiest multiprocessor has the least work.
pub fn tiled_for(m: usize, n: usize, processors: usize) -> usize {
    let work = |&i: &usize| TILED[i].work(m, n, processors);
    (0..TILED.len()).min_by_key(work).expect("there are some")
}

/// A block of a streaming kernel.
#[derive(Clone, Copy, Debug)]
pub struct StreamShape {
    /// Most rows.
    pub rows: usize,
    /// How often its warps take a segment of K each.
    rounds: usize,
    pub warps: usize,
    /// Segments of rows that it holds.
    slots: usize,
}

impl StreamShape {
    /// That of streaming kernel `i`, which may norm its rows, for `n` outputs of `k` elements.
    pub fn of(i: usize, norms: bool, (n, k): (usize, usize), processors: usize) -> Self {
        let (rows, usual, few) = STREAMS[i];
        let segments = k.div_ceil(SEGMENT);
        let most = if n.div_ceil(TILE) < processors { few } else { usual };
        let rounds = segments.div_ceil(most);
        let warps = segments.div_ceil(rounds).max(FEWEST_WARPS);
        Self { rows, rounds, warps, slots: if norms { segments } else { warps } }
    }

    /// Whether a block may have so much shared memory.
    pub fn fits(&self, block_shared: usize) -> bool {
        self.reckoned() <= block_shared
    }

    /// Its dynamic shared memory, with the most that its totals take.
    pub fn reckoned(&self) -> usize {
        self.shared(if self.rounds > 1 { MOST_TOTALS / self.rows } else { 0 })
    }

    /// How many blocks there are, and the most tiles of `n` outputs that one has, when `at_once`
    /// blocks run at once: each of those has an equal share.
    pub fn share(&self, n: usize, at_once: usize) -> (usize, usize) {
        let tiles = n.div_ceil(TILE);
        let share = tiles.div_ceil(at_once);
        let most = if self.rounds > 1 { MOST_TOTALS / self.rows } else { share };
        // Where that is too much for one of them, all run equally often.
        let share = tiles.div_ceil(at_once * share.div_ceil(most));
        (tiles.div_ceil(share), share)
    }

    /// Its dynamic shared memory, with totals for `share` tiles of outputs where there are several
    /// rounds.
    pub fn shared(&self, share: usize) -> usize {
        let totals = if self.rounds > 1 { 64 * self.rows * share } else { 0 };
        512 * self.rows * self.slots + 160 * self.rows * self.warps + totals
    }
}

#[cfg(test)]
mod tests;
