// Kernels that do nothing for a model: they show what the emulator sees.
#include "gb.cuh"

// out[i] = the sum over `steps` tiles of 256 of in[tile][255 - i]: copied ahead in two stages, so
// that every wait and every barrier counts. 256 threads.
extern "C" __global__ void gb_probe_stages(float* out, const float* in, int steps) {
    GB_DYN_SMEM(float, tiles);
    const int i = static_cast<int>(threadIdx.x);
    float sum = 0.0f;
    if (i < 64) {
        gb_cp_async16(tiles + 4 * i, in + 4 * i);
    }
    gb_cp_commit();
    for (int step = 0; step < steps; step++) {
        if (i < 64) {
            const bool more = step + 1 < steps;
            const float* next = in + (more ? step + 1 : 0) * 256 + 4 * i;
            gb_cp_async16_zfill(tiles + (step + 1) % 2 * 256 + 4 * i, next, more);
        }
        gb_cp_commit();
        gb_cp_wait<1>();
        __syncthreads();  // the tile is there for all
        sum += tiles[step % 2 * 256 + 255 - i];
        __syncthreads();  // and nobody reads it when it is overwritten
    }
    out[i] = sum;
}
GB_KERNEL(gb_probe_stages)

// out = A (16 x 16, row-major) times B (16 x 8, its columns one after another), f32. A warp.
extern "C" __global__ void gb_probe_product(float* out, const __nv_bfloat16* a,
                                            const __nv_bfloat16* b) {
    GB_SHARED(__nv_bfloat16, left, 256);
    GB_SHARED(__nv_bfloat16, right, 128);
    const int lane = gb_lane();
    reinterpret_cast<uint4*>(left)[lane] = reinterpret_cast<const uint4*>(a)[lane];
    if (lane < 16) {
        reinterpret_cast<uint4*>(right)[lane] = reinterpret_cast<const uint4*>(b)[lane];
    }
    __syncwarp();
    uint32_t rows[4], columns[4];
    gb_ldsm4(rows, left + lane % 16 * 16 + lane / 16 * 8);
    gb_ldsm4(columns, right + lane % 8 * 16 + lane / 8 % 2 * 8);
    float d[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    gb_mma16816(d, rows, columns[0], columns[1]);
    for (int i = 0; i < 4; i++) {
        out[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = d[i];
    }
}
GB_KERNEL(gb_probe_product)

// What a kernel must not do, one thing for each `kind`.
extern "C" __global__ void gb_probe_crime(float* out, int kind) {
    GB_SHARED(float, array, 8);
    GB_DYN_SMEM(float, dynamic);
    const int i = static_cast<int>(threadIdx.x);
    switch (kind) {
        case 0:  // a lane waits for the block, the others for it
            if (i == 0) {
                __syncthreads();
            }
            __syncwarp();
            break;
        case 1:  // some lanes miss a collective
            if (i % 2 == 0) {
                __syncwarp();
            }
            break;
        case 2:
            array[8 + (i == 0 ? 1 : 0)] = 1.0f;
            break;
        case 3:
            dynamic[blockDim.x] = 1.0f;
            break;
        case 4:
            gb_cp_async16(out, out);
            break;
        case 5:
            gb_cp_async16(dynamic + 1, out);
            break;
        case 6:
            out[blockDim.x] = 1.0f;
            break;
        case 7:  // lanes in different collectives
            if (i % 2 == 0) {
                __syncwarp();
            } else {
                __ballot_sync(0xffffffffu, 1);
            }
            break;
        default:
            out[i] = static_cast<float>(i);
    }
}
GB_KERNEL(gb_probe_crime)

// bf16 to f32, a thread an element.
extern "C" __global__ void __launch_bounds__(256)
    gb_widen(float* __restrict__ out, const __nv_bfloat16* in, int n) {
    gb_pdl_wait();
    gb_pdl_launch();
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) {
        out[i] = __bfloat162float(in[i]);
    }
}
GB_KERNEL(gb_widen)
