// What sampling and log-probabilities share: keys, arithmetic, noise, and groups of tokens. The
// host's src/sampler is the reference; names and rounding follow it.
#pragma once
#include "gb.cuh"

namespace sample {

using u64 = unsigned long long;

// Tokens a warp looks at: a group. Its partial results are one Group.
constexpr int GROUP = 256;
constexpr int PER_LANE = GROUP / 32;
// Ids fit in so many bits, so a row has at most 1,024 groups: one a thread of the second kernel.
constexpr int ID_BITS = 18;
constexpr unsigned ALL = 0xffffffffu;
constexpr unsigned PADDING = 1;
// Masses are integers, so that the order of their sum does not matter: units of 2^-44 of the most
// likely token's, of which 2^18 fit in 64 bits.
constexpr float MASS_UNITS = 17592186044416.0f;

// How a row is sampled; 32 bytes, written by the host.
struct Row {
    float temperature;
    int top_k;
    float top_p;
    float min_p;
    unsigned seed_low;
    unsigned seed_high;
    unsigned position;
    unsigned flags;
};

// What the first kernel of a pair leaves to the second; 32 bytes.
struct Group {
    // The best token, as a key.
    u64 best;
    // Sum of exp(scaled - scaled best of the group).
    double sum;
    // The highest score of a draw from the group, and whose it is.
    double score;
    int winner;
    // Tokens whose logit is at least the chosen one's.
    int at_least;
};

GB_DEV int groups_of(int vocab) {
    return (vocab + GROUP - 1) / GROUP;
}

// --- keys ---

// The order of keys is that of the logits, then of falling ids: a larger key is a better token,
// and no two are equal. NaN is put beside -inf; -0 is 0.
GB_DEV u64 key_of(int token, float logit) {
    const float clean = logit != logit ? -INFINITY : logit + 0.0f;
    const unsigned bits = __float_as_uint(clean);
    // Negative floats order the wrong way round and below the positive ones.
    const unsigned ordered = (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
    return static_cast<u64>(ordered) << ID_BITS | static_cast<u64>((1 << ID_BITS) - 1 - token);
}

GB_DEV float logit_of(u64 key) {
    const unsigned ordered = static_cast<unsigned>(key >> ID_BITS);
    const bool positive = (ordered >> 31) != 0;
    return __uint_as_float(positive ? ordered & 0x7fffffffu : ~ordered);
}

GB_DEV int token_of(u64 key) {
    const int mask = (1 << ID_BITS) - 1;
    return mask - static_cast<int>(key & mask);
}

// The least key of all tokens with this logit.
GB_DEV u64 lowest_key(float logit) {
    return key_of((1 << ID_BITS) - 1, logit);
}

// --- arithmetic ---

// e^x for x <= 0, step by step as the host computes it; 0 below -87 and for NaN.
GB_DEV float exp_of(float x) {
    const bool possible = x > -87.0f;
    x = possible ? x : 0.0f;
    // Adding it leaves the nearest integer in the low bits of the mantissa.
    const float round = 12582912.0f;
    const float shifted = __fadd_rn(__fmul_rn(x, 1.44269504088896341f), round);
    const float n = __fsub_rn(shifted, round);
    // ln 2 in two parts, so that the product with a small integer loses nothing.
    float r = __fsub_rn(x, __fmul_rn(n, 0.6933594f));
    r = __fsub_rn(r, __fmul_rn(n, -2.1219444e-4f));
    float p = 1.9875691e-4f;
    p = __fadd_rn(__fmul_rn(p, r), 1.3981999e-3f);
    p = __fadd_rn(__fmul_rn(p, r), 8.333452e-3f);
    p = __fadd_rn(__fmul_rn(p, r), 4.1665796e-2f);
    p = __fadd_rn(__fmul_rn(p, r), 1.6666665e-1f);
    p = __fadd_rn(__fmul_rn(p, r), 0.5f);
    const float mantissa = __fadd_rn(__fadd_rn(__fmul_rn(__fmul_rn(p, r), r), r), 1.0f);
    const float power = __uint_as_float((__float_as_uint(shifted) + 127u) << 23);
    return possible ? __fmul_rn(mantissa, power) : 0.0f;
}

GB_DEV bool is_finite(float x) {
    return (__float_as_uint(x) & 0x7f800000u) != 0x7f800000u;
}

// --- noise ---

GB_DEV unsigned rotate_left(unsigned x, int by) {
    return x << by | x >> (32 - by);
}

// A step of MurmurHash3.
GB_DEV unsigned mix(unsigned h, unsigned key) {
    const unsigned k = rotate_left(key * 0xcc9e2d51u, 15) * 0x1b873593u;
    return rotate_left(h ^ k, 13) * 5u + 0xe6546b64u;
}

// The hash after seed and position; only the token is left to mix in.
GB_DEV unsigned noise_prefix(const Row& row) {
    return mix(mix(mix(0u, row.seed_low), row.seed_high), row.position);
}

// 32 random bits for a token. Fewer bits give more noise.
GB_DEV unsigned noise_bits(unsigned prefix, int token) {
    // 16 is the length in bytes of what was hashed.
    unsigned h = mix(prefix, static_cast<unsigned>(token)) ^ 16u;
    h = (h ^ (h >> 16)) * 0x85ebca6bu;
    h = (h ^ (h >> 13)) * 0xc2b2ae35u;
    return h ^ (h >> 16);
}

// The standard Gumbel value -ln(-ln(1 - u)), where `bits` are those of u in (0, 1).
GB_DEV double gumbel(unsigned bits) {
    const double u = (static_cast<double>(bits) + 0.5) * 2.3283064365386963e-10;
    return -log(-log1p(-u));
}

// At least the score of a token and at little cost, since -ln(1 - u) >= u. Covers what rounding
// may add.
GB_DEV float score_bound(float scaled, unsigned bits) {
    const float ln_2 = 0.69314718f;
    const float u = __uint2float_rn(bits) + 0.5f;
    const float bound = scaled + ln_2 * (32.0f - __log2f(u));
    return bound + (1e-3f + 1e-6f * fabsf(bound));
}

// The token of the highest score; the lower id on ties.
struct Winner {
    double score;
    int token;
};

GB_DEV Winner no_winner() {
    return {-INFINITY, 0};
}

GB_DEV Winner better(Winner a, Winner b) {
    const bool b_wins = b.score > a.score || (b.score == a.score && b.token < a.token);
    return b_wins ? b : a;
}

GB_DEV Winner scored(float scaled, unsigned bits, int token) {
    return {static_cast<double>(scaled) + gumbel(bits), token};
}

// --- a warp ---

GB_DEV u64 warp_max(u64 value) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes >>= 1) {
        const u64 other = __shfl_xor_sync(ALL, value, lanes);
        value = other > value ? other : value;
    }
    return value;
}

// In a fixed order, the same in every lane.
GB_DEV double warp_sum(double value) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes >>= 1) {
        value += __shfl_xor_sync(ALL, value, lanes);
    }
    return value;
}

GB_DEV int warp_count(int value) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes >>= 1) {
        value += __shfl_xor_sync(ALL, value, lanes);
    }
    return value;
}

GB_DEV Winner warp_winner(Winner winner) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes >>= 1) {
        Winner other;
        other.score = __shfl_xor_sync(ALL, winner.score, lanes);
        other.token = __shfl_xor_sync(ALL, winner.token, lanes);
        winner = better(winner, other);
    }
    return winner;
}

// Element j of a lane in its group.
GB_DEV int token_at(int group, int j) {
    return group * GROUP + j * 32 + gb_lane();
}

// This lane's logits of a group, as they are; what lies behind the row is impossible.
GB_DEV void load_group(float (&logits)[PER_LANE], const float* row, int group, int vocab) {
#pragma unroll
    for (int j = 0; j < PER_LANE; j++) {
        const int token = token_at(group, j);
        logits[j] = token < vocab ? row[token] : -INFINITY;
    }
}

// The best token of a group, in every lane.
GB_DEV u64 group_best(const float (&logits)[PER_LANE], int group) {
    u64 best = 0;
#pragma unroll
    for (int j = 0; j < PER_LANE; j++) {
        const u64 key = key_of(token_at(group, j), logits[j]);
        best = key > best ? key : best;
    }
    return warp_max(best);
}

// Sum of exp(logit / temperature - scaled best) over a group, in every lane.
GB_DEV double group_sum(const float (&logits)[PER_LANE], float temperature, u64 best) {
    const float scaled_best = __fdiv_rn(logit_of(best), temperature);
    double sum = 0.0;
#pragma unroll
    for (int j = 0; j < PER_LANE; j++) {
        sum += static_cast<double>(exp_of(__fdiv_rn(logits[j], temperature) - scaled_best));
    }
    return warp_sum(sum);
}

}  // namespace sample
