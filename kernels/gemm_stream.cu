// Products for few rows: as fast as memory gives the weights, which go from global memory straight
// to registers, each exactly once.
//
// A block has `warps` warps (blockDim.x = 32 * warps, 128 threads at least) and every gridDim.x-th
// tile of 16 outputs; results do not depend on either. In a round each warp multiplies one segment
// of K for each of these tiles in turn; what the warps come to meets in shared memory, where the
// first four warps add it up in the order of the segments. A warp loads a whole segment of a tile
// (8 KiB) ahead, piece by piece as it uses up the one before, so 8 KiB a warp are under way always.
//
// Dynamic shared memory (ROWS is the number in the kernel's name, its bound on m):
//   rows      [slots][ROWS][256] bf16: a slot is a warp's, for its segment of this round; where
//             the rows are normed here, a slot is a segment of K
//   partials  [2][warps][ROWS][20] f32
//   totals    [tiles of a block][ROWS][16] f32, where there is more than one round
#include "gemm.cuh"
#include "norm.cuh"

namespace gb_stream {

using namespace gb_gemm;

// The threads that add partial sums up, and the outputs of a row of partials with their padding:
// 4 rows of two banks of 8 never meet.
constexpr int ADDERS = 128;
constexpr int PARTIAL_LD = 20;

// The place of 8 elements of a row in its slot: no two of 8 rows that ldmatrix reads at once are
// in the same banks.
GB_DEV int slot_at(int row, int chunk) {
    return row * SEGMENT + ((chunk ^ (row & 7)) << 3);
}

// A piece of work of a warp: a segment of a tile.
struct Unit {
    const __nv_bfloat16* weights;
    int steps;  // 0: none
};

struct Block {
    int warps;
    int warp;
    int tiles;  // of this block
    int k_tiles;
    int segments;
    int rounds;
};

GB_DEV Block block_of(const Product& p) {
    Block block;
    block.warps = static_cast<int>(blockDim.x / 32);
    block.warp = static_cast<int>(threadIdx.x / 32);
    const int after = ceil_div(p.n, TILE) - static_cast<int>(blockIdx.x);
    block.tiles = ceil_div(after, static_cast<int>(gridDim.x));
    block.k_tiles = p.k / TILE;
    block.segments = ceil_div(block.k_tiles, SEGMENT_TILES);
    block.rounds = ceil_div(block.segments, block.warps);
    return block;
}

// The matrix's tile that is the block's tile `index`.
GB_DEV int tile_of(int index) {
    return static_cast<int>(blockIdx.x) + index * static_cast<int>(gridDim.x);
}

GB_DEV Unit unit_at(const Product& p, int index, int segment) {
    const int left = p.k / TILE - segment * SEGMENT_TILES;
    Unit unit = {p.packed, 0};
    if (left > 0) {
        unit.weights = tile_at(p, tile_of(index), segment * SEGMENT_TILES);
        unit.steps = smaller(left, SEGMENT_TILES);
    }
    return unit;
}

GB_DEV void load_tile(uint32_t (&fragment)[4], const __nv_bfloat16* from) {
    const uint4 v = gb_load_stream(from);
    fragment[0] = v.x;
    fragment[1] = v.y;
    fragment[2] = v.z;
    fragment[3] = v.w;
}

// Loads all of a unit. The branches are more than a short cut: with them ptxas keeps these loads
// before the wait for the kernel before this one.
GB_DEV void load_first(uint32_t (&weights)[SEGMENT_TILES][4], const Unit& unit) {
    if (unit.steps == SEGMENT_TILES) {
#pragma unroll
        for (int step = 0; step < SEGMENT_TILES; step++) {
            load_tile(weights[step], unit.weights + step * (TILE_BYTES / 2));
        }
    } else {
#pragma unroll
        for (int step = 0; step < SEGMENT_TILES; step++) {
            if (step < unit.steps) {
                load_tile(weights[step], unit.weights + step * (TILE_BYTES / 2));
            }
        }
    }
}

// How much of two units there is, as far as the compiler can tell.
enum class Known { Whole, WholeAndNone, Nothing };

// Multiplies the unit whose weights are in registers, and loads the next one's in their place.
template <int ROWS, Known KNOWN>
GB_DEV void multiply(float (&sums)[ROWS / 8][4], uint32_t (&weights)[SEGMENT_TILES][4],
                     const __nv_bfloat16* slot, int steps, const Unit& next) {
    const int lane = gb_lane();
#pragma unroll
    for (int step = 0; step < SEGMENT_TILES; step += 2) {
        uint32_t rows[ROWS / 8][4];
#pragma unroll
        for (int r = 0; r < ROWS / 8; r++) {
            gb_ldsm4(rows[r], slot + slot_at(8 * r + (lane & 7), 2 * step + (lane >> 3)));
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            uint32_t (&fragment)[4] = weights[step + half];
            if (KNOWN != Known::Nothing || step + half < steps) {
#pragma unroll
                for (int r = 0; r < ROWS / 8; r++) {
                    gb_mma16816(sums[r], fragment, rows[r][2 * half], rows[r][2 * half + 1]);
                }
            }
            if (KNOWN == Known::Whole ||
                (KNOWN == Known::Nothing && step + half < next.steps)) {
                load_tile(fragment, next.weights + (step + half) * (TILE_BYTES / 2));
            }
        }
    }
}

template <int ROWS>
GB_DEV void multiply_unit(float (&sums)[ROWS / 8][4], uint32_t (&weights)[SEGMENT_TILES][4],
                          const __nv_bfloat16* slot, int steps, const Unit& next) {
    if (steps == SEGMENT_TILES && next.steps == SEGMENT_TILES) {
        multiply<ROWS, Known::Whole>(sums, weights, slot, steps, next);
    } else if (steps == SEGMENT_TILES && next.steps == 0) {
        multiply<ROWS, Known::WholeAndNone>(sums, weights, slot, steps, next);
    } else if (steps > 0) {
        multiply<ROWS, Known::Nothing>(sums, weights, slot, steps, next);
    }
}

// Brings a segment of the rows into a warp's own slot. Rows beyond m are 0.
template <int ROWS>
GB_DEV void stage_rows(__nv_bfloat16* slot, const Product& p, int segment, int steps) {
    const int chunk = gb_lane();
    __syncwarp();
#pragma unroll
    for (int row = 0; row < ROWS; row++) {
        if (chunk < 2 * steps) {
            const size_t from = static_cast<size_t>(row < p.m ? row : 0) * p.k;
            gb_cp_async16_zfill(slot + slot_at(row, chunk),
                                p.x + from + segment * SEGMENT + chunk * 8, row < p.m);
        }
    }
    gb_cp_commit();
    gb_cp_wait<0>();
    __syncwarp();
}

// A warp's sums of a segment, for the threads that add up.
template <int ROWS>
GB_DEV void put_partial(float* partial, const float (&sums)[ROWS / 8][4]) {
    const int group = gb_lane() >> 2, pair = 2 * (gb_lane() & 3);
#pragma unroll
    for (int r = 0; r < ROWS / 8; r++) {
        float* at = partial + (8 * r + pair) * PARTIAL_LD + group;
        at[0] = sums[r][0];
        at[PARTIAL_LD] = sums[r][1];
        at[8] = sums[r][2];
        at[PARTIAL_LD + 8] = sums[r][3];
    }
}

// What a thread that adds up has of a tile: output threadIdx.x % 16 of rows threadIdx.x / 16 + 8 r.
template <int ROWS>
struct Outputs {
    float before[ROWS / 8];  // what there is to add to
};

// Fetches that ahead of the totals.
template <int ROWS, Epilogue EPILOGUE>
GB_DEV void fetch(Outputs<ROWS>& outputs, const Product& p, int index) {
    if (EPILOGUE == Epilogue::Add && threadIdx.x < ADDERS) {
        const int output = tile_of(index) * TILE + static_cast<int>(threadIdx.x & 15);
#pragma unroll
        for (int r = 0; r < ROWS / 8; r++) {
            const int row = 8 * r + static_cast<int>(threadIdx.x / 16);
            if (row < p.m && output < p.n) {
                const size_t line = static_cast<size_t>(row) * p.ld_out;
                outputs.before[r] = static_cast<const float*>(p.out)[line + output];
            }
        }
    }
}

// What becomes of a total. Lanes of gates take those of ups from 8 further.
template <Epilogue EPILOGUE>
GB_DEV void finish(const Product& p, int row, int output, float total, float before) {
    const size_t line = static_cast<size_t>(row) * p.ld_out;
    const bool present = row < p.m && output < p.n;
    if (EPILOGUE == Epilogue::SwiGlu) {
        const float up = __shfl_xor_sync(0xffffffffu, total, 8);
        if (present && (output & 8) == 0) {
            const int column = output / TILE * 8 + (output & 7);
            static_cast<__nv_bfloat16*>(p.out)[line + column] =
                __float2bfloat16(swiglu(total, up));
        }
    } else if (present) {
        static_cast<float*>(p.out)[line + output] =
            EPILOGUE == Epilogue::Add ? before + total : total;
    }
}

// Adds the round's segments of a tile to its total, in ascending order. A thread always has the
// same outputs and rows, and with them its places in `totals` to itself.
template <int ROWS, Epilogue EPILOGUE>
GB_DEV void add_up(const Product& p, const Block& block, const float* partials, float* totals,
                   int round, int index, const Outputs<ROWS>& outputs) {
    const int output = static_cast<int>(threadIdx.x & 15);
    const int present = smaller(block.warps, block.segments - round * block.warps);
#pragma unroll
    for (int r = 0; r < ROWS / 8; r++) {
        const int row = 8 * r + static_cast<int>(threadIdx.x / 16);
        float* kept = totals + (index * ROWS + row) * TILE + output;
        float total = round > 0 ? *kept : NOTHING;
#pragma unroll 4
        for (int warp = 0; warp < present; warp++) {
            total += partials[(warp * ROWS + row) * PARTIAL_LD + output];
        }
        if (round + 1 < block.rounds) {
            *kept = total;
        } else {
            const int at = tile_of(index) * TILE + output;
            finish<EPILOGUE>(p, row, at, total, outputs.before[r]);
        }
    }
}

// Four floats, or zeros.
GB_DEV float4 four_at(const float* from, bool present) {
    return present ? *reinterpret_cast<const float4*>(from) : make_float4(0, 0, 0, 0);
}

struct Norm {
    const float* x;
    const float* weights;
    float eps;
    float4 first_weights;  // this thread's, fetched ahead
};

GB_DEV Norm norm_of(const Product& p, const float* x, const float* weights, float eps) {
    const int i = 4 * static_cast<int>(threadIdx.x);
    return {x, weights, eps, four_at(weights + i, i < p.k)};
}

// Norms the rows into the slots of all segments: their scales by a warp a row, then the elements
// by all threads. Rows beyond m are 0. `scales` are ROWS floats of shared memory.
template <int ROWS>
GB_DEV void norm_rows(__nv_bfloat16* slots, float* scales, const Product& p, const Block& block,
                      const Norm& norm) {
    for (int row = block.warp; row < p.m; row += block.warps) {
        const float* x = norm.x + static_cast<size_t>(row) * p.k;
        const float scale = gb_row_scale(x, p.k, norm.eps);
        if (gb_lane() == 0) {
            scales[row] = scale;
        }
    }
    __syncthreads();
    float4 next_weights = norm.first_weights;
    const int stride = 4 * 32 * block.warps;
    for (int i = 4 * static_cast<int>(threadIdx.x); i < p.k; i += stride) {
        const float4 weights = next_weights;
        next_weights = four_at(norm.weights + i + stride, i + stride < p.k);
        __nv_bfloat16* slot = slots + i / SEGMENT * (ROWS * SEGMENT);
#pragma unroll
        for (int first = 0; first < ROWS; first += 4) {
            float4 v[4];
#pragma unroll
            for (int r = 0; r < 4; r++) {
                const size_t line = static_cast<size_t>(first + r) * p.k;
                v[r] = four_at(norm.x + line + i, first + r < p.m);
            }
#pragma unroll
            for (int r = 0; r < 4; r++) {
                const int row = first + r;
                const float scale = row < p.m ? scales[row] : 0.0f;
                __nv_bfloat16* to = slot + slot_at(row, i % SEGMENT / 8) + i % 8;
                *reinterpret_cast<uint2*>(to) = gb_norm4(v[r], scale, weights);
            }
        }
    }
    __syncthreads();
}

template <int ROWS, Epilogue EPILOGUE, bool NORM>
GB_DEV void run(const Product& p, const float* x, const float* norm_weights, float eps) {
    GB_DYN_SMEM(__nv_bfloat16, slots);
    Norm norm;
    if (NORM) {
        norm = norm_of(p, x, norm_weights, eps);
    }
    uint32_t weights[SEGMENT_TILES][4];
    Unit unit = unit_at(p, 0, static_cast<int>(threadIdx.x / 32));
    load_first(weights, unit);
    const Block block = block_of(p);
    const int partial_size = block.warps * ROWS * PARTIAL_LD;
    const int slot_count = NORM ? block.segments : block.warps;
    float* partials = reinterpret_cast<float*>(slots + slot_count * ROWS * SEGMENT);
    float* totals = partials + 2 * partial_size;

    gb_pdl_wait();
    gb_pdl_launch();
    if (NORM) {
        norm_rows<ROWS>(slots, partials, p, block, norm);
    }
    int turn = 0;
    for (int round = 0; round < block.rounds; round++) {
        const int segment = round * block.warps + block.warp;
        __nv_bfloat16* slot = slots + (NORM ? segment : block.warp) * ROWS * SEGMENT;
        if (!NORM && unit.steps > 0) {
            stage_rows<ROWS>(slot, p, segment, unit.steps);
        }
        for (int index = 0; index < block.tiles; index++) {
            Outputs<ROWS> outputs;
            if (round + 1 == block.rounds) {
                fetch<ROWS, EPILOGUE>(outputs, p, index);
            }
            const bool last = index + 1 == block.tiles;
            const Unit next =
                unit_at(p, last ? 0 : index + 1, last ? segment + block.warps : segment);
            float* partial = partials + turn * partial_size;
            float sums[ROWS / 8][4] = {};
            multiply_unit<ROWS>(sums, weights, slot, unit.steps, next);
            if (unit.steps > 0) {
                put_partial<ROWS>(partial + block.warp * ROWS * PARTIAL_LD, sums);
            }
            // One barrier is enough: who writes these partials again has passed the next one,
            // which the threads that add up reach when they have read them.
            __syncthreads();
            if (threadIdx.x < ADDERS) {
                add_up<ROWS, EPILOGUE>(p, block, partial, totals, round, index, outputs);
            }
            unit = next;
            turn ^= 1;
        }
    }
}

}  // namespace gb_stream

// The bounds on threads: 16 warps of 128 registers for 8 rows, 12 for 16 rows, 8 for 32 rows.
#define GB_STREAM(name, epilogue, rows, threads)                                                  \
    extern "C" __global__ void __launch_bounds__(threads)                                         \
        name(void* out, const __nv_bfloat16* packed, const __nv_bfloat16* x, int m, int n, int k, \
             int ld_out) {                                                                        \
        const gb_gemm::Product p = {out, packed, x, m, n, k, ld_out};                             \
        gb_stream::run<rows, gb_gemm::Epilogue::epilogue, false>(p, nullptr, nullptr, 0.0f);      \
    }                                                                                             \
    GB_KERNEL(name)

#define GB_STREAM_NORM(name, epilogue, rows, threads)                                             \
    extern "C" __global__ void __launch_bounds__(threads)                                         \
        name(void* out, const __nv_bfloat16* packed, const float* x, const float* norm_weight,    \
             float eps, int m, int n, int k, int ld_out) {                                        \
        const gb_gemm::Product p = {out, packed, nullptr, m, n, k, ld_out};                       \
        gb_stream::run<rows, gb_gemm::Epilogue::epilogue, true>(p, x, norm_weight, eps);          \
    }                                                                                             \
    GB_KERNEL(name)

GB_STREAM(gb_stream_store_8, Store, 8, 512)
GB_STREAM(gb_stream_store_16, Store, 16, 384)
GB_STREAM(gb_stream_store_32, Store, 32, 256)
GB_STREAM(gb_stream_add_8, Add, 8, 512)
GB_STREAM(gb_stream_add_16, Add, 16, 384)
GB_STREAM(gb_stream_add_32, Add, 32, 256)
GB_STREAM(gb_stream_swiglu_8, SwiGlu, 8, 512)
GB_STREAM(gb_stream_swiglu_16, SwiGlu, 16, 384)
GB_STREAM(gb_stream_swiglu_32, SwiGlu, 32, 256)
GB_STREAM_NORM(gb_stream_norm_store_8, Store, 8, 512)
GB_STREAM_NORM(gb_stream_norm_swiglu_8, SwiGlu, 8, 512)
