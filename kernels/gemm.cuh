// What the products of packed weights share: the order of their sums, how fragments are read, and
// what becomes of a result. See kernels/README.md for the layouts and for which product to launch.
#pragma once
#include "gb.cuh"

namespace gb_gemm {

// The outputs, and the elements along K, of a tile of packed weights.
constexpr int TILE = 16;

// The bytes of a tile, and the bf16 of it that a lane holds.
constexpr int TILE_BYTES = 512;
constexpr int LANE_WEIGHTS = 8;

// Sums start anew every so many elements along K.
constexpr int SEGMENT = 256;
constexpr int SEGMENT_TILES = SEGMENT / TILE;

// What becomes of a result v of row r and output n.
enum class Epilogue {
    Store,   // f32 out[r][n] = v
    Add,     // f32 out[r][n] += v
    SwiGlu,  // bf16 out[r][i] = silu(gate i) * up i, of the packing that interleaves the two
};

// The arguments of every product: out[m rows][n outputs] of rows of k elements.
struct Product {
    void* out;
    const __nv_bfloat16* packed;
    const __nv_bfloat16* x;
    int m;
    int n;
    int k;
    int ld_out;
};

GB_DEV int ceil_div(int a, int b) {
    return (a + b - 1) / b;
}

GB_DEV int smaller(int a, int b) {
    return a < b ? a : b;
}

// Where a tile's 16 bytes of this lane are.
GB_DEV const __nv_bfloat16* tile_at(const Product& p, int tile, int k_tile) {
    const size_t index = static_cast<size_t>(tile) * (p.k / TILE) + k_tile;
    return p.packed + (index * 32 + gb_lane()) * LANE_WEIGHTS;
}

GB_DEV float swiglu(float gate, float up) {
    return gate / (1.0f + __expf(-gate)) * up;
}

// What totals start from: a segment's value added to it is that value, to the bit.
constexpr float NOTHING = -0.0f;

}  // namespace gb_gemm
