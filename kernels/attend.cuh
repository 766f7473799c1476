// Attention of 16 query rows by one warp, 32 keys at a time: what decode and prefill share, so that
// a row comes to the same bits in both. A lane holds row g = lane / 4 and row g + 8 of the 16, at
// elements 2 t and 2 t + 1 (t = lane % 4) of each 8 (the C fragments of mma.m16n8k16). Products
// that the compiler might fuse in one kernel and not in another are written out as __f*_rn.
#pragma once
#include "gb.cuh"

constexpr int GB_HEAD = 128;
// Elements of a token in the KV pool: K, then V.
constexpr int GB_TOKEN = 2 * GB_HEAD;
constexpr int GB_TILE = 32;
constexpr int GB_SEGMENT = 128;
// The largest score where no key was seen: finite, so that differences of two are numbers.
constexpr float GB_UNSEEN = -1e30f;

// What two of the warp's rows have seen so far: sums of V by weight, the largest score (scaled, to
// base 2), and the sum of the weights (of this lane's keys, until the segment is closed).
struct GbAttention {
    float o[16][4];
    float m[2];
    float l[2];
};

GB_DEV void gb_attention_clear(GbAttention& a) {
#pragma unroll
    for (int d = 0; d < 16; d++) {
        a.o[d][0] = a.o[d][1] = a.o[d][2] = a.o[d][3] = 0.0f;
    }
    a.m[0] = a.m[1] = GB_UNSEEN;
    a.l[0] = a.l[1] = 0.0f;
}

// By what the sums of two parts are multiplied when they meet. Where `part` has seen nothing, the
// first is 1 and what the second meets is 0.
struct GbMerge {
    float m, whole, part;
};

GB_DEV GbMerge gb_merge(float whole, float part) {
    const float m = fmaxf(whole, part);
    return {m, gb_exp2(__fsub_rn(whole, m)), gb_exp2(__fsub_rn(part, m))};
}

GB_DEV float gb_merged(const GbMerge& by, float whole, float part) {
    return __fmaf_rn(part, by.part, __fmul_rn(whole, by.whole));
}

// The last step of a row. The sum with 0 makes 0 of -0, which a tile without a key may leave.
GB_DEV float gb_attended(float o, float inverse) {
    return __fadd_rn(__fmul_rn(o, inverse), 0.0f);
}

// Where 16 bytes of a tile lie in shared memory, in elements: 8 tokens' bytes of one column meet
// all banks.
GB_DEV int gb_tile_at(int token, int chunk) {
    return token * GB_TOKEN + ((chunk ^ (token & 7)) << 3);
}

// Copies COUNT tokens that lie side by side in a block to a tile or, from a multiple of 8 on, into
// it: a token a step. Those from `exist` on do not exist and count as 0, whatever memory holds.
template <int COUNT>
GB_DEV void gb_tile_load(__nv_bfloat16* tile, const __nv_bfloat16* from, int exist) {
    const int lane = gb_lane();
    from += lane * 8;
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        gb_cp_async16_zfill(tile + gb_tile_at(i, lane), from + i * GB_TOKEN, i < exist);
    }
}

// Q of the warp's 16 rows as A fragments: `low` is row g, `high` row g + 8; null is a row of 0.
GB_DEV void gb_query_load(uint32_t (&q)[8][4], const __nv_bfloat16* low,
                          const __nv_bfloat16* high) {
    const int t = gb_lane() & 3;
#pragma unroll
    for (int k = 0; k < 8; k++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int at = 16 * k + 8 * half + 2 * t;
            q[k][2 * half] = low ? *reinterpret_cast<const uint32_t*>(low + at) : 0u;
            q[k][2 * half + 1] = high ? *reinterpret_cast<const uint32_t*>(high + at) : 0u;
        }
    }
}

// s[n] = the rows' scores with keys 8 n, .. of the tile: one chain of 8 steps along the head each.
GB_DEV void gb_tile_scores(float (&s)[4][4], const uint32_t (&q)[8][4],
                           const __nv_bfloat16* tile) {
    const int lane = gb_lane();
    // gb_tile_at(8 n + (lane & 7), 4 k + (lane >> 3)), in parts that need no register each.
    const int even = gb_tile_at(lane & 7, lane >> 3), odd = even ^ 4 * 8;
#pragma unroll
    for (int n = 0; n < 4; n++) {
        s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0.0f;
    }
#pragma unroll
    for (int k = 0; k < 4; k++) {
#pragma unroll
        for (int n = 0; n < 4; n++) {
            uint32_t b[4];
            gb_ldsm4(b, tile + (k % 2 == 0 ? even : odd) + (k / 2 * 8 * 8 + n * 8 * GB_TOKEN));
            gb_mma16816(s[n], q[2 * k], b[0], b[1]);
            gb_mma16816(s[n], q[2 * k + 1], b[2], b[3]);
        }
    }
}

// The tile's weights in place of its scores, its largest score and this lane's sum, for the rows
// g (half 0) or g + 8 (half 1).
GB_DEV void gb_tile_softmax(float (&s)[4][4], int half, float scale, float& m, float& l) {
    float most = fmaxf(s[0][2 * half], s[0][2 * half + 1]);
#pragma unroll
    for (int n = 1; n < 4; n++) {
        most = fmaxf(most, fmaxf(s[n][2 * half], s[n][2 * half + 1]));
    }
    most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
    most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
    // An unseen key's score is -infinity and stays so: its weight is 0 even if all are unseen.
    m = fmaxf(__fmul_rn(most, scale), GB_UNSEEN);
    l = 0.0f;
#pragma unroll
    for (int n = 0; n < 4; n++) {
#pragma unroll
        for (int j = 2 * half; j < 2 * half + 2; j++) {
            s[n][j] = gb_exp2(__fmaf_rn(s[n][j], scale, -m));
            l = __fadd_rn(l, s[n][j]);
        }
    }
}

// Merges the tile's V by weight into `a`, 16 elements of the head at a time: two steps along the
// tile each.
GB_DEV void gb_tile_values(GbAttention& a, const float (&s)[4][4], const __nv_bfloat16* tile,
                           const GbMerge (&by)[2]) {
    const int lane = gb_lane();
    // gb_tile_at(16 k + (lane & 15), 16 + d + (lane >> 4)), likewise.
    const int at = gb_tile_at(lane & 15, 16 + (lane >> 4));
    uint32_t weights[2][4];
#pragma unroll
    for (int k = 0; k < 2; k++) {
        weights[k][0] = gb_pack(s[2 * k][0], s[2 * k][1]);
        weights[k][1] = gb_pack(s[2 * k][2], s[2 * k][3]);
        weights[k][2] = gb_pack(s[2 * k + 1][0], s[2 * k + 1][1]);
        weights[k][3] = gb_pack(s[2 * k + 1][2], s[2 * k + 1][3]);
    }
#pragma unroll
    for (int d = 0; d < 16; d += 2) {
        float o[2][4] = {};
#pragma unroll
        for (int k = 0; k < 2; k++) {
            uint32_t b[4];
            gb_ldsm4t(b, tile + (at ^ d % 8 * 8) + (d / 8 * 8 * 8 + 16 * k * GB_TOKEN));
            gb_mma16816(o[0], weights[k], b[0], b[1]);
            gb_mma16816(o[1], weights[k], b[2], b[3]);
        }
#pragma unroll
        for (int j = 0; j < 4; j++) {
            a.o[d][j] = gb_merged(by[j >> 1], a.o[d][j], o[0][j]);
            a.o[d + 1][j] = gb_merged(by[j >> 1], a.o[d + 1][j], o[1][j]);
        }
    }
}

// One tile of 32 keys. Row g may see the first `seen[0]` of them, row g + 8 the first `seen[1]`.
GB_DEV void gb_attend_tile(GbAttention& a, const uint32_t (&q)[8][4], const __nv_bfloat16* tile,
                           const int (&seen)[2], bool all_seen, float scale) {
    float s[4][4];
    gb_tile_scores(s, q, tile);
    if (!all_seen) {
        const int t = gb_lane() & 3;
#pragma unroll
        for (int n = 0; n < 4; n++) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const bool sees = 8 * n + 2 * t + (j & 1) < seen[j >> 1];
                s[n][j] = sees ? s[n][j] : -INFINITY;
            }
        }
    }
    GbMerge by[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float m, l;
        gb_tile_softmax(s, half, scale, m, l);
        by[half] = gb_merge(a.m[half], m);
        a.m[half] = by[half].m;
        a.l[half] = gb_merged(by[half], a.l[half], l);
    }
    gb_tile_values(a, s, tile, by);
}

// The end of a segment: the sums of a row's four lanes meet.
GB_DEV void gb_attention_close(GbAttention& a) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        a.l[half] = __fadd_rn(a.l[half], __shfl_xor_sync(0xffffffffu, a.l[half], 1));
        a.l[half] = __fadd_rn(a.l[half], __shfl_xor_sync(0xffffffffu, a.l[half], 2));
    }
}
