// Attention of single tokens over long contexts. A block computes whole segments of 128 keys for
// one KV head and its query heads, a warp one of their tiles, and leaves them in memory;
// gb_attend_combine merges them. What there is to do is shared out evenly over the blocks of the
// grid, whatever their number.
#include "attend.cuh"

constexpr int DECODE_WARPS = GB_SEGMENT / GB_TILE;
constexpr int DECODE_TILE = GB_TILE * GB_TOKEN;
constexpr int COMBINE_WARPS = 4;
// Partial results that a warp fetches at once.
constexpr int COMBINE_AHEAD = 4;

// The tokens to attend for.
struct DecodeRows {
    const int* rows;
    const int* positions;
    int count;
};

// Negative for padding.
GB_DEV int decode_row(const DecodeRows& all, int i) {
    return i < all.count ? all.rows[i] : -1;
}

GB_DEV int decode_position(const DecodeRows& all, int row) {
    return row < 0 ? -1 : all.positions[row];
}

GB_DEV int decode_segments(int position) {
    return position < 0 ? 0 : position / GB_SEGMENT + 1;
}

// A segment of a row and KV head, and how many from it on are the block's. The order is by row,
// then head, then segment, so that a block seldom changes its Q.
struct DecodeWork {
    int left;
    int index;  // in `rows`
    int row;
    int position;
    int head;
    int segment;
};

GB_DEV void decode_advance(DecodeWork& work, const DecodeRows& all, int kv_heads) {
    if (--work.left == 0 || ++work.segment < decode_segments(work.position)) {
        return;
    }
    work.segment = 0;
    if (++work.head < kv_heads) {
        return;
    }
    work.head = 0;
    do {
        work.row = decode_row(all, ++work.index);
        work.position = decode_position(all, work.row);
    } while (work.position < 0);
}

// The share of block blockIdx.x: the lanes of each warp look at 32 rows at a time.
GB_DEV DecodeWork decode_share(const DecodeRows& all, int kv_heads) {
    const int lane = gb_lane();
    int segments = 0;
    for (int i = lane; i < all.count; i += 32) {
        segments += decode_segments(decode_position(all, decode_row(all, i)));
    }
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes >>= 1) {
        segments += __shfl_xor_sync(0xffffffffu, segments, lanes);
    }
    const int items = segments * kv_heads, blocks = gridDim.x, block = blockIdx.x;
    const int share = items / blocks, more = items % blocks;
    const int first = block * share + min(block, more);
    DecodeWork work = {share + (block < more ? 1 : 0), 0, -1, -1, 0, 0};
    int before = 0;
    for (int base = 0; work.left > 0 && base < all.count; base += 32) {
        const int row = decode_row(all, base + lane);
        const int position = decode_position(all, row);
        const int own = decode_segments(position) * kv_heads;
        int until = own;
#pragma unroll
        for (int lanes = 1; lanes < 32; lanes <<= 1) {
            const int lower = __shfl_up_sync(0xffffffffu, until, lanes);
            until += lane >= lanes ? lower : 0;
        }
        until += before;
        const unsigned has = __ballot_sync(0xffffffffu, until - own <= first && first < until);
        before = __shfl_sync(0xffffffffu, until, 31);
        if (has != 0) {
            const int at = __ffs(has) - 1;
            const int inside = first - __shfl_sync(0xffffffffu, until - own, at);
            work.index = base + at;
            work.row = __shfl_sync(0xffffffffu, row, at);
            work.position = __shfl_sync(0xffffffffu, position, at);
            work.head = inside / decode_segments(work.position);
            work.segment = inside % decode_segments(work.position);
            break;
        }
    }
    return work;
}

struct DecodePool {
    const __nv_bfloat16* kv;
    const int* table_starts;
    const int* tables;
    int kv_heads, block_size;
};

// The first token of the warp's tile of a segment.
GB_DEV int decode_token(const DecodeWork& work) {
    return work.segment * GB_SEGMENT + (threadIdx.x >> 5) * GB_TILE;
}

// Whether there is any segment and such a tile.
GB_DEV bool decode_has(const DecodeWork& work) {
    return work.left > 0 && decode_token(work) <= work.position;
}

// The blocks of the two halves of the warp's tile: 16 tokens are always in one block.
GB_DEV int2 decode_blocks(const DecodeWork& work, const DecodePool& pool) {
    if (!decode_has(work)) {
        return make_int2(0, 0);
    }
    const int token = decode_token(work), shift = __ffs(pool.block_size) - 1;
    const int second = token + 16 <= work.position ? token + 16 : token;
    const int* table = pool.tables + pool.table_starts[work.row];
    return make_int2(table[token >> shift], table[second >> shift]);
}

// Starts the copies of the warp's tile of a segment, which lies in `blocks`.
GB_DEV void decode_load(const DecodeWork& work, const DecodePool& pool, int2 blocks,
                        __nv_bfloat16* tile) {
    if (decode_has(work)) {
        const int token = decode_token(work), shift = __ffs(pool.block_size) - 1;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int begin = token + 16 * half;
            const size_t block = half == 0 ? blocks.x : blocks.y;
            const size_t slot = ((block * pool.kv_heads + work.head) << shift) +
                                (begin & (pool.block_size - 1));
            gb_tile_load<16>(tile + 16 * half * GB_TOKEN, pool.kv + slot * GB_TOKEN,
                             work.position + 1 - begin);
        }
    }
    gb_cp_commit();
}

// Leaves what a tile comes to for the other warps, in the place of its K and V, which this warp
// alone has read: 16 bytes a lane for each 8 elements of the head, then the largest scores and
// the sums.
GB_DEV void decode_leave(const GbAttention& part, __nv_bfloat16* tile) {
    __syncwarp();
    float4* to = reinterpret_cast<float4*>(tile) + gb_lane();
#pragma unroll
    for (int d = 0; d < 16; d++) {
        to[32 * d] = make_float4(part.o[d][0], part.o[d][1], part.o[d][2], part.o[d][3]);
    }
    to[32 * 16] = make_float4(part.m[0], part.m[1], part.l[0], part.l[1]);
}

// Merges a segment's tiles in ascending order, each warp a quarter of the head, and stores them at
// the place of the group's first head.
GB_DEV void decode_merge(const __nv_bfloat16* stage, int tiles, float* part_o, float* part_ml,
                         size_t first, int group) {
    const int lane = gb_lane(), warp = threadIdx.x >> 5, g = lane >> 2, t = lane & 3;
    // Four eights of the head: the merged state has no others.
    GbAttention segment;
    gb_attention_clear(segment);
    for (int tile = 0; tile < tiles; tile++) {
        const float4* from = reinterpret_cast<const float4*>(stage + tile * DECODE_TILE) + lane;
        const float4 sums = from[32 * 16];
        const GbMerge low = gb_merge(segment.m[0], sums.x), high = gb_merge(segment.m[1], sums.y);
        segment.m[0] = low.m;
        segment.m[1] = high.m;
        segment.l[0] = gb_merged(low, segment.l[0], sums.z);
        segment.l[1] = gb_merged(high, segment.l[1], sums.w);
#pragma unroll
        for (int d = 0; d < 4; d++) {
            const float4 o = from[32 * (4 * warp + d)];
            segment.o[d][0] = gb_merged(low, segment.o[d][0], o.x);
            segment.o[d][1] = gb_merged(low, segment.o[d][1], o.y);
            segment.o[d][2] = gb_merged(high, segment.o[d][2], o.z);
            segment.o[d][3] = gb_merged(high, segment.o[d][3], o.w);
        }
    }
    gb_attention_close(segment);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        if (g + 8 * half < group) {
            const size_t head = first + g + 8 * half;
            float2* o = reinterpret_cast<float2*>(part_o + head * GB_HEAD) + 16 * warp + t;
#pragma unroll
            for (int d = 0; d < 4; d++) {
                o[4 * d] = make_float2(segment.o[d][2 * half], segment.o[d][2 * half + 1]);
            }
            if (warp == 0 && t == 0) {
                reinterpret_cast<float2*>(part_ml)[head] =
                    make_float2(segment.m[half], segment.l[half]);
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(32 * DECODE_WARPS)
    gb_attend_decode(float* __restrict__ part_o, float* __restrict__ part_ml,
                     const __nv_bfloat16* q, const __nv_bfloat16* kv, const int* rows,
                     const int* positions, const int* table_starts, const int* tables, int count,
                     int heads, int kv_heads, int block_size, int max_segments, int stages,
                     float scale_log2) {
    GB_DYN_SMEM(__nv_bfloat16, memory);
    const int group = heads / kv_heads, g = gb_lane() >> 2, warp = threadIdx.x >> 5;
    const DecodeRows all = {rows, positions, count};
    const DecodePool pool = {kv, table_starts, tables, kv_heads, block_size};
    DecodeWork work = decode_share(all, kv_heads);
    DecodeWork ahead = work;
    // Of the tile that is loaded next: looked up while the one before it is on its way.
    int2 blocks = decode_blocks(ahead, pool);
    const auto load = [&](int stage) {
        decode_load(ahead, pool, blocks, memory + (stage * DECODE_WARPS + warp) * DECODE_TILE);
        if (ahead.left > 0) {
            decode_advance(ahead, all, kv_heads);
        }
        blocks = decode_blocks(ahead, pool);
    };
    gb_pdl_wait();
    for (int i = 0; i < stages - 1; i++) {
        load(i);
    }
    gb_pdl_launch();
    uint32_t query[8][4];
    int query_row = -1, query_head = -1, stage = 0;
    while (work.left > 0) {
        if (work.row != query_row || work.head != query_head) {
            query_row = work.row;
            query_head = work.head;
            const size_t head = static_cast<size_t>(work.row) * heads + work.head * group + g;
            const __nv_bfloat16* low = q + head * GB_HEAD;
            gb_query_load(query, g < group ? low : nullptr,
                          g + 8 < group ? low + 8 * GB_HEAD : nullptr);
        }
        if (stages > 2) {
            gb_cp_wait<1>();
        } else {
            gb_cp_wait<0>();
        }
        // The segment is there, and nobody reads the stage that is loaded next.
        __syncthreads();
        load(stage == 0 ? stages - 1 : stage - 1);
        __nv_bfloat16* segment = memory + stage * DECODE_WARPS * DECODE_TILE;
        stage = stage + 1 == stages ? 0 : stage + 1;
        const int keys = min(work.position + 1 - work.segment * GB_SEGMENT, GB_SEGMENT);
        const int own = keys - warp * GB_TILE;
        if (own > 0) {
            GbAttention part;
            gb_attention_clear(part);
            const int seen[2] = {own, own};
            __nv_bfloat16* tile = segment + warp * DECODE_TILE;
            gb_attend_tile(part, query, tile, seen, own >= GB_TILE, scale_log2);
            decode_leave(part, tile);
        }
        __syncthreads();
        const size_t place = static_cast<size_t>(work.index) * max_segments + work.segment;
        decode_merge(segment, (keys + GB_TILE - 1) / GB_TILE, part_o, part_ml,
                     place * heads + work.head * group, group);
        decode_advance(work, all, kv_heads);
    }
}
GB_KERNEL(gb_attend_decode)

// A warp takes one head of one row: its lanes first find by what each of 32 segments is multiplied,
// then the segments are added in ascending order, 4 elements of the head a lane.
extern "C" __global__ void __launch_bounds__(32 * COMBINE_WARPS)
    gb_attend_combine(__nv_bfloat16* __restrict__ attended, const float* part_o,
                      const float* part_ml, const int* rows, const int* positions, int heads,
                      int max_segments) {
    const int lane = gb_lane();
    const int head = blockIdx.y * COMBINE_WARPS + (threadIdx.x >> 5);
    const int row = rows[blockIdx.x];
    const int count = row < 0 || head >= heads ? 0 : decode_segments(positions[row]);
    gb_pdl_wait();
    gb_pdl_launch();
    if (count == 0) {
        return;
    }
    const size_t first = static_cast<size_t>(blockIdx.x) * max_segments * heads + head;
    float4 o = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    float l = 0.0f, m = GB_UNSEEN;
    for (int base = 0; base < count; base += 32) {
        float2 own = make_float2(GB_UNSEEN, 0.0f);
        if (base + lane < count) {
            own = reinterpret_cast<const float2*>(part_ml)[first + (base + lane) * heads];
        }
        // The largest up to each segment: the order does not matter to it.
        float until = fmaxf(m, own.x);
#pragma unroll
        for (int lanes = 1; lanes < 32; lanes <<= 1) {
            const float lower = __shfl_up_sync(0xffffffffu, until, lanes);
            until = lane >= lanes ? fmaxf(until, lower) : until;
        }
        const float previous = __shfl_up_sync(0xffffffffu, until, 1);
        const GbMerge own_merge = gb_merge(lane == 0 ? m : previous, own.x);
        const int here = min(count - base, 32);
        for (int i = 0; i < here; i += COMBINE_AHEAD) {
            float4 parts[COMBINE_AHEAD];
#pragma unroll
            for (int j = 0; j < COMBINE_AHEAD; j++) {
                const size_t at = first + static_cast<size_t>(base + min(i + j, here - 1)) * heads;
                parts[j] = reinterpret_cast<const float4*>(part_o + at * GB_HEAD)[lane];
            }
#pragma unroll
            for (int j = 0; j < COMBINE_AHEAD; j++) {
                if (i + j < here) {
                    GbMerge by;
                    by.whole = __shfl_sync(0xffffffffu, own_merge.whole, i + j);
                    by.part = __shfl_sync(0xffffffffu, own_merge.part, i + j);
                    l = gb_merged(by, l, __shfl_sync(0xffffffffu, own.y, i + j));
                    o.x = gb_merged(by, o.x, parts[j].x);
                    o.y = gb_merged(by, o.y, parts[j].y);
                    o.z = gb_merged(by, o.z, parts[j].z);
                    o.w = gb_merged(by, o.w, parts[j].w);
                }
            }
        }
        m = __shfl_sync(0xffffffffu, until, 31);
    }
    const float inverse = __fdiv_rn(1.0f, l);
    uint2* to = reinterpret_cast<uint2*>(attended + (static_cast<size_t>(row) * heads + head) *
                                                        GB_HEAD);
    to[lane] = make_uint2(gb_pack(gb_attended(o.x, inverse), gb_attended(o.y, inverse)),
                          gb_pack(gb_attended(o.z, inverse), gb_attended(o.w, inverse)));
}
GB_KERNEL(gb_attend_combine)
