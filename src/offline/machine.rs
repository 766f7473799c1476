//! What the machine can do: reading memory, and bf16 products in registers.

use std::hint::black_box;
use std::time::Instant;

/// Words that are read together: 128 MiB, several times what caches hold.
const PIECE: usize = 1 << 24;

/// The best of each so far.
pub struct Machine {
    /// Bytes a second that all threads together read.
    pub bandwidth: f64,
    /// Operations a second of bf16 dot products that touch no memory; NaN where there are none.
    pub registers: f64,
    threads: usize,
    dot_products: bool,
    memory: Vec<u64>,
}

impl Machine {
    /// Nothing is measured yet. `dot_products` says that there are AVX-512-BF16 instructions.
    pub fn new(threads: usize, dot_products: bool) -> Self {
        // 1 GiB, in huge pages as weights are: far more than any cache.
        let mut memory: Vec<u64> = Vec::with_capacity(1 << 27);
        #[cfg(target_os = "linux")]
        // SAFETY: advice about our own memory.
        unsafe {
            let start = memory.as_mut_ptr().cast::<u8>();
            let to_page = start.align_offset(4096);
            libc::madvise(start.add(to_page).cast(), (1 << 30) - 4096, libc::MADV_HUGEPAGE);
        }
        memory.resize(1 << 27, 1);
        Self { bandwidth: 0.0, registers: f64::NAN, threads, dot_products, memory }
    }

    /// Measures both once more.
    pub fn measure(&mut self) {
        // A short piece each time: the best of many is what an undisturbed machine does.
        for piece in self.memory.chunks_exact(PIECE) {
            let part = PIECE / self.threads;
            let seconds = together(self.threads, |thread| {
                black_box(sum(&piece[thread * part..(thread + 1) * part]));
            });
            self.bandwidth = self.bandwidth.max((PIECE * 8) as f64 / seconds);
        }
        #[cfg(target_arch = "x86_64")]
        if self.dot_products {
            const STEPS: usize = 300_000;
            // SAFETY: the caller of `new` says that the machine has the instructions.
            let seconds = together(self.threads, |_| unsafe { dot_products(STEPS) });
            let operations = (self.threads * STEPS * 12 * 64) as f64;
            self.registers = self.registers.max(operations / seconds);
        }
    }
}

/// Seconds until all threads have done `job`.
fn together(threads: usize, job: impl Fn(usize) + Sync) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 1..threads {
            let job = &job;
            scope.spawn(move || job(thread));
        }
        job(0);
    });
    start.elapsed().as_secs_f64()
}

/// Adds up, in as many chains as hide the latency of additions.
fn sum(memory: &[u64]) -> u64 {
    let mut sums = [0u64; 16];
    for chunk in memory.chunks_exact(16) {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(*x);
        }
    }
    sums.iter().fold(0, |a, b| a.wrapping_add(*b))
}

/// Twelve chains of dot products of 32 pairs, nothing else.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn dot_products(steps: usize) {
    use std::arch::x86_64::*;
    let ones = _mm512_set1_epi32(0x3f80_3f80);
    // SAFETY: both are 64 plain bytes.
    let ones = unsafe { std::mem::transmute::<__m512i, __m512bh>(black_box(ones)) };
    let mut chains = [_mm512_setzero_ps(); 12];
    for _ in 0..steps {
        for chain in &mut chains {
            *chain = _mm512_dpbf16_ps(*chain, ones, ones);
        }
    }
    black_box(chains);
}
