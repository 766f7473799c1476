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
static inline float __fdividef(float x, float y) {
    return x / y;
}
static inline float __frcp_rn(float x) {
    return 1.0f / x;
}
static inline float __fsqrt_rn(float x) {
    return sqrtf(x);
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
static inline float __saturatef(float x) {
    return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f;
}
static inline float __int2float_rn(int x) {
    return static_cast<float>(x);
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

static inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>((static_cast<uint64_t>(a) * b) >> 32);
}
static inline int __mulhi(int a, int b) {
    return static_cast<int>((static_cast<int64_t>(a) * b) >> 32);
}
static inline int __popc(unsigned x) {
    return __builtin_popcount(x);
}
static inline int __clz(int x) {
    return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x));
}
static inline int __ffs(int x) {
    return __builtin_ffs(x);
}
static inline unsigned __funnelshift_l(unsigned lo, unsigned hi, unsigned shift) {
    shift &= 31;
    return shift == 0 ? hi : (hi << shift) | (lo >> (32 - shift));
}

// Loads and stores that only differ in what a cache keeps.
template <class T>
static inline T __ldg(const T* from) {
    return *from;
}
template <class T>
static inline T __ldcs(const T* from) {
    return *from;
}
template <class T>
static inline T __ldcg(const T* from) {
    return *from;
}
template <class T>
static inline void __stcs(T* to, T value) {
    *to = value;
}
template <class T>
static inline void __stcg(T* to, T value) {
    *to = value;
}

// On integers alone: the order of a float's additions would be chance.
template <class T>
static inline T atomicAdd(T* at, T value) {
    static_assert(static_cast<T>(0.5) == 0, "no atomics on floats");
    return __atomic_fetch_add(at, value, __ATOMIC_RELAXED);
}
template <class T>
static inline T atomicOr(T* at, T value) {
    return __atomic_fetch_or(at, value, __ATOMIC_RELAXED);
}
template <class T>
static inline T atomicAnd(T* at, T value) {
    return __atomic_fetch_and(at, value, __ATOMIC_RELAXED);
}
template <class T>
static inline T atomicExch(T* at, T value) {
    return __atomic_exchange_n(at, value, __ATOMIC_RELAXED);
}
template <class T>
static inline T atomicCAS(T* at, T expected, T value) {
    __atomic_compare_exchange_n(at, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return expected;
}
template <class T>
static inline T atomicMax(T* at, T value) {
    T old = __atomic_load_n(at, __ATOMIC_RELAXED);
    while (old < value && !__atomic_compare_exchange_n(at, &old, value, false, __ATOMIC_RELAXED,
                                                       __ATOMIC_RELAXED)) {
    }
    return old;
}
template <class T>
static inline T atomicMin(T* at, T value) {
    T old = __atomic_load_n(at, __ATOMIC_RELAXED);
    while (value < old && !__atomic_compare_exchange_n(at, &old, value, false, __ATOMIC_RELAXED,
                                                       __ATOMIC_RELAXED)) {
    }
    return old;
}
