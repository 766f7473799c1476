// CUDA's functions of numbers, loads through caches, and atomics on integers.
#pragma once
#include "types.h"

// Names that the host's <math.h> has for itself, or may have.
#define __expf expf
#define __logf logf
#define __log2f log2f
#define rsqrtf gb_reciprocal_root
static inline float gb_reciprocal_root(float x) {
    return 1.0f / sqrtf(x);
}
static inline float gb_exp2(float x) {
    const float y = exp2f(x);
    return y < 1.17549435e-38f ? 0.0f : y;
}
static inline float __fdiv_rn(float x, float y) {
    return x / y;
}
static inline float __fadd_rn(float x, float y) {
    return x + y;
}
static inline float __fsub_rn(float x, float y) {
    return x - y;
}
static inline float __fmul_rn(float x, float y) {
    return x * y;
}
static inline float __fmaf_rn(float x, float y, float z) {
    return fmaf(x, y, z);
}
static inline float __uint2float_rn(unsigned x) {
    return static_cast<float>(x);
}

template <class T>
static inline T min(T a, T b) {
    return b < a ? b : a;
}
template <class T>
static inline T max(T a, T b) {
    return a < b ? b : a;
}
static inline float min(float a, float b) {
    return fminf(a, b);
}
static inline float max(float a, float b) {
    return fmaxf(a, b);
}

static inline int __clz(int x) {
    return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x));
}
static inline int __ffs(int x) {
    return __builtin_ffs(x);
}

// On integers alone: the order of a float's additions would be chance.
template <class T>
static inline T atomicAdd(T* at, T value) {
    static_assert(static_cast<T>(0.5) == 0, "no atomics on floats");
    return __atomic_fetch_add(at, value, __ATOMIC_RELAXED);
}
