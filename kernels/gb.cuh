// The one header a kernel includes, and the one file with PTX. Under nvcc its functions are PTX;
// with GB_EMU the same names come from the emulator in emu/, for any C++17 compiler.
#pragma once
#include <stdint.h>
#include <string.h>

#ifdef GB_EMU
#include "emu/cuda.h"
#else
#include <cuda_bf16.h>

// A function of the device.
#define GB_DEV __device__ __forceinline__

// The block's dynamic shared memory, aligned for swizzles of up to 1,024 bytes.
#define GB_DYN_SMEM(T, name)                                        \
    extern __shared__ __align__(1024) unsigned char name##_bytes[]; \
    T* name = reinterpret_cast<T*>(name##_bytes)

// An array of the block of fixed size: `GB_SHARED(float, sums, 8);`.
#define GB_SHARED(T, name, count) __shared__ __align__(16) T name[count]

// Tells the emulator of a kernel: one line after each, without a semicolon.
#define GB_KERNEL(name)

GB_DEV uint32_t gb_shared_address(const void* p) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// Copies 16 bytes from global to shared memory, in the background.
GB_DEV void gb_cp_async16(void* to, const void* from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(gb_shared_address(to)),
                 "l"(from)
                 : "memory");
}

// The same; 16 zeros, and nothing is read, where the source is not valid.
GB_DEV void gb_cp_async16_zfill(void* to, const void* from, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(gb_shared_address(to)),
                 "l"(from), "r"(valid ? 16 : 0)
                 : "memory");
}

// Closes this thread's group of copies.
GB_DEV void gb_cp_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most N of this thread's groups are unfinished.
template <int N>
GB_DEV void gb_cp_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// Four 8 x 8 matrices of 16-bit elements; lane 8 i + r gives the address of row r of matrix i.
GB_DEV void gb_ldsm4(uint32_t (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(gb_shared_address(row))
                 : "memory");
}

// The same, each matrix transposed.
GB_DEV void gb_ldsm4t(uint32_t (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(gb_shared_address(row))
                 : "memory");
}

// d += A (16 x 16) B (16 x 8) in bf16, added up in f32.
GB_DEV void gb_mma16816(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Waits for the kernel before this one (programmatic dependent launch); a kernel that was launched
// without passes at once.
GB_DEV void gb_pdl_wait() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Lets the kernel after this one start, up to its own gb_pdl_wait.
GB_DEV void gb_pdl_launch() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// 2 to the power of x; 0 for what would be smaller than a normal number.
GB_DEV float gb_exp2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// 16 bytes of global memory that nobody reads again soon and no kernel in flight writes: weights.
GB_DEV uint4 gb_load_stream(const void* from) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(from));
    return v;
}
#endif

// Two bf16 in a register, `lo` in the low half.
GB_DEV uint32_t gb_pack(float lo, float hi) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(lo, hi);
    uint32_t bits;
    memcpy(&bits, &pair, sizeof bits);
    return bits;
}

// The halves of such a register.
GB_DEV float gb_low(uint32_t pair) {
    return __uint_as_float(pair << 16);
}

GB_DEV float gb_high(uint32_t pair) {
    return __uint_as_float(pair & 0xffff0000u);
}

// This thread's place in its warp.
GB_DEV int gb_lane() {
    return static_cast<int>(threadIdx.x & 31);
}

// The warp's sum in the fixed order of kernels/README.md, in every lane.
GB_DEV float gb_warp_sum(float v) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes >>= 1) {
        v += __shfl_xor_sync(0xffffffffu, v, lanes);
    }
    return v;
}
