//! AVX2 with FMA: sixteen lanes are two registers, and a bf16 becomes an f32 by a shift.

use super::{Simd, transpose_plain};
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
pub(in super::super) struct Avx2;

/// Applies a two-operand intrinsic to both halves.
macro_rules! both {
    ($op:ident, $a:expr, $b:expr) => {
        unsafe { [$op($a[0], $b[0]), $op($a[1], $b[1])] }
    };
}

/// The even elements of eight pairs as f32.
#[inline(always)]
unsafe fn even(pairs: __m256i) -> __m256 {
    unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs)) }
}

/// The odd elements of eight pairs as f32.
#[inline(always)]
unsafe fn odd(pairs: __m256i) -> __m256 {
    unsafe {
        let mask = _mm256_set1_epi32(0xffff_0000_u32 as i32);
        _mm256_castsi256_ps(_mm256_and_si256(pairs, mask))
    }
}

/// Eight f32 as bf16 in the low halves of eight 32-bit lanes, rounded to nearest even.
#[inline(always)]
unsafe fn round_bf16(v: __m256) -> __m256i {
    unsafe {
        let bits = _mm256_castps_si256(v);
        let last = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let bias = _mm256_add_epi32(last, _mm256_set1_epi32(0x7fff));
        let rounded = _mm256_srli_epi32::<16>(_mm256_add_epi32(bits, bias));
        // A NaN must not round to infinity: keep its top bits and make it quiet.
        let quiet = _mm256_or_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(0x40));
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
        _mm256_blendv_epi8(rounded, quiet, nan)
    }
}

/// The first four and the last four lanes.
#[inline(always)]
unsafe fn halves(v: __m256) -> (__m128, __m128) {
    unsafe { (_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v)) }
}

// SAFETY (all methods): the caller vouches for AVX2 and FMA, and for pointers.
impl Simd for Avx2 {
    type F = [__m256; 2];
    type P = [__m256i; 2];

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::F {
        unsafe { [_mm256_set1_ps(x); 2] }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::F {
        unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, v: Self::F) {
        unsafe {
            _mm256_storeu_ps(to, v[0]);
            _mm256_storeu_ps(to.add(8), v[1]);
        }
    }

    #[inline(always)]
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_add_ps, a, b)
    }

    #[inline(always)]
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_sub_ps, a, b)
    }

    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_mul_ps, a, b)
    }

    #[inline(always)]
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_div_ps, a, b)
    }

    #[inline(always)]
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_max_ps, a, b)
    }

    #[inline(always)]
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_min_ps, a, b)
    }

    #[inline(always)]
    unsafe fn mul_add(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }

    #[inline(always)]
    unsafe fn round(v: Self::F) -> Self::F {
        unsafe { [_mm256_round_ps::<8>(v[0]), _mm256_round_ps::<8>(v[1])] }
    }

    #[inline(always)]
    unsafe fn pow2(n: Self::F) -> Self::F {
        unsafe {
            let bias = _mm256_set1_epi32(127);
            let low = _mm256_add_epi32(_mm256_cvtps_epi32(n[0]), bias);
            let high = _mm256_add_epi32(_mm256_cvtps_epi32(n[1]), bias);
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(low)),
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(high)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn keep(v: Self::F, lanes: isize, other: Self::F) -> Self::F {
        unsafe {
            let lanes = _mm256_set1_epi32(lanes.clamp(0, 16) as i32);
            let low = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let high = _mm256_add_epi32(low, _mm256_set1_epi32(8));
            let mask = [_mm256_cmpgt_epi32(lanes, low), _mm256_cmpgt_epi32(lanes, high)];
            [
                _mm256_blendv_ps(other[0], v[0], _mm256_castsi256_ps(mask[0])),
                _mm256_blendv_ps(other[1], v[1], _mm256_castsi256_ps(mask[1])),
            ]
        }
    }

    #[inline(always)]
    unsafe fn sum(v: Self::F) -> f32 {
        unsafe {
            let (low, high) = halves(_mm256_add_ps(v[0], v[1]));
            let v = _mm_add_ps(low, high);
            let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
        }
    }

    #[inline(always)]
    unsafe fn largest(v: Self::F) -> f32 {
        unsafe {
            let (low, high) = halves(_mm256_max_ps(v[0], v[1]));
            let v = _mm_max_ps(low, high);
            let v = _mm_max_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)))
        }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self::F {
        unsafe {
            let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.add(8).cast()));
            [even(low), even(high)]
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, v: Self::F) {
        unsafe {
            let packed = _mm256_packus_epi32(round_bf16(v[0]), round_bf16(v[1]));
            _mm256_storeu_si256(to.cast(), _mm256_permute4x64_epi64::<0b11_01_10_00>(packed));
        }
    }

    #[inline(always)]
    unsafe fn load_pairs(from: *const u32) -> Self::P {
        unsafe { [_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(8).cast())] }
    }

    #[inline(always)]
    unsafe fn store_pairs(to: *mut u32, v: Self::P) {
        unsafe {
            _mm256_storeu_si256(to.cast(), v[0]);
            _mm256_storeu_si256(to.add(8).cast(), v[1]);
        }
    }

    #[inline(always)]
    unsafe fn splat_pair(from: *const u32) -> Self::P {
        unsafe { [_mm256_set1_epi32(from.read_unaligned() as i32); 2] }
    }

    #[inline(always)]
    unsafe fn zip(row0: *const u16, row1: *const u16) -> Self::P {
        unsafe {
            let mut pairs = [_mm256_setzero_si256(); 2];
            for (i, pairs) in pairs.iter_mut().enumerate() {
                let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(row0.add(8 * i).cast()));
                let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(row1.add(8 * i).cast()));
                *pairs = _mm256_or_si256(low, _mm256_slli_epi32::<16>(high));
            }
            pairs
        }
    }

    #[inline(always)]
    unsafe fn dot2(acc: Self::F, w: Self::P, x: Self::P) -> Self::F {
        unsafe {
            let mut acc = acc;
            for i in 0..2 {
                acc[i] = _mm256_fmadd_ps(even(w[i]), even(x[i]), acc[i]);
                acc[i] = _mm256_fmadd_ps(odd(w[i]), odd(x[i]), acc[i]);
            }
            acc
        }
    }

    #[inline(always)]
    unsafe fn transpose(from: *const u32, from_stride: usize, to: *mut u32, to_stride: usize) {
        unsafe { transpose_plain(from, from_stride, to, to_stride) }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
