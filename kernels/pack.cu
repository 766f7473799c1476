#include "packed.cuh"

// Puts n rows of k bf16 into a packed matrix: row r becomes output
// (r / unit) * stride + r % unit + offset. Nothing else of the matrix is written. A thread a pair
// of elements.
extern "C" __global__ void __launch_bounds__(256)
    gb_pack_rows(uint32_t* __restrict__ packed, const uint32_t* rows, int n, int k, int unit,
                 int stride, int offset) {
    gb_pdl_wait();
    gb_pdl_launch();
    const size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const int row = static_cast<int>(i / (k / 2));
    const int pair = static_cast<int>(i % (k / 2));
    if (row < n) {
        const int output = row / unit * stride + row % unit + offset;
        packed[gb_packed_word(output, pair, k)] = rows[i];
    }
}
GB_KERNEL(gb_pack_rows)
