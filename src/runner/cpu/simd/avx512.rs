//! AVX-512 with bf16 dot products: sixteen lanes are one register.

use super::Simd;
use std::arch::x86_64::*;
use std::mem::transmute;

#[derive(Clone, Copy)]
pub(in super::super) struct Avx512Bf16;

// SAFETY (all methods): the caller vouches for AVX-512 F, BW, DQ, VL and BF16, and for pointers.
impl Simd for Avx512Bf16 {
    type F = __m512;
    type P = __m512i;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(to, v) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn div(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn round(v: __m512) -> __m512 {
        unsafe { _mm512_roundscale_ps::<0>(v) }
    }

    #[inline(always)]
    unsafe fn pow2(n: __m512) -> __m512 {
        unsafe {
            let biased = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased))
        }
    }

    #[inline(always)]
    unsafe fn keep(v: __m512, lanes: isize, other: __m512) -> __m512 {
        let mask = (1u32 << lanes.clamp(0, 16)) - 1;
        unsafe { _mm512_mask_blend_ps(mask as __mmask16, other, v) }
    }

    #[inline(always)]
    unsafe fn sum(v: __m512) -> f32 {
        unsafe {
            let v = _mm512_add_ps(v, _mm512_shuffle_f32x4::<0b01_00_11_10>(v, v));
            let v = _mm512_add_ps(v, _mm512_shuffle_f32x4::<0b10_11_00_01>(v, v));
            let v = _mm512_castps512_ps128(v);
            let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
        }
    }

    #[inline(always)]
    unsafe fn largest(v: __m512) -> f32 {
        unsafe {
            let v = _mm512_max_ps(v, _mm512_shuffle_f32x4::<0b01_00_11_10>(v, v));
            let v = _mm512_max_ps(v, _mm512_shuffle_f32x4::<0b10_11_00_01>(v, v));
            let v = _mm512_castps512_ps128(v);
            let v = _mm_max_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)))
        }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> __m512 {
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, v: __m512) {
        unsafe {
            _mm256_storeu_si256(to.cast(), transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v)))
        }
    }

    #[inline(always)]
    unsafe fn load_pairs(from: *const u32) -> __m512i {
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store_pairs(to: *mut u32, v: __m512i) {
        unsafe { _mm512_storeu_si512(to.cast(), v) }
    }

    #[inline(always)]
    unsafe fn splat_pair(from: *const u32) -> __m512i {
        unsafe { _mm512_set1_epi32(from.read_unaligned() as i32) }
    }

    #[inline(always)]
    unsafe fn zip(row0: *const u16, row1: *const u16) -> __m512i {
        unsafe {
            let even = _mm512_cvtepu16_epi32(_mm256_loadu_si256(row0.cast()));
            let odd = _mm512_cvtepu16_epi32(_mm256_loadu_si256(row1.cast()));
            _mm512_or_si512(even, _mm512_slli_epi32::<16>(odd))
        }
    }

    #[inline(always)]
    unsafe fn dot2(acc: __m512, w: __m512i, x: __m512i) -> __m512 {
        unsafe {
            _mm512_dpbf16_ps(
                acc,
                transmute::<__m512i, __m512bh>(x),
                transmute::<__m512i, __m512bh>(w),
            )
        }
    }

    #[inline(always)]
    unsafe fn transpose(from: *const u32, from_stride: usize, to: *mut u32, to_stride: usize) {
        unsafe {
            let mut v = [_mm512_setzero_si512(); 16];
            for (i, v) in v.iter_mut().enumerate() {
                *v = _mm512_loadu_si512(from.add(i * from_stride).cast());
            }
            // Within each 128-bit quarter: 4 rows by 4 columns.
            let mut t = v;
            for i in (0..16).step_by(4) {
                let a = _mm512_unpacklo_epi32(v[i], v[i + 1]);
                let b = _mm512_unpackhi_epi32(v[i], v[i + 1]);
                let c = _mm512_unpacklo_epi32(v[i + 2], v[i + 3]);
                let d = _mm512_unpackhi_epi32(v[i + 2], v[i + 3]);
                t[i] = _mm512_unpacklo_epi64(a, c);
                t[i + 1] = _mm512_unpackhi_epi64(a, c);
                t[i + 2] = _mm512_unpacklo_epi64(b, d);
                t[i + 3] = _mm512_unpackhi_epi64(b, d);
            }
            // Then the quarters, as a 4 by 4 of their own: quarter `q` of `t[4 g + c]` holds
            // column `4 q + c` of rows `4 g..4 g + 4`.
            for c in 0..4 {
                let low = _mm512_shuffle_i32x4::<0b10_00_10_00>(t[c], t[4 + c]);
                let high = _mm512_shuffle_i32x4::<0b11_01_11_01>(t[c], t[4 + c]);
                let low2 = _mm512_shuffle_i32x4::<0b10_00_10_00>(t[8 + c], t[12 + c]);
                let high2 = _mm512_shuffle_i32x4::<0b11_01_11_01>(t[8 + c], t[12 + c]);
                let columns = [
                    _mm512_shuffle_i32x4::<0b10_00_10_00>(low, low2),
                    _mm512_shuffle_i32x4::<0b10_00_10_00>(high, high2),
                    _mm512_shuffle_i32x4::<0b11_01_11_01>(low, low2),
                    _mm512_shuffle_i32x4::<0b11_01_11_01>(high, high2),
                ];
                for (q, column) in columns.into_iter().enumerate() {
                    _mm512_storeu_si512(to.add((4 * q + c) * to_stride).cast(), column);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
