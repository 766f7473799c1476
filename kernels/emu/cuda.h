// CUDA C++ for a plain C++17 compiler: what a kernel finds when it includes gb.cuh under GB_EMU.
// A thread of a block is a fiber, the blocks of a grid run one after another. The compiler must be
// told -fno-strict-aliasing (kernels read bf16 as uint4) and -ffp-contract=off (the same floats on
// every machine).
#pragma once
#include "types.h"

#include "arithmetic.h"
#include "machine.h"

#include "copies.h"
#include "matrix.h"
#include "warp.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
// The emulator poisons an array for every block, and must know of it.
#define __shared__ static_assert(false, "write GB_SHARED(type, name, count) or GB_DYN_SMEM");

#define GB_DEV static inline
#define GB_DYN_SMEM(T, name) T* name = reinterpret_cast<T*>(gbemu::current->block->dynamic)
#define GB_SHARED(T, name, count)       \
    static const char name##_place = 0; \
    T(&name)[count] = gbemu::shared_array<T, count>(&name##_place)
#define GB_KERNEL(name) \
    static const gbemu::Registration name##_registration(#name, gbemu::Call<&name>());

#define threadIdx (gbemu::current->index)
#define blockIdx (gbemu::current->block->index)
#define blockDim (gbemu::current->block->size)
#define gridDim (gbemu::current->block->grid)

static const int warpSize = 32;

static inline void __syncthreads() {
    gbemu::block_barrier();
}

// Kernels of a stream run one after another here.
static inline void gb_pdl_wait() {}
static inline void gb_pdl_launch() {}

static inline uint4 gb_load_stream(const void* from) {
    gbemu::check_aligned(from);
    uint4 v;
    memcpy(&v, from, sizeof v);
    return v;
}
