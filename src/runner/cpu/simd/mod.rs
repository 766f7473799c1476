//! Sixteen lanes of f32, whatever the machine.
//!
//! Every kernel is written once against [`Simd`]; an implementation says how one machine does
//! sixteen lanes: one AVX-512 register, two AVX2 registers, four NEON registers or a plain array.
//! The methods must be inlined into functions that carry the machine's `target_feature`s, which is
//! what the table in [`super::kernels`] sees to.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(super) use avx512::Avx512Bf16;
#[cfg(target_arch = "aarch64")]
pub(super) use neon::Neon;
pub(super) use portable::Portable;

/// Lanes in one vector, on every machine: the unit of packing.
pub const LANES: usize = 16;

/// One machine's sixteen lanes.
///
/// # Safety
///
/// All methods: the processor has the instruction set of the implementation, and pointers are
/// good for the elements that the method names. No alignment is asked for.
pub(super) trait Simd: Copy + 'static {
    /// Sixteen f32.
    type F: Copy;
    /// Sixteen pairs of bf16; the even element is in the low half of each 32 bits.
    type P: Copy;

    unsafe fn splat(x: f32) -> Self::F;
    /// Reads 16 f32.
    unsafe fn load(from: *const f32) -> Self::F;
    /// Writes 16 f32.
    unsafe fn store(to: *mut f32, v: Self::F);
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`.
    unsafe fn mul_add(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// To the nearest whole number.
    unsafe fn round(v: Self::F) -> Self::F;
    /// 2 to the power of whole numbers in [-127, 127]; 2^-127 is 0.
    unsafe fn pow2(n: Self::F) -> Self::F;
    /// The first `lanes` lanes of `v` (clamped to 0..=16), `other` in the rest.
    unsafe fn keep(v: Self::F, lanes: isize, other: Self::F) -> Self::F;
    /// The sum of the lanes, in one fixed order.
    unsafe fn sum(v: Self::F) -> f32;
    /// The largest lane.
    unsafe fn largest(v: Self::F) -> f32;

    /// Reads 16 bf16.
    unsafe fn load_bf16(from: *const u16) -> Self::F;
    /// Writes 16 bf16, rounded to nearest even.
    unsafe fn store_bf16(to: *mut u16, v: Self::F);

    /// Reads 16 pairs.
    unsafe fn load_pairs(from: *const u32) -> Self::P;
    /// Writes 16 pairs.
    unsafe fn store_pairs(to: *mut u32, v: Self::P);
    /// Reads one pair into every lane.
    unsafe fn splat_pair(from: *const u32) -> Self::P;
    /// Reads 16 bf16 from each of two rows as pairs (row 0's is the even element).
    unsafe fn zip(row0: *const u16, row1: *const u16) -> Self::P;
    /// `acc + w.even * x.even + w.odd * x.odd` in the one order this machine has for it.
    unsafe fn dot2(acc: Self::F, w: Self::P, x: Self::P) -> Self::F;
    /// Turns 16 rows of 16 pairs (`from_stride` pairs apart) into 16 columns (`to_stride` apart).
    unsafe fn transpose(from: *const u32, from_stride: usize, to: *mut u32, to_stride: usize);
    /// Asks for the cache line at `at`, which need not be readable.
    unsafe fn prefetch(at: *const u8);
}

/// 2 to the power of each lane. Exactly 1 for 0 and exactly 0 for -infinity; results below 2^-126
/// may be flushed to 0.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub(super) unsafe fn exp2<S: Simd>(x: S::F) -> S::F {
    // The Taylor series of 2^f on [-1/2, 1/2] to the 6th power: 2e-7 of relative error at most.
    const SERIES: [f32; 6] = [
        1.540_353e-4,
        1.333_355_8e-3,
        9.618_129e-3,
        5.550_411e-2,
        2.402_265e-1,
        std::f32::consts::LN_2,
    ];
    // SAFETY: the caller vouches for the instruction set; no memory is touched.
    unsafe {
        let x = S::min(S::splat(127.0), S::max(S::splat(-127.0), x));
        let whole = S::round(x);
        let rest = S::sub(x, whole);
        let mut p = S::splat(SERIES[0]);
        for c in &SERIES[1..] {
            p = S::mul_add(p, rest, S::splat(*c));
        }
        p = S::mul_add(p, rest, S::splat(1.0));
        S::mul(p, S::pow2(whole))
    }
}

/// The plain transposition that machines without a better one use.
///
/// # Safety
/// `from` and `to` hold what [`Simd::transpose`] says.
#[inline(always)]
unsafe fn transpose_plain(from: *const u32, from_stride: usize, to: *mut u32, to_stride: usize) {
    for row in 0..LANES {
        for column in 0..LANES {
            // SAFETY: inside the two squares of 16 that the caller vouches for.
            unsafe {
                *to.add(column * to_stride + row) = *from.add(row * from_stride + column);
            }
        }
    }
}
