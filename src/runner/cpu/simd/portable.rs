//! Plain arrays, for machines that none of the others knows, and as a reference for them.

use super::{LANES, Simd, transpose_plain};
use std::array::from_fn;

#[derive(Clone, Copy)]
pub(in super::super) struct Portable;

fn widen(x: u16) -> f32 {
    f32::from_bits(u32::from(x) << 16)
}

fn even(pair: u32) -> f32 {
    f32::from_bits(pair << 16)
}

fn odd(pair: u32) -> f32 {
    f32::from_bits(pair & 0xffff_0000)
}

/// Halves the lanes until one is left.
fn fold(v: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut v = v;
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            v[i] = f(v[i], v[i + width]);
        }
        width /= 2;
    }
    v[0]
}

// SAFETY (all methods): the caller vouches for pointers.
impl Simd for Portable {
    type F = [f32; LANES];
    type P = [u32; LANES];

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::F {
        [x; LANES]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::F {
        unsafe { from.cast::<Self::F>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, v: Self::F) {
        unsafe { to.cast::<Self::F>().write_unaligned(v) }
    }

    #[inline(always)]
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F {
        from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F {
        from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F {
        from_fn(|i| a[i] / b[i])
    }

    #[inline(always)]
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F {
        from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F {
        from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }

    /// Not fused: a fused one is a library call where the machine lacks it.
    #[inline(always)]
    unsafe fn mul_add(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        from_fn(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    unsafe fn round(v: Self::F) -> Self::F {
        v.map(f32::round_ties_even)
    }

    #[inline(always)]
    unsafe fn pow2(n: Self::F) -> Self::F {
        n.map(|n| f32::from_bits(((n as i32 + 127) as u32) << 23))
    }

    #[inline(always)]
    unsafe fn keep(v: Self::F, lanes: isize, other: Self::F) -> Self::F {
        from_fn(|i| if (i as isize) < lanes { v[i] } else { other[i] })
    }

    #[inline(always)]
    unsafe fn sum(v: Self::F) -> f32 {
        fold(v, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn largest(v: Self::F) -> f32 {
        fold(v, f32::max)
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self::F {
        unsafe { from.cast::<[u16; LANES]>().read_unaligned() }.map(widen)
    }

    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, v: Self::F) {
        let rounded = v.map(|x| half::bf16::from_f32(x).to_bits());
        unsafe { to.cast::<[u16; LANES]>().write_unaligned(rounded) }
    }

    #[inline(always)]
    unsafe fn load_pairs(from: *const u32) -> Self::P {
        unsafe { from.cast::<Self::P>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_pairs(to: *mut u32, v: Self::P) {
        unsafe { to.cast::<Self::P>().write_unaligned(v) }
    }

    #[inline(always)]
    unsafe fn splat_pair(from: *const u32) -> Self::P {
        [unsafe { from.read_unaligned() }; LANES]
    }

    #[inline(always)]
    unsafe fn zip(row0: *const u16, row1: *const u16) -> Self::P {
        let (row0, row1) = unsafe {
            (
                row0.cast::<[u16; LANES]>().read_unaligned(),
                row1.cast::<[u16; LANES]>().read_unaligned(),
            )
        };
        from_fn(|i| u32::from(row0[i]) | u32::from(row1[i]) << 16)
    }

    #[inline(always)]
    unsafe fn dot2(acc: Self::F, w: Self::P, x: Self::P) -> Self::F {
        from_fn(|i| acc[i] + even(w[i]) * even(x[i]) + odd(w[i]) * odd(x[i]))
    }

    #[inline(always)]
    unsafe fn transpose(from: *const u32, from_stride: usize, to: *mut u32, to_stride: usize) {
        unsafe { transpose_plain(from, from_stride, to, to_stride) }
    }

    /// Nothing to ask.
    #[inline(always)]
    unsafe fn prefetch(_at: *const u8) {}
}
