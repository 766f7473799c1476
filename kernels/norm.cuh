// RMSNorm of a row by one warp, in the fixed order of kernels/README.md. Rows of f32 with a
// multiple of 4 elements, on addresses that are multiples of 16.
#pragma once
#include "gb.cuh"

// 1 / sqrt(mean of the squares + eps), in every lane.
GB_DEV float gb_row_scale(const float* x, int n, float eps) {
    float sum = 0.0f;
    // A thousand elements are fetched at once: the row is waited for, and nothing else to do.
    for (int first = 4 * gb_lane(); first < n; first += 1024) {
        float4 v[8];
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const int at = first + 128 * i;
            v[i] = at < n ? *reinterpret_cast<const float4*>(x + at) : make_float4(0, 0, 0, 0);
        }
#pragma unroll
        for (int i = 0; i < 8; i++) {
            sum = __fmaf_rn(v[i].x, v[i].x, sum);
            sum = __fmaf_rn(v[i].y, v[i].y, sum);
            sum = __fmaf_rn(v[i].z, v[i].z, sum);
            sum = __fmaf_rn(v[i].w, v[i].w, sum);
        }
    }
    return rsqrtf(gb_warp_sum(sum) / static_cast<float>(n) + eps);
}

// Four elements of a row, as bf16.
GB_DEV uint2 gb_norm4(float4 x, float scale, float4 weight) {
    return make_uint2(gb_pack(x.x * scale * weight.x, x.y * scale * weight.y),
                      gb_pack(x.z * scale * weight.z, x.w * scale * weight.w));
}

// The whole row; `out` may be global or shared memory.
GB_DEV void gb_norm_row(__nv_bfloat16* out, const float* x, const float* weight, int n,
                        float eps) {
    const float scale = gb_row_scale(x, n, eps);
    for (int i = 4 * gb_lane(); i < n; i += 128) {
        const float4 v = *reinterpret_cast<const float4*>(x + i);
        const float4 w = *reinterpret_cast<const float4*>(weight + i);
        *reinterpret_cast<uint2*>(out + i) = gb_norm4(v, scale, w);
    }
}
