#include "packed.cuh"

// Row i of x is row tokens[i] of a packed matrix, zeros for a negative token. A block a row.
extern "C" __global__ void __launch_bounds__(256)
    gb_embed(float* __restrict__ x, const uint32_t* __restrict__ packed, const int* tokens,
             int hidden) {
    gb_pdl_wait();
    gb_pdl_launch();
    const int token = tokens[blockIdx.x];
    float* row = x + static_cast<size_t>(blockIdx.x) * hidden;
    for (int pair = static_cast<int>(threadIdx.x); pair < hidden / 2; pair += blockDim.x) {
        const uint32_t bits = token < 0 ? 0 : packed[gb_packed_word(token, pair, hidden)];
        *reinterpret_cast<float2*>(row + 2 * pair) = make_float2(gb_low(bits), gb_high(bits));
    }
}
GB_KERNEL(gb_embed)
