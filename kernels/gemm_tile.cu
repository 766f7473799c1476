// Products for many rows: a block has OUTPUTS outputs of ROWS rows, and a ring of shared-memory
// stages, each of DEPTH elements along K, through which weights and rows come in the background.
//
// A warp has a part of the block's tile in registers, twice: the sums of the current segment of K,
// and their total. Weights lie in a stage as they are packed, so a fragment is one read of 16 bytes
// a lane; chunks of 8 elements of a row are swizzled, so that ldmatrix meets every bank once.
// Results leave through shared memory, whole lines at a time.
//
// The grid is ceil(n / OUTPUTS) * ceil(m / ROWS) blocks, in bands of 8 tiles of rows that go over
// all outputs: blocks that run together share both weights and rows in the L2.
#include "gemm.cuh"

namespace gb_tile {

using namespace gb_gemm;

// The tiles of rows that go over the outputs together.
constexpr int BAND = 8;

template <int OUTPUTS_, int ROWS_, int WARPS_OUT_, int WARPS_ROW_, int DEPTH_, int STAGES_,
          int RESIDENT_>
struct Shape {
    static constexpr int OUTPUTS = OUTPUTS_;
    static constexpr int ROWS = ROWS_;
    static constexpr int WARPS_OUT = WARPS_OUT_;
    static constexpr int WARPS_ROW = WARPS_ROW_;
    static constexpr int DEPTH = DEPTH_;
    static constexpr int STAGES = STAGES_;
    static constexpr int RESIDENT = RESIDENT_;

    static constexpr int THREADS = 32 * WARPS_OUT * WARPS_ROW;
    static constexpr int STEPS = DEPTH / TILE;  // of a stage, along K
    static constexpr int CHUNKS = DEPTH / 8;    // of a row in a stage
    static constexpr int TILES = OUTPUTS / TILE;
    static constexpr int WARP_TILES = TILES / WARPS_OUT;   // of 16 outputs, a warp's
    static constexpr int WARP_EIGHTS = ROWS / WARPS_ROW / 8;  // of 8 rows, a warp's
    static constexpr int WEIGHTS = OUTPUTS * DEPTH;        // elements of a stage
    static constexpr int STAGE = WEIGHTS + ROWS * DEPTH;   // elements of a stage, rows and all
    static constexpr int RESULT_LD = OUTPUTS + 4;          // rows of results, padded

    static_assert(SEGMENT % DEPTH == 0 && STEPS % 2 == 0 && WARP_EIGHTS % 2 == 0, "the shape");
    static_assert(THREADS % (STEPS * 32) == 0 || STEPS * 32 % THREADS == 0, "the copies");
    static_assert(TILES * STEPS * 32 % THREADS == 0, "the copies of weights");
    static_assert(ROWS * CHUNKS % THREADS == 0 && THREADS / CHUNKS % 8 == 0, "those of rows");
    static_assert(STAGES * STAGE * 2 >= ROWS * RESULT_LD * 4, "room for the results");
};

// The block's place among the outputs and rows.
struct Place {
    int tile;  // the first of its tiles of outputs
    int row;
};

template <class S>
GB_DEV Place place_of(const Product& p) {
    const int out_blocks = ceil_div(p.n, S::OUTPUTS), row_blocks = ceil_div(p.m, S::ROWS);
    const int band = static_cast<int>(blockIdx.x) / (BAND * out_blocks);
    const int within = static_cast<int>(blockIdx.x) % (BAND * out_blocks);
    const int height = smaller(BAND, row_blocks - band * BAND);
    return {within / height * S::TILES, (band * BAND + within % height) * S::ROWS};
}

template <class S>
GB_DEV int chunk_at(int row, int chunk) {
    return row * S::DEPTH + ((chunk ^ (row & 7)) << 3);
}

// What a thread copies: every THREADS-th piece of 16 bytes of a stage's weights and of its rows.
// One pointer into each is all it keeps: the other pieces lie at distances that the whole block
// has in common.
struct Copies {
    const __nv_bfloat16* weights;
    const __nv_bfloat16* rows;
    size_t tile_stride;  // in elements of packed weights
    size_t row_stride;
    int to_weights;  // in elements of a stage
    int to_rows;
    int tiles_left;  // of the matrix, from the first piece's on
    int rows_left;
    int k_tiles_left;  // of K, from the first piece's on, as the copies go ahead
    int elements_left;
};

template <class S>
GB_DEV Copies copies_of(const Product& p, const Place& place) {
    const int thread = static_cast<int>(threadIdx.x), within = thread % (S::STEPS * 32);
    const int tile = place.tile + thread / (S::STEPS * 32);
    const int row = thread / S::CHUNKS, chunk = thread % S::CHUNKS;
    Copies c;
    c.tile_stride = static_cast<size_t>(p.k) * TILE;
    c.row_stride = static_cast<size_t>(p.k);
    c.weights = p.packed + tile * c.tile_stride + within * LANE_WEIGHTS;
    c.rows = p.x + (place.row + row) * c.row_stride + chunk * 8;
    c.to_weights = thread * LANE_WEIGHTS;
    c.to_rows = S::WEIGHTS + chunk_at<S>(row, chunk);
    c.tiles_left = ceil_div(p.n, TILE) - tile;
    c.rows_left = p.m - place.row - row;
    c.k_tiles_left = p.k / TILE - within / 32;
    c.elements_left = p.k - chunk * 8;
    return c;
}

// Starts the copies of the next stage's weights. Outputs beyond n are 0; what is beyond K is left
// alone here and in the rows, as nothing comes of it.
template <class S>
GB_DEV void copy_weights(__nv_bfloat16* stage, Copies& c) {
    constexpr int RUN = S::STEPS * 32;  // the pieces of a tile
#pragma unroll
    for (int first = 0; first < S::TILES * RUN; first += S::THREADS) {
        const int tile = first / RUN, within = first % RUN;
        if (within / 32 < c.k_tiles_left) {
            gb_cp_async16_zfill(stage + c.to_weights + first * LANE_WEIGHTS,
                                c.weights + tile * c.tile_stride + within * LANE_WEIGHTS,
                                tile < c.tiles_left);
        }
    }
    c.weights += RUN * LANE_WEIGHTS;
    c.k_tiles_left -= S::STEPS;
}

// Starts the copies of the next stage's rows. Rows beyond m are 0.
template <class S>
GB_DEV void copy_rows(__nv_bfloat16* stage, Copies& c) {
    if (c.elements_left > 0) {
#pragma unroll
        for (int first = 0; first < S::ROWS * S::CHUNKS; first += S::THREADS) {
            const int row = first / S::CHUNKS;
            gb_cp_async16_zfill(stage + c.to_rows + row * S::DEPTH, c.rows + row * c.row_stride,
                                row < c.rows_left);
        }
    }
    c.rows += S::DEPTH;
    c.elements_left -= S::DEPTH;
}

// The operands of a step of 16 along K of a warp's part of the tile.
template <class S>
struct Fragments {
    uint32_t weights[S::WARP_TILES][4];
    uint32_t rows[S::WARP_EIGHTS / 2][4];
};

template <class S>
GB_DEV void read(Fragments<S>& to, const __nv_bfloat16* stage, int step) {
    const int lane = gb_lane(), warp = static_cast<int>(threadIdx.x / 32);
    const int first_tile = warp / S::WARPS_ROW * S::WARP_TILES;
    const int first_row = warp % S::WARPS_ROW * S::WARP_EIGHTS * 8;
#pragma unroll
    for (int pair = 0; pair < S::WARP_EIGHTS / 2; pair++) {
        // Matrices 0 and 1 are the two halves along K of the first 8 rows, 2 and 3 of the next.
        const int row = first_row + 16 * pair + (lane & 7) + (lane >> 4) * 8;
        const int chunk = 2 * step + ((lane >> 3) & 1);
        gb_ldsm4(to.rows[pair], stage + S::WEIGHTS + chunk_at<S>(row, chunk));
    }
#pragma unroll
    for (int i = 0; i < S::WARP_TILES; i++) {
        const int index = ((first_tile + i) * S::STEPS + step) * 32 + lane;
        const uint4 v = *reinterpret_cast<const uint4*>(stage + index * LANE_WEIGHTS);
        to.weights[i][0] = v.x;
        to.weights[i][1] = v.y;
        to.weights[i][2] = v.z;
        to.weights[i][3] = v.w;
    }
}

template <class S>
GB_DEV void multiply(float (&sums)[S::WARP_TILES][S::WARP_EIGHTS][4], const Fragments<S>& of) {
#pragma unroll
    for (int i = 0; i < S::WARP_TILES; i++) {
#pragma unroll
        for (int j = 0; j < S::WARP_EIGHTS; j++) {
            const uint32_t (&rows)[4] = of.rows[j / 2];
            gb_mma16816(sums[i][j], of.weights[i], rows[j % 2 * 2], rows[j % 2 * 2 + 1]);
        }
    }
}

template <class S>
GB_DEV void start(float (&total)[S::WARP_TILES][S::WARP_EIGHTS][4]) {
#pragma unroll
    for (int i = 0; i < S::WARP_TILES; i++) {
#pragma unroll
        for (int j = 0; j < S::WARP_EIGHTS; j++) {
#pragma unroll
            for (int c = 0; c < 4; c++) {
                total[i][j][c] = NOTHING;
            }
        }
    }
}

// The segment is over: its sums join the total.
template <class S>
GB_DEV void end_segment(float (&total)[S::WARP_TILES][S::WARP_EIGHTS][4],
                        const float (&sums)[S::WARP_TILES][S::WARP_EIGHTS][4]) {
#pragma unroll
    for (int i = 0; i < S::WARP_TILES; i++) {
#pragma unroll
        for (int j = 0; j < S::WARP_EIGHTS; j++) {
#pragma unroll
            for (int c = 0; c < 4; c++) {
                total[i][j][c] += sums[i][j][c];
            }
        }
    }
}

// A warp's results, to shared memory: [ROWS][RESULT_LD] f32.
template <class S>
GB_DEV void put_results(float* results, const float (&total)[S::WARP_TILES][S::WARP_EIGHTS][4]) {
    const int lane = gb_lane(), warp = static_cast<int>(threadIdx.x / 32);
    const int first_tile = warp / S::WARPS_ROW * S::WARP_TILES;
    const int first_row = warp % S::WARPS_ROW * S::WARP_EIGHTS * 8;
#pragma unroll
    for (int i = 0; i < S::WARP_TILES; i++) {
#pragma unroll
        for (int j = 0; j < S::WARP_EIGHTS; j++) {
            float* at = results + (first_row + 8 * j + 2 * (lane & 3)) * S::RESULT_LD +
                        (first_tile + i) * TILE + (lane >> 2);
            at[0] = total[i][j][0];
            at[S::RESULT_LD] = total[i][j][1];
            at[8] = total[i][j][2];
            at[S::RESULT_LD + 8] = total[i][j][3];
        }
    }
}

GB_DEV float4 four_at(const float* from) {
    return *reinterpret_cast<const float4*>(from);
}

// Eight of a tile's activated outputs of a row: gates at `from`, ups 8 further.
GB_DEV uint4 swiglu8(const float* from) {
    const float4 gate0 = four_at(from), gate1 = four_at(from + 4);
    const float4 up0 = four_at(from + 8), up1 = four_at(from + 12);
    return uint4{gb_pack(swiglu(gate0.x, up0.x), swiglu(gate0.y, up0.y)),
                 gb_pack(swiglu(gate0.z, up0.z), swiglu(gate0.w, up0.w)),
                 gb_pack(swiglu(gate1.x, up1.x), swiglu(gate1.y, up1.y)),
                 gb_pack(swiglu(gate1.z, up1.z), swiglu(gate1.w, up1.w))};
}

// Takes the results from shared memory to where they belong, 16 bytes a thread.
template <class S, Epilogue EPILOGUE>
GB_DEV void finish(const Product& p, const Place& place, const float* results) {
    constexpr int WIDTH = EPILOGUE == Epilogue::SwiGlu ? TILE : 4;  // outputs of a thread
    constexpr int ACROSS = S::OUTPUTS / WIDTH;
    for (int i = static_cast<int>(threadIdx.x); i < S::ROWS * ACROSS; i += S::THREADS) {
        const int row = place.row + i / ACROSS;
        const int output = place.tile * TILE + i % ACROSS * WIDTH;
        if (row >= p.m || output >= p.n) {
            continue;
        }
        const float* from = results + i / ACROSS * S::RESULT_LD + i % ACROSS * WIDTH;
        const size_t line = static_cast<size_t>(row) * p.ld_out;
        if (EPILOGUE == Epilogue::SwiGlu) {
            __nv_bfloat16* to = static_cast<__nv_bfloat16*>(p.out) + line + output / 2;
            *reinterpret_cast<uint4*>(to) = swiglu8(from);
            continue;
        }
        float4* to = reinterpret_cast<float4*>(static_cast<float*>(p.out) + line + output);
        float4 v = four_at(from);
        if (EPILOGUE == Epilogue::Add) {
            const float4 before = *to;
            v = float4{before.x + v.x, before.y + v.y, before.z + v.z, before.w + v.w};
        }
        *to = v;
    }
}

// All steps along K: adds what they come to to the warp's total.
template <class S>
GB_DEV void accumulate(float (&total)[S::WARP_TILES][S::WARP_EIGHTS][4], __nv_bfloat16* stages,
                       Copies& copies, int k_tiles) {
    Fragments<S> fragments[2];
    int stage = 0, refill = S::STAGES - 1;
    gb_cp_wait<S::STAGES - 2>();
    __syncthreads();
    read<S>(fragments[0], stages, 0);
#pragma unroll 1
    for (int left = k_tiles; left > 0; left -= SEGMENT_TILES) {
        float sums[S::WARP_TILES][S::WARP_EIGHTS][4] = {};
        const int steps = smaller(left, SEGMENT_TILES);
#pragma unroll 1
        for (int turn = 0; turn < steps / S::STEPS; turn++) {
            // Everybody has read the stage before this one: it takes what is STAGES - 1 ahead.
            copy_weights<S>(stages + refill * S::STAGE, copies);
            copy_rows<S>(stages + refill * S::STAGE, copies);
            gb_cp_commit();
#pragma unroll
            for (int step = 0; step < S::STEPS; step++) {
                const int ahead = (step + 1) % S::STEPS;
                if (ahead == 0) {
                    // This stage is read; everybody's copies of the next one come.
                    refill = stage;
                    stage = stage + 1 == S::STAGES ? 0 : stage + 1;
                    gb_cp_wait<S::STAGES - 2>();
                    __syncthreads();
                }
                read<S>(fragments[(step + 1) % 2], stages + stage * S::STAGE, ahead);
                multiply<S>(sums, fragments[step % 2]);
            }
        }
        // The rest of a shorter last segment: less than a stage, and nothing comes after it.
#pragma unroll 1
        for (int step = 0; step < steps % S::STEPS; step++) {
            read<S>(fragments[0], stages + stage * S::STAGE, step);
            multiply<S>(sums, fragments[0]);
        }
        end_segment<S>(total, sums);
    }
}

template <class S, Epilogue EPILOGUE>
GB_DEV void run(const Product& p) {
    GB_DYN_SMEM(__nv_bfloat16, stages);
    const Place place = place_of<S>(p);
    Copies copies = copies_of<S>(p, place);

    // Weights may be read before the wait, rows may not.
#pragma unroll 1
    for (int stage = 0; stage < S::STAGES - 1; stage++) {
        copy_weights<S>(stages + stage * S::STAGE, copies);
    }
    gb_pdl_wait();
    gb_pdl_launch();
#pragma unroll 1
    for (int stage = 0; stage < S::STAGES - 1; stage++) {
        copy_rows<S>(stages + stage * S::STAGE, copies);
        gb_cp_commit();
    }
    float total[S::WARP_TILES][S::WARP_EIGHTS][4];
    start<S>(total);
    accumulate<S>(total, stages, copies, p.k / TILE);

    // The results take the place of the stages: nobody reads those any more, and no copy is left.
    gb_cp_wait<0>();
    __syncthreads();
    float* results = reinterpret_cast<float*>(stages);
    put_results<S>(results, total);
    __syncthreads();
    finish<S, EPILOGUE>(p, place, results);
}

// Outputs, rows, warps along each, elements along K of a stage, stages, blocks an SM.
using Shape128x128 = Shape<128, 128, 2, 4, 64, 4, 1>;
using Shape128x64 = Shape<128, 64, 4, 2, 64, 4, 2>;
using Shape64x64 = Shape<64, 64, 2, 2, 64, 6, 2>;
using Shape32x64 = Shape<32, 64, 2, 2, 128, 4, 2>;
using Shape32x32 = Shape<32, 32, 2, 2, 128, 6, 2>;

}  // namespace gb_tile

#define GB_TILE(name, epilogue, size)                                                             \
    extern "C" __global__ void __launch_bounds__(gb_tile::Shape##size::THREADS, \
        gb_tile::Shape##size::RESIDENT) \
        name(void* out, const __nv_bfloat16* packed, const __nv_bfloat16* x, int m, int n, int k, \
             int ld_out) {                                                                        \
        const gb_gemm::Product p = {out, packed, x, m, n, k, ld_out};                             \
        gb_tile::run<gb_tile::Shape##size, gb_gemm::Epilogue::epilogue>(p);                       \
    }                                                                                             \
    GB_KERNEL(name)

GB_TILE(gb_tile_store_128x128, Store, 128x128)
GB_TILE(gb_tile_store_128x64, Store, 128x64)
GB_TILE(gb_tile_store_64x64, Store, 64x64)
GB_TILE(gb_tile_store_32x64, Store, 32x64)
GB_TILE(gb_tile_store_32x32, Store, 32x32)
GB_TILE(gb_tile_add_128x128, Add, 128x128)
GB_TILE(gb_tile_add_128x64, Add, 128x64)
GB_TILE(gb_tile_add_64x64, Add, 64x64)
GB_TILE(gb_tile_add_32x64, Add, 32x64)
GB_TILE(gb_tile_add_32x32, Add, 32x32)
GB_TILE(gb_tile_swiglu_128x128, SwiGlu, 128x128)
GB_TILE(gb_tile_swiglu_128x64, SwiGlu, 128x64)
GB_TILE(gb_tile_swiglu_64x64, SwiGlu, 64x64)
GB_TILE(gb_tile_swiglu_32x64, SwiGlu, 32x64)
GB_TILE(gb_tile_swiglu_32x32, SwiGlu, 32x32)
