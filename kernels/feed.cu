#include "gb.cuh"

// tokens[i] becomes what wanted row from[i] of the step before has sampled; a negative from[i]
// leaves it as it is. A thread a row.
extern "C" __global__ void __launch_bounds__(256)
    gb_feed(int* __restrict__ tokens, const int* sampled, const int* from, int rows) {
    gb_pdl_wait();
    gb_pdl_launch();
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < rows && from[i] >= 0) {
        tokens[i] = sampled[from[i]];
    }
}
GB_KERNEL(gb_feed)
