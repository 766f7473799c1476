//! `gb_rms_norm` against the same sums in the same order, and against f64.

use half::bf16;

use crate::args;
use crate::device::{Device, NULL, Shape, every_schedule, on_gpu};
use crate::mutants::{Mutant, must_fail};
use crate::values::{assert_same, floats, random, relative_error};

const EPS: f32 = 1e-6;

struct Case {
    x: Vec<f32>,
    weight: Vec<f32>,
    n: usize,
}

impl Case {
    fn new(rows: usize, n: usize) -> Self {
        let mut random = random((rows * 10_000 + n) as u64);
        let mut x = floats(&mut random, rows * n);
        // Rows of different sizes, one of which is nothing but eps.
        for (row, values) in x.chunks_exact_mut(n).enumerate() {
            let size = if row == 2 { 0.0 } else { 4.0_f32.powi(row as i32 % 5 - 2) };
            values.iter_mut().for_each(|value| *value *= size);
        }
        Self { x, weight: floats(&mut random, n), n }
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.x[row * self.n..][..self.n]
    }

    /// In the fixed order of kernels/README.md.
    fn norm(&self, row: usize) -> Vec<bf16> {
        let x = self.row(row);
        let mut lanes = [0.0_f32; 32];
        for (lane, sum) in lanes.iter_mut().enumerate() {
            for i in (4 * lane..self.n).step_by(128) {
                for value in &x[i..i + 4] {
                    *sum = value.mul_add(*value, *sum);
                }
            }
        }
        for distance in [16, 8, 4, 2, 1] {
            lanes = std::array::from_fn(|lane| lanes[lane] + lanes[lane ^ distance]);
        }
        let scale = 1.0 / (lanes[0] / self.n as f32 + EPS).sqrt();
        let products = x.iter().zip(&self.weight).map(|(x, w)| bf16::from_f32(x * scale * w));
        products.collect()
    }

    fn exactly(&self, row: usize) -> impl Iterator<Item = f64> {
        let x = self.row(row);
        let squares: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let scale = 1.0 / (squares / self.n as f64 + f64::from(EPS)).sqrt();
        x.iter().zip(&self.weight).map(move |(&x, &w)| f64::from(x) * scale * f64::from(w))
    }

    fn on(&self, device: &Device, rows: Option<&[i32]>, warps: u32) -> Vec<Vec<bf16>> {
        let count = rows.map_or(self.x.len() / self.n, <[i32]>::len);
        let (x, weight) = (device.upload(&self.x), device.upload(&self.weight));
        let out = device.empty::<bf16>(count * self.n);
        let indices = device.upload(rows.unwrap_or(&[0]));
        let indices_address = if rows.is_some() { indices.address } else { NULL };
        let (n, blocks) = (self.n as i32, count.div_ceil(warps as usize));
        let arguments = args![&out, &x, &weight, indices_address, count as i32, n, EPS];
        device.launch("gb_rms_norm", Shape::line(blocks, 32 * warps), arguments);
        device.download(&out).chunks_exact(self.n).map(<[bf16]>::to_vec).collect()
    }
}

/// A GPU's own rsqrt may differ in its last bits.
fn assert_norm(got: &[bf16], case: &Case, row: usize) {
    if on_gpu() {
        let values = got.iter().map(|value| value.to_f64());
        assert!(relative_error(values, case.exactly(row)) < 4e-3, "row {row} of {}", case.n);
    } else {
        assert_same(got, &case.norm(row), "a norm");
    }
}

#[test]
fn norms_have_the_fixed_order() {
    every_schedule(|device| {
        for (rows, n) in [(1, 1024), (3, 128), (8, 4), (9, 260), (17, 2560), (2, 5120)] {
            let case = Case::new(rows, n);
            for (row, got) in case.on(device, None, 8).iter().enumerate() {
                assert_norm(got, &case, row);
            }
        }
    });
}

#[test]
fn norms_are_close_to_exact_ones() {
    let device = Device::open();
    let case = Case::new(12, 1024);
    for (row, got) in case.on(&device, None, 4).iter().enumerate() {
        let values = got.iter().map(|value| value.to_f64());
        assert!(relative_error(values, case.exactly(row)) < 4e-3, "row {row}");
    }
}

#[test]
fn a_row_has_the_same_bits_in_any_company() {
    let device = Device::open();
    let case = Case::new(11, 1024);
    let together = case.on(&device, None, 8);
    let rows = [7, -1, 0, 10, 7, -1, 3, 2, 2];
    for warps in [1, 2, 8] {
        let gathered = case.on(&device, Some(&rows), warps);
        for (row, got) in rows.iter().zip(&gathered) {
            match usize::try_from(*row) {
                Ok(row) => assert_same(got, &together[row], "a row that was asked for"),
                Err(_) => assert_same(got, &vec![bf16::ZERO; case.n], "padding"),
            }
        }
    }
}

#[test]
fn mutants_of_the_norm_are_caught() {
    let changes = [
        ("__fmaf_rn(v[i].z, v[i].z, sum)", "__fmaf_rn(v[i].z, v[i].y, sum)"),
        ("at < n ?", "at < n - 128 ?"),
        ("+ eps", ""),
        ("x.w * scale * weight.w", "x.w * scale * weight.z"),
        ("gb_warp_sum(sum)", "__shfl_sync(0xffffffffu, sum, 0) * 32.0f"),
        ("i = 4 * gb_lane(); i < n; i += 128", "i = 4 * gb_lane(); i < n - 128; i += 128"),
    ];
    let mutants = changes.map(|(from, to)| Mutant { file: "norm.cuh", from, to });
    must_fail("norm::norms_have_the_fixed_order", &mutants);
}
