//! Weights in the order that the kernels read them.

use super::CpuError;
use super::kernels::{Kernels, PANELS, STRIP};
use super::memory::{Buffer, Paging};
use super::pool::Pool;
use super::simd::LANES;
use crate::model::{WeightError, Weights};
use half::bf16;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A matrix of `outputs` by `k` bf16 in strips: `[outputs / 32][k / 2][2][16][2]`, the last strip
/// filled up with zeros.
pub(super) struct PackedMatrix {
    data: Buffer<u32>,
    outputs: usize,
    k: usize,
}

/// Which rows of which tensors become the outputs of a packed matrix.
pub(super) enum Source<'a> {
    /// One tensor after the other: (name, rows).
    Stacked(&'a [(String, usize)]),
    /// 16 rows of one, 16 rows of the other, and so on: both have so many rows.
    Interleaved([String; 2], usize),
}

impl Source<'_> {
    fn outputs(&self) -> usize {
        match self {
            Source::Stacked(tensors) => tensors.iter().map(|(_, rows)| rows).sum(),
            Source::Interleaved(_, rows) => 2 * rows,
        }
    }

    fn check(&self, weights: &dyn Weights, k: usize) -> Result<(), WeightError> {
        match self {
            Source::Stacked(tensors) => {
                tensors.iter().try_for_each(|(name, rows)| weights.check(name, &[*rows, k]))
            }
            Source::Interleaved(names, rows) => {
                names.iter().try_for_each(|name| weights.check(name, &[*rows, k]))
            }
        }
    }

    /// The tensor, first row and number of rows of panel `panel`. All tensors but the last have a
    /// multiple of 16 rows.
    fn panel(&self, panel: usize) -> (&str, usize, usize) {
        match self {
            Source::Stacked(tensors) => {
                let mut row = panel * LANES;
                for (name, rows) in tensors.iter() {
                    if row < *rows {
                        return (name, row, LANES.min(rows - row));
                    }
                    row -= rows;
                }
                ("", 0, 0)
            }
            Source::Interleaved(names, _) => (&names[panel % 2], panel / 2 * LANES, LANES),
        }
    }
}

impl PackedMatrix {
    /// The elements of `data` for such a matrix.
    pub fn len(outputs: usize, k: usize) -> usize {
        outputs.next_multiple_of(STRIP) * k / 2
    }

    /// A matrix of nothing.
    pub fn released() -> Self {
        Self { data: Buffer::empty(), outputs: 0, k: 0 }
    }

    /// Reads and packs a matrix, all threads of `pool` together; each holds 16 rows at a time.
    pub fn load(
        pool: &mut Pool,
        kernels: &Kernels,
        weights: &dyn Weights,
        source: &Source<'_>,
        k: usize,
    ) -> Result<Self, CpuError> {
        source.check(weights, k)?;
        let outputs = source.outputs();
        let data = Buffer::new(Self::len(outputs, k), Paging::Huge).map_err(CpuError::Memory)?;
        let packed = Self { data, outputs, k };
        let stages: Vec<Mutex<Vec<bf16>>> =
            (0..pool.threads()).map(|_| Mutex::new(vec![bf16::ZERO; LANES * k])).collect();
        parallel(pool, packed.strips() * PANELS, &|thread, panel| {
            let (name, row, rows) = source.panel(panel);
            let mut stage = stages[thread].lock().unwrap_or_else(|broken| broken.into_inner());
            if rows > 0 {
                weights.read_rows(name, row, &mut stage[..rows * k])?;
            }
            stage[rows * k..].fill(bf16::ZERO);
            let strip = packed.data.at(panel / PANELS * k / 2 * STRIP + panel % PANELS * LANES);
            for pair in (0..k / 2).step_by(LANES) {
                // SAFETY: `k` is a multiple of 32, so the stage holds the square that is read;
                // the square that is written is this panel's alone.
                unsafe {
                    let from = stage.as_ptr().cast::<u32>().add(pair);
                    (kernels.transpose)(from, k / 2, strip.add(pair * STRIP), STRIP);
                }
            }
            Ok(())
        })?;
        Ok(packed)
    }

    /// Where the packed pairs start.
    pub fn start(&self) -> *const u32 {
        self.data.at(0)
    }

    pub fn strips(&self) -> usize {
        self.outputs.div_ceil(STRIP)
    }

    pub fn k(&self) -> usize {
        self.k
    }

    /// Output `output`'s weights as f32: a row of the original matrix.
    pub fn row(&self, output: usize, to: &mut [f32]) {
        let lane = output % STRIP;
        let strip = &self.data.as_slice()[output / STRIP * (self.k / 2) * STRIP..];
        for (to, pairs) in to.chunks_exact_mut(2).zip(strip.chunks_exact(STRIP)) {
            to[0] = f32::from_bits(pairs[lane] << 16);
            to[1] = f32::from_bits(pairs[lane] & 0xffff_0000);
        }
    }
}

/// Reads a tensor as it is, all threads of `pool` together.
pub(super) fn load_table(
    pool: &mut Pool,
    weights: &dyn Weights,
    name: &str,
    shape: [usize; 2],
) -> Result<Buffer<u16>, CpuError> {
    const ROWS: usize = 64;
    weights.check(name, &shape)?;
    let [rows, width] = shape;
    let table = Buffer::<u16>::new(rows * width, Paging::Huge).map_err(CpuError::Memory)?;
    parallel(pool, rows.div_ceil(ROWS), &|_, item| {
        let first = item * ROWS;
        let len = ROWS.min(rows - first) * width;
        // SAFETY: these rows are this item's alone, and bf16 is a u16 in memory.
        let to =
            unsafe { std::slice::from_raw_parts_mut(table.at(first * width).cast::<bf16>(), len) };
        weights.read_rows(name, first, to)
    })?;
    Ok(table)
}

/// Reads a vector as f32.
pub(super) fn load_vector(
    weights: &dyn Weights,
    name: &str,
    to: &mut [f32],
) -> Result<(), CpuError> {
    weights.check(name, &[to.len()])?;
    let mut row = vec![bf16::ZERO; to.len()];
    weights.read_rows(name, 0, &mut row)?;
    for (to, from) in to.iter_mut().zip(row) {
        *to = from.to_f32();
    }
    Ok(())
}

/// Runs `job` for every item below `items`; after the first error the rest is skipped.
fn parallel(
    pool: &mut Pool,
    items: usize,
    job: &(dyn Fn(usize, usize) -> Result<(), WeightError> + Sync),
) -> Result<(), CpuError> {
    let failed = AtomicBool::new(false);
    let error = Mutex::new(None);
    pool.run(items, &|thread, item| {
        if failed.load(Relaxed) {
            return;
        }
        if let Err(e) = job(thread, item) {
            failed.store(true, Relaxed);
            error.lock().unwrap_or_else(|broken| broken.into_inner()).get_or_insert(e);
        }
    });
    match error.into_inner().unwrap_or_else(|broken| broken.into_inner()) {
        Some(e) => Err(e.into()),
        None => Ok(()),
    }
}
