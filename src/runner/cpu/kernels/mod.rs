//! The arithmetic of a Qwen3, written once against [`Simd`] and compiled for each machine.
//!
//! Every result depends on its own row alone, bit for bit: each output element of a product is one
//! chain of additions in the order of K, whatever rows are computed beside it; attention walks keys
//! in tiles that start at fixed positions; sums over a row run in one fixed order.

mod attention;
mod gemm;
mod heads;
mod norm;

pub(super) use attention::{Attention, MAX_HEAD_DIM, QueryTile, SCORE_ROWS, Scratch, scratch_len};
pub(super) use gemm::{Gemm, Output, PANELS, STRIP};
pub(super) use heads::{Heads, Slot};

use super::Isa;
use super::simd::Simd;
use gemm::{Tile, swiglu, tile};

/// Computes one register tile of a product.
type TileFn = unsafe fn(&Tile);

/// The kernels compiled for one instruction set.
///
/// # Safety
/// All entries: the machine has the instruction set ([`Kernels::of`] checks) and the pointers in
/// the arguments are good for what their documentation says.
pub(super) struct Kernels {
    /// `tiles[r - 1]` computes `r` rows.
    tiles: &'static [TileFn],
    /// [`gemm::swiglu`].
    swiglu: unsafe fn(gate_up: *const f32, rows: usize, out: *mut u16, stride: usize),
    /// [`norm::rms_norm`].
    pub rms_norm: unsafe fn(x: *const f32, weight: *const f32, n: usize, eps: f32, out: *mut u16),
    /// [`heads::rotate`].
    pub rotate: unsafe fn(&Heads, row: usize, position: usize, slot: Slot),
    /// [`attention::attend`].
    pub attend: unsafe fn(&Kernels, &Attention, &QueryTile, kv_head: usize, &Scratch),
    /// [`Simd::transpose`].
    pub transpose: unsafe fn(*const u32, usize, *mut u32, usize),
    /// [`norm::widen`].
    pub widen: unsafe fn(from: *const u16, n: usize, to: *mut f32),
}

/// Compiles the kernels for one [`Simd`] with its target features.
macro_rules! compile {
    ($module:ident, $simd:ty, [$($rows:literal)*] $(, #[$features:meta])?) => {
        mod $module {
            use super::*;

            $(#[$features])?
            unsafe fn tile_of<const R: usize>(t: &Tile) {
                unsafe { tile::<$simd, R>(t) }
            }

            $(#[$features])?
            unsafe fn swiglu_of(gate_up: *const f32, rows: usize, out: *mut u16, stride: usize) {
                unsafe { swiglu::<$simd>(gate_up, rows, out, stride) }
            }

            $(#[$features])?
            unsafe fn rms_norm(x: *const f32, w: *const f32, n: usize, eps: f32, out: *mut u16) {
                unsafe { norm::rms_norm::<$simd>(x, w, n, eps, out) }
            }

            $(#[$features])?
            unsafe fn rotate(heads: &Heads, row: usize, position: usize, slot: Slot) {
                unsafe { heads::rotate::<$simd>(heads, row, position, slot) }
            }

            $(#[$features])?
            unsafe fn attend(k: &Kernels, a: &Attention, t: &QueryTile, head: usize, s: &Scratch) {
                unsafe { attention::attend::<$simd>(k, a, t, head, s) }
            }

            $(#[$features])?
            unsafe fn transpose(from: *const u32, pitch: usize, to: *mut u32, to_pitch: usize) {
                unsafe { <$simd>::transpose(from, pitch, to, to_pitch) }
            }

            $(#[$features])?
            unsafe fn widen(from: *const u16, n: usize, to: *mut f32) {
                unsafe { norm::widen::<$simd>(from, n, to) }
            }

            pub(super) static KERNELS: Kernels = Kernels {
                tiles: &[$(tile_of::<$rows>),*],
                swiglu: swiglu_of,
                rms_norm,
                rotate,
                attend,
                transpose,
                widen,
            };
        }
    };
}

compile!(portable, crate::runner::cpu::simd::Portable, [1 2 3 4]);
#[cfg(target_arch = "aarch64")]
compile!(neon, crate::runner::cpu::simd::Neon, [1 2 3 4]);
#[cfg(target_arch = "x86_64")]
compile!(
    avx2,
    crate::runner::cpu::simd::Avx2,
    [1 2 3 4],
    #[target_feature(enable = "avx2,fma")]
);
#[cfg(target_arch = "x86_64")]
compile!(
    avx512,
    crate::runner::cpu::simd::Avx512Bf16,
    [1 2 3 4 5 6 7 8 9 10 11 12 13 14],
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
);

impl Kernels {
    /// The kernels for `isa`, if this machine has it.
    pub fn of(isa: Isa) -> Option<&'static Kernels> {
        if !isa.is_available() {
            return None;
        }
        match isa {
            Isa::Portable => Some(&portable::KERNELS),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => Some(&neon::KERNELS),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Some(&avx2::KERNELS),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 => Some(&avx512::KERNELS),
            #[cfg(not(target_arch = "aarch64"))]
            Isa::Neon => None,
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512Bf16 => None,
        }
    }
}
