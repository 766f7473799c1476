// Attention of a prompt's tokens: a block takes up to 128 rows (a row is a token and one of the
// query heads of a KV head), a warp 16 of them, and the block's warps share the keys that they read
// from memory. A row comes to the bits that gb_attend_decode and gb_attend_combine give it. Where
// few rows look at many keys, several blocks share the keys of a tile's rows out by segments, and
// leave them to gb_attend_combine.
#include "attend.cuh"

constexpr int PREFILL_WARPS = 8;
constexpr int PREFILL_STAGES = 3;
// Keys of a stage: 8 a warp to load.
constexpr int PREFILL_KEYS = 64;
// Elements of a row's total that stay in registers, in eights; the rest is parked. As many as nvcc
// finds room for without spilling others, which differs by target.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
constexpr int PREFILL_KEPT = 12;
#else
constexpr int PREFILL_KEPT = 11;
#endif

struct PrefillPool {
    // The KV head's part of the first block.
    const __nv_bfloat16* kv;
    // Of the tile's sequence.
    const int* table;
    int kv_heads, block_size;
    // The last key that any of the tile's rows sees.
    int last;
};

// The stage of keys from `key` on; the warp loads 8 tokens, which are always in one block.
GB_DEV void prefill_load(const PrefillPool& pool, __nv_bfloat16* stage, int key) {
    if (key <= pool.last) {
        const int shift = __ffs(pool.block_size) - 1;
        const int token = threadIdx.x >> 5 << 3;
        const int block = pool.table[min(key + token, pool.last) >> shift];
        const size_t slot = (static_cast<size_t>(block) * pool.kv_heads << shift) +
                            ((key + token) & (pool.block_size - 1));
        gb_tile_load<8>(stage + token * GB_TOKEN, pool.kv + slot * GB_TOKEN,
                        pool.last + 1 - key - token);
    }
    gb_cp_commit();
}

// The totals of the lane's rows. Registers do not suffice for all: the rest lies in shared memory
// behind the stages, where each thread has its own 16 bytes of each 4,096.
struct PrefillRows {
    float o[PREFILL_KEPT][4];
    float4* parked;
};

// Where the rows are in `q` and `attended`; negative for one that is none.
GB_DEV longlong2& prefill_places(const PrefillRows& rows) {
    return *reinterpret_cast<longlong2*>(rows.parked + (17 - PREFILL_KEPT) * 32 * PREFILL_WARPS);
}

// Largest scores, then sums of weights.
GB_DEV float4& prefill_sums(const PrefillRows& rows) {
    return rows.parked[0];
}

GB_DEV float4& prefill_parked(const PrefillRows& rows, int d) {
    return rows.parked[(d - PREFILL_KEPT + 1) * 32 * PREFILL_WARPS];
}

GB_DEV void prefill_clear(PrefillRows& rows) {
    const float4 none = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    prefill_sums(rows) = make_float4(GB_UNSEEN, GB_UNSEEN, 0.0f, 0.0f);
#pragma unroll
    for (int d = 0; d < PREFILL_KEPT; d++) {
        rows.o[d][0] = rows.o[d][1] = rows.o[d][2] = rows.o[d][3] = 0.0f;
    }
#pragma unroll
    for (int d = PREFILL_KEPT; d < 16; d++) {
        prefill_parked(rows, d) = none;
    }
}

// Merges a closed segment.
GB_DEV void prefill_merge(PrefillRows& rows, const GbAttention& segment) {
    float4 sums = prefill_sums(rows);
    const GbMerge low = gb_merge(sums.x, segment.m[0]), high = gb_merge(sums.y, segment.m[1]);
    sums.x = low.m;
    sums.y = high.m;
    sums.z = gb_merged(low, sums.z, segment.l[0]);
    sums.w = gb_merged(high, sums.w, segment.l[1]);
    prefill_sums(rows) = sums;
#pragma unroll
    for (int d = 0; d < PREFILL_KEPT; d++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            rows.o[d][j] = gb_merged(j < 2 ? low : high, rows.o[d][j], segment.o[d][j]);
        }
    }
#pragma unroll
    for (int d = PREFILL_KEPT; d < 16; d++) {
        float4 o = prefill_parked(rows, d);
        o.x = gb_merged(low, o.x, segment.o[d][0]);
        o.y = gb_merged(low, o.y, segment.o[d][1]);
        o.z = gb_merged(high, o.z, segment.o[d][2]);
        o.w = gb_merged(high, o.w, segment.o[d][3]);
        prefill_parked(rows, d) = o;
    }
}

GB_DEV void prefill_store(const PrefillRows& rows, __nv_bfloat16* attended) {
    const int t = gb_lane() & 3;
    const longlong2 places = prefill_places(rows);
    const float4 sums = prefill_sums(rows);
    const float low = __fdiv_rn(1.0f, sums.z), high = __fdiv_rn(1.0f, sums.w);
#pragma unroll
    for (int d = 0; d < 16; d++) {
        float4 o;
        if (d < PREFILL_KEPT) {
            o = make_float4(rows.o[d][0], rows.o[d][1], rows.o[d][2], rows.o[d][3]);
        } else {
            o = prefill_parked(rows, d);
        }
        const int at = 8 * d + 2 * t;
        if (places.x >= 0) {
            *reinterpret_cast<uint32_t*>(attended + places.x + at) =
                gb_pack(gb_attended(o.x, low), gb_attended(o.y, low));
        }
        if (places.y >= 0) {
            *reinterpret_cast<uint32_t*>(attended + places.y + at) =
                gb_pack(gb_attended(o.z, high), gb_attended(o.w, high));
        }
    }
}

// Where the segments of rows are left: `place` is that of the first token's segment 0.
struct PrefillParts {
    float* o;
    float* ml;
    size_t place;
    int max_segments;
};

// A tile for one KV head; each warp has 16 of its rows.
struct PrefillTile {
    int4 tile;
    int group, head, heads;
};

GB_DEV int prefill_rows(const PrefillTile& of) {
    return of.tile.z * of.group;
}

// The lane's row g (half 0) or g + 8 (half 1) of the warp's, which may be none.
GB_DEV int prefill_row(int half) {
    return (threadIdx.x >> 5 << 4) + (gb_lane() >> 2) + 8 * half;
}

// The last key that a row sees; a row that is none sees no key.
GB_DEV int prefill_sees(const PrefillTile& of, int row) {
    return row < prefill_rows(of) ? of.tile.w + row / of.group : -1;
}

// The last key that all of the warp's rows see, and the last one that any does.
GB_DEV int prefill_least(const PrefillTile& of) {
    const int first = threadIdx.x >> 5 << 4;
    return first + 16 <= prefill_rows(of) ? prefill_sees(of, first) : -1;
}

GB_DEV int prefill_most(const PrefillTile& of) {
    const int first = threadIdx.x >> 5 << 4, rows = prefill_rows(of);
    return first < rows ? of.tile.w + min(first + 15, rows - 1) / of.group : -1;
}

// Where a row is in `q` and `attended`; negative for one that is none.
GB_DEV long long prefill_place(const PrefillTile& of, int row) {
    const long long token = of.tile.y + row / of.group;
    const long long head = token * of.heads + of.head * of.group + row % of.group;
    return row < prefill_rows(of) ? head * GB_HEAD : -1;
}

// Leaves a closed segment.
GB_DEV void prefill_leave(const PrefillParts& parts, const PrefillTile& of, int index,
                          const GbAttention& segment) {
    const int t = gb_lane() & 3;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = prefill_row(half);
        if (row < prefill_rows(of)) {
            const size_t place = parts.place +
                                 static_cast<size_t>(row / of.group) * parts.max_segments + index;
            const size_t head = place * of.heads + of.head * of.group + row % of.group;
            float2* o = reinterpret_cast<float2*>(parts.o + head * GB_HEAD) + t;
#pragma unroll
            for (int d = 0; d < 16; d++) {
                o[4 * d] = make_float2(segment.o[d][2 * half], segment.o[d][2 * half + 1]);
            }
            if (t == 0) {
                reinterpret_cast<float2*>(parts.ml)[head] =
                    make_float2(segment.m[half], segment.l[half]);
            }
        }
    }
}

// The keys of `pool` from `begin` on, a multiple of GB_SEGMENT. `close` is given each segment once
// it is complete, with its index.
template <class Close>
GB_DEV void prefill_attend(const PrefillPool& pool, const PrefillTile& of,
                           const uint32_t (&query)[8][4], __nv_bfloat16* stages, int begin,
                           float scale_log2, const Close& close) {
    constexpr int stage_size = PREFILL_KEYS * GB_TOKEN;
    const int sees[2] = {prefill_sees(of, prefill_row(0)), prefill_sees(of, prefill_row(1))};
    const int least = prefill_least(of), most = min(prefill_most(of), pool.last);
    GbAttention segment;
    gb_attention_clear(segment);
    int stage = 0;
    for (; begin <= pool.last; begin += PREFILL_KEYS) {
        gb_cp_wait<PREFILL_STAGES - 2>();
        // All warps' copies are there, and nobody reads the stage that is loaded next.
        __syncthreads();
        const int next = stage == 0 ? PREFILL_STAGES - 1 : stage - 1;
        prefill_load(pool, stages + next * stage_size,
                     begin + (PREFILL_STAGES - 1) * PREFILL_KEYS);
        const __nv_bfloat16* keys = stages + stage * stage_size;
        stage = stage + 1 == PREFILL_STAGES ? 0 : stage + 1;
#pragma unroll 1
        for (int key = begin; key < begin + PREFILL_KEYS && key <= most; key += GB_TILE) {
            const int seen[2] = {sees[0] + 1 - key, sees[1] + 1 - key};
            gb_attend_tile(segment, query, keys + (key - begin) * GB_TOKEN, seen,
                           key + GB_TILE - 1 <= least, scale_log2);
            const int end = key + GB_TILE;
            if (end % GB_SEGMENT == 0 || end > most) {
                gb_attention_close(segment);
                close(segment, key / GB_SEGMENT);
                gb_attention_clear(segment);
            }
        }
    }
}

GB_DEV void prefill_begin(const PrefillPool& pool, __nv_bfloat16* stages, int begin) {
#pragma unroll
    for (int i = 0; i < PREFILL_STAGES - 1; i++) {
        prefill_load(pool, stages + i * PREFILL_KEYS * GB_TOKEN, begin + i * PREFILL_KEYS);
    }
}

extern "C" __global__ void __launch_bounds__(32 * PREFILL_WARPS, 1)
    gb_attend_prefill(__nv_bfloat16* __restrict__ attended, const __nv_bfloat16* q,
                      const __nv_bfloat16* kv, const int4* tiles, const int* tables, int heads,
                      int kv_heads, int block_size, float scale_log2) {
    GB_DYN_SMEM(__nv_bfloat16, stages);
    gb_pdl_wait();
    // The last tiles of a prompt see the most keys: they start first.
    const int4 tile = tiles[gridDim.y - 1 - blockIdx.y];
    const int head = blockIdx.x;
    const PrefillTile of = {tile, heads / kv_heads, head, heads};
    if (tile.z <= 0) {
        return;
    }
    const PrefillPool pool = {kv + static_cast<size_t>(head) * block_size * GB_TOKEN,
                              tables + tile.x, kv_heads, block_size, tile.w + tile.z - 1};
    prefill_begin(pool, stages, 0);
    gb_pdl_launch();

    const longlong2 places =
        make_longlong2(prefill_place(of, prefill_row(0)), prefill_place(of, prefill_row(1)));
    uint32_t query[8][4];
    gb_query_load(query, places.x < 0 ? nullptr : q + places.x,
                  places.y < 0 ? nullptr : q + places.y);
    PrefillRows totals;
    totals.parked = reinterpret_cast<float4*>(stages + PREFILL_STAGES * PREFILL_KEYS * GB_TOKEN) +
                    threadIdx.x;
    prefill_places(totals) = places;
    prefill_clear(totals);
    prefill_attend(pool, of, query, stages, 0, scale_log2,
                   [&](const GbAttention& segment, int) { prefill_merge(totals, segment); });
    prefill_store(totals, attended);
}
GB_KERNEL(gb_attend_prefill)

// Block z of a tile takes an equal share of the segments of its last row. `places` is, for each
// tile, the index of its first token among those that gb_attend_combine merges.
extern "C" __global__ void __launch_bounds__(32 * PREFILL_WARPS, 1)
    gb_attend_prefill_split(float* __restrict__ part_o, float* __restrict__ part_ml,
                            const __nv_bfloat16* q, const __nv_bfloat16* kv, const int4* tiles,
                            const int* places, const int* tables, int heads, int kv_heads,
                            int block_size, int max_segments, float scale_log2) {
    GB_DYN_SMEM(__nv_bfloat16, stages);
    const int4 tile = tiles[blockIdx.y];
    const int head = blockIdx.x, last = tile.w + tile.z - 1;
    const PrefillTile of = {tile, heads / kv_heads, head, heads};
    const int segments = last / GB_SEGMENT + 1, blocks = gridDim.z;
    const int share = (segments + blocks - 1) / blocks, first = blockIdx.z * share;
    const PrefillPool pool = {kv + static_cast<size_t>(head) * block_size * GB_TOKEN,
                              tables + tile.x, kv_heads, block_size,
                              min(last, (first + share) * GB_SEGMENT - 1)};
    const PrefillParts parts = {part_o, part_ml,
                                static_cast<size_t>(places[blockIdx.y]) * max_segments,
                                max_segments};
    gb_pdl_wait();
    if (tile.z <= 0 || first >= segments) {
        return;
    }
    prefill_begin(pool, stages, first * GB_SEGMENT);
    gb_pdl_launch();
    const long long low = prefill_place(of, prefill_row(0));
    const long long high = prefill_place(of, prefill_row(1));
    uint32_t query[8][4];
    gb_query_load(query, low < 0 ? nullptr : q + low, high < 0 ? nullptr : q + high);
    prefill_attend(pool, of, query, stages, first * GB_SEGMENT, scale_log2,
                   [&](const GbAttention& segment, int index) {
                       prefill_leave(parts, of, index, segment);
                   });
}
GB_KERNEL(gb_attend_prefill_split)
