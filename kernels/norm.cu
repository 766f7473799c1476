#include "norm.cuh"

// Row i of `out` (of `count`) is the norm of row rows[i] of x, or of row i without `rows`; zeros
// where rows[i] is negative. A warp a row, in blocks of up to 8 warps: the grid has
// ceil(count / warps) blocks.
extern "C" __global__ void __launch_bounds__(256)
    gb_rms_norm(__nv_bfloat16* __restrict__ out, const float* x,
                const float* __restrict__ weight, const int* rows, int count, int n, float eps) {
    gb_pdl_wait();
    gb_pdl_launch();
    const int i = static_cast<int>((blockIdx.x * blockDim.x + threadIdx.x) / 32);
    if (i >= count) {
        return;
    }
    const int row = rows == nullptr ? i : rows[i];
    __nv_bfloat16* to = out + static_cast<size_t>(i) * n;
    if (row >= 0) {
        gb_norm_row(to, x + static_cast<size_t>(row) * n, weight, n, eps);
    } else {
        for (int at = 4 * gb_lane(); at < n; at += 128) {
            *reinterpret_cast<uint2*>(to + at) = make_uint2(0, 0);
        }
    }
}
GB_KERNEL(gb_rms_norm)
