//! NEON: sixteen lanes are four registers, and a bf16 becomes an f32 by a shift.

use super::{Simd, transpose_plain};
use std::arch::aarch64::*;

#[derive(Clone, Copy)]
pub(in super::super) struct Neon;

/// Applies a two-operand intrinsic to all quarters.
macro_rules! each {
    ($op:ident, $a:expr, $b:expr) => {
        unsafe { [$op($a[0], $b[0]), $op($a[1], $b[1]), $op($a[2], $b[2]), $op($a[3], $b[3])] }
    };
}

/// The even elements of four pairs as f32.
#[inline(always)]
unsafe fn even(pairs: uint32x4_t) -> float32x4_t {
    unsafe { vreinterpretq_f32_u32(vshlq_n_u32::<16>(pairs)) }
}

/// The odd elements of four pairs as f32.
#[inline(always)]
unsafe fn odd(pairs: uint32x4_t) -> float32x4_t {
    unsafe { vreinterpretq_f32_u32(vandq_u32(pairs, vdupq_n_u32(0xffff_0000))) }
}

/// Four f32 as bf16, rounded to nearest even; a NaN stays one.
#[inline(always)]
unsafe fn round_bf16(v: float32x4_t) -> uint16x4_t {
    unsafe {
        let bits = vreinterpretq_u32_f32(v);
        let last = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
        let rounded = vaddq_u32(bits, vaddq_u32(last, vdupq_n_u32(0x7fff)));
        let quiet = vorrq_u32(bits, vdupq_n_u32(0x40_0000));
        let chosen = vbslq_u32(vceqq_f32(v, v), rounded, quiet);
        vshrn_n_u32::<16>(chosen)
    }
}

// SAFETY (all methods): NEON is part of every aarch64; the caller vouches for pointers.
impl Simd for Neon {
    type F = [float32x4_t; 4];
    type P = [uint32x4_t; 4];

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::F {
        unsafe { [vdupq_n_f32(x); 4] }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::F {
        unsafe {
            [
                vld1q_f32(from),
                vld1q_f32(from.add(4)),
                vld1q_f32(from.add(8)),
                vld1q_f32(from.add(12)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, v: Self::F) {
        for (i, v) in v.into_iter().enumerate() {
            unsafe { vst1q_f32(to.add(4 * i), v) }
        }
    }

    #[inline(always)]
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F {
        each!(vaddq_f32, a, b)
    }

    #[inline(always)]
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F {
        each!(vsubq_f32, a, b)
    }

    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        each!(vmulq_f32, a, b)
    }

    #[inline(always)]
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F {
        each!(vdivq_f32, a, b)
    }

    #[inline(always)]
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F {
        each!(vmaxq_f32, a, b)
    }

    #[inline(always)]
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F {
        each!(vminq_f32, a, b)
    }

    #[inline(always)]
    unsafe fn mul_add(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        unsafe {
            [
                vfmaq_f32(c[0], a[0], b[0]),
                vfmaq_f32(c[1], a[1], b[1]),
                vfmaq_f32(c[2], a[2], b[2]),
                vfmaq_f32(c[3], a[3], b[3]),
            ]
        }
    }

    #[inline(always)]
    unsafe fn round(v: Self::F) -> Self::F {
        v.map(|v| unsafe { vrndnq_f32(v) })
    }

    #[inline(always)]
    unsafe fn pow2(n: Self::F) -> Self::F {
        n.map(|n| unsafe {
            let biased = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased))
        })
    }

    #[inline(always)]
    unsafe fn keep(v: Self::F, lanes: isize, other: Self::F) -> Self::F {
        const LANE: [i32; 4] = [0, 1, 2, 3];
        let mut kept = other;
        for (i, kept) in kept.iter_mut().enumerate() {
            unsafe {
                let limit = vdupq_n_s32(lanes.clamp(0, 16) as i32 - 4 * i as i32);
                *kept = vbslq_f32(vcltq_s32(vld1q_s32(LANE.as_ptr()), limit), v[i], other[i]);
            }
        }
        kept
    }

    #[inline(always)]
    unsafe fn sum(v: Self::F) -> f32 {
        unsafe { vaddvq_f32(vaddq_f32(vaddq_f32(v[0], v[1]), vaddq_f32(v[2], v[3]))) }
    }

    #[inline(always)]
    unsafe fn largest(v: Self::F) -> f32 {
        unsafe { vmaxvq_f32(vmaxq_f32(vmaxq_f32(v[0], v[1]), vmaxq_f32(v[2], v[3]))) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self::F {
        let quarter = |i: usize| unsafe {
            vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from.add(4 * i))))
        };
        [quarter(0), quarter(1), quarter(2), quarter(3)]
    }

    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, v: Self::F) {
        for (i, v) in v.into_iter().enumerate() {
            unsafe { vst1_u16(to.add(4 * i), round_bf16(v)) }
        }
    }

    #[inline(always)]
    unsafe fn load_pairs(from: *const u32) -> Self::P {
        unsafe {
            [
                vld1q_u32(from),
                vld1q_u32(from.add(4)),
                vld1q_u32(from.add(8)),
                vld1q_u32(from.add(12)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store_pairs(to: *mut u32, v: Self::P) {
        for (i, v) in v.into_iter().enumerate() {
            unsafe { vst1q_u32(to.add(4 * i), v) }
        }
    }

    #[inline(always)]
    unsafe fn splat_pair(from: *const u32) -> Self::P {
        unsafe { [vdupq_n_u32(from.read_unaligned()); 4] }
    }

    #[inline(always)]
    unsafe fn zip(row0: *const u16, row1: *const u16) -> Self::P {
        let quarter = |i: usize| unsafe {
            let low = vmovl_u16(vld1_u16(row0.add(4 * i)));
            vorrq_u32(low, vshll_n_u16::<16>(vld1_u16(row1.add(4 * i))))
        };
        [quarter(0), quarter(1), quarter(2), quarter(3)]
    }

    #[inline(always)]
    unsafe fn dot2(acc: Self::F, w: Self::P, x: Self::P) -> Self::F {
        let mut acc = acc;
        for i in 0..4 {
            unsafe {
                acc[i] = vfmaq_f32(acc[i], even(w[i]), even(x[i]));
                acc[i] = vfmaq_f32(acc[i], odd(w[i]), odd(x[i]));
            }
        }
        acc
    }

    #[inline(always)]
    unsafe fn transpose(from: *const u32, from_stride: usize, to: *mut u32, to_stride: usize) {
        unsafe { transpose_plain(from, from_stride, to, to_stride) }
    }

    /// Stable Rust has no prefetch here; the hardware's own has to do.
    #[inline(always)]
    unsafe fn prefetch(_at: *const u8) {}
}
