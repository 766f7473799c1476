//! Work on single rows.

use super::super::simd::{LANES, Simd};

/// `out = bf16(x / rms(x) * weight)` over `n` elements, `n` a multiple of 32.
///
/// # Safety
/// As for [`Simd`]; `x`, `weight` and `out` hold `n` elements.
#[inline(always)]
pub(super) unsafe fn rms_norm<S: Simd>(
    x: *const f32,
    weight: *const f32,
    n: usize,
    eps: f32,
    out: *mut u16,
) {
    // SAFETY: indices below `n`.
    unsafe {
        let scale = S::splat(inverse_rms::<S>(x, n, eps));
        for i in (0..n).step_by(LANES) {
            let scaled = S::mul(S::load(x.add(i)), scale);
            S::store_bf16(out.add(i), S::mul(scaled, S::load(weight.add(i))));
        }
    }
}

/// `1 / sqrt(mean(x^2) + eps)` over `n` elements, `n` a multiple of 32.
///
/// # Safety
/// As for [`Simd`]; `x` holds `n` elements.
#[inline(always)]
pub(super) unsafe fn inverse_rms<S: Simd>(x: *const f32, n: usize, eps: f32) -> f32 {
    // SAFETY: indices below `n`.
    unsafe {
        let mut sums = [S::splat(0.0); 2];
        for i in (0..n).step_by(2 * LANES) {
            for (j, sum) in sums.iter_mut().enumerate() {
                let v = S::load(x.add(i + j * LANES));
                *sum = S::mul_add(v, v, *sum);
            }
        }
        1.0 / (S::sum(S::add(sums[0], sums[1])) / n as f32 + eps).sqrt()
    }
}

/// `to = f32(from)` over `n` bf16, `n` a multiple of 16.
///
/// # Safety
/// As for [`Simd`]; `from` and `to` hold `n` elements.
#[inline(always)]
pub(super) unsafe fn widen<S: Simd>(from: *const u16, n: usize, to: *mut f32) {
    for i in (0..n).step_by(LANES) {
        // SAFETY: indices below `n`.
        unsafe { S::store(to.add(i), S::load_bf16(from.add(i))) }
    }
}
