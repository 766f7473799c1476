// From the QKV product to attention's operands: qk-norm, rotary embedding, the KV pool.
#include "gb.cuh"

// Elements of a head; lane l has 4 l, .. 4 l + 3, so that half the warp has half the head.
constexpr int HEADS_DIM = 128;
constexpr int HEADS_WARPS = 8;

GB_DEV uint2 heads_packed(float4 v) {
    return make_uint2(gb_pack(v.x, v.y), gb_pack(v.z, v.w));
}

// One of a turned head's elements: the first half's is low cos - high sin, the second's
// high cos + low sin.
GB_DEV float heads_turned(float own, float other, float cos, float sin) {
    const float away = __fmul_rn(other, sin);
    return __fmaf_rn(own, cos, gb_lane() < 16 ? -away : away);
}

GB_DEV float4 heads_normed(float4 x, float4 weight, float eps) {
    float squares = __fmul_rn(x.x, x.x);
    squares = __fmaf_rn(x.y, x.y, squares);
    squares = __fmaf_rn(x.z, x.z, squares);
    squares = __fmaf_rn(x.w, x.w, squares);
    const float scale = rsqrtf(__fmaf_rn(gb_warp_sum(squares), 1.0f / HEADS_DIM, eps));
    return make_float4(__fmul_rn(__fmul_rn(x.x, scale), weight.x),
                       __fmul_rn(__fmul_rn(x.y, scale), weight.y),
                       __fmul_rn(__fmul_rn(x.z, scale), weight.z),
                       __fmul_rn(__fmul_rn(x.w, scale), weight.w));
}

GB_DEV float4 heads_rotated(float4 x, const float* turn) {
    const int lane = gb_lane();
    const float4 cos = reinterpret_cast<const float4*>(turn)[lane & 15];
    const float4 sin = reinterpret_cast<const float4*>(turn)[16 + (lane & 15)];
    const float4 other = make_float4(
        __shfl_xor_sync(0xffffffffu, x.x, 16), __shfl_xor_sync(0xffffffffu, x.y, 16),
        __shfl_xor_sync(0xffffffffu, x.z, 16), __shfl_xor_sync(0xffffffffu, x.w, 16));
    return make_float4(heads_turned(x.x, other.x, cos.x, sin.x),
                       heads_turned(x.y, other.y, cos.y, sin.y),
                       heads_turned(x.z, other.z, cos.z, sin.z),
                       heads_turned(x.w, other.w, cos.w, sin.w));
}

// A warp takes a head of row blockIdx.x: Q heads first, then those of K, then those of V.
extern "C" __global__ void __launch_bounds__(32 * HEADS_WARPS)
    gb_heads(__nv_bfloat16* __restrict__ q, __nv_bfloat16* __restrict__ kv,
             const float* qkv, const float* __restrict__ q_norm,
             const float* __restrict__ k_norm, const float* __restrict__ rotary,
             const int* positions, const int* table_starts, const int* tables, int heads,
             int kv_heads, int block_size, float eps) {
    const int lane = gb_lane();
    const size_t row = blockIdx.x;
    const int position = positions[row];
    const size_t block =
        position >= 0 ? tables[table_starts[row] + position / block_size] : 0;
    gb_pdl_wait();
    gb_pdl_launch();
    const float* turn = rotary + static_cast<size_t>(max(position, 0)) * HEADS_DIM;
    const int all = heads + 2 * kv_heads;
    const float4* from = reinterpret_cast<const float4*>(qkv + row * all * HEADS_DIM);
    // This row's token of KV head 0.
    uint2* slot = nullptr;
    const size_t next_head = static_cast<size_t>(block_size) * 2 * HEADS_DIM / 4;
    if (position >= 0) {
        slot = reinterpret_cast<uint2*>(kv) + block * kv_heads * next_head +
               static_cast<size_t>(position % block_size) * 2 * HEADS_DIM / 4;
    }
    const int step = gridDim.y * HEADS_WARPS;
    for (int head = blockIdx.y * HEADS_WARPS + (threadIdx.x >> 5); head < all; head += step) {
        const bool is_query = head < heads, is_value = head >= heads + kv_heads;
        float4 x = from[head * 32 + lane];
        if (!is_value) {
            const float* weights = is_query ? q_norm : k_norm;
            x = heads_normed(x, reinterpret_cast<const float4*>(weights)[lane], eps);
            x = heads_rotated(x, turn);
        }
        if (is_query) {
            const uint2 none = make_uint2(0, 0);
            uint2* to = reinterpret_cast<uint2*>(q) + (row * heads + head) * 32;
            to[lane] = position >= 0 ? heads_packed(x) : none;
        } else if (position >= 0) {
            const int kv_head = (head - heads) % kv_heads;
            slot[kv_head * next_head + (is_value ? 32 : 0) + lane] = heads_packed(x);
        }
    }
}
GB_KERNEL(gb_heads)
