// ldmatrix and mma. The last lane of the warp to arrive does the work of all.
#pragma once
#include "machine.h"

namespace gbemu {

// A row is read when its lane arrives, though others may still write it then: lanes of a warp see
// each other's writes only behind a __syncwarp.
struct MatrixLoad {
    unsigned char row[16];  // the one that this lane gives the address of
    uint32_t* got;
};

inline const unsigned char* row_of(const Lane* lanes, int matrix, int row) {
    return static_cast<const MatrixLoad*>(lanes[8 * matrix + row].operand)->row;
}

inline void load_matrices(Lane* lanes) {
    for (int lane = 0; lane < 32; lane++) {
        uint32_t* got = static_cast<MatrixLoad*>(lanes[lane].operand)->got;
        for (int i = 0; i < 4; i++) {
            memcpy(&got[i], row_of(lanes, i, lane / 4) + lane % 4 * 4, 4);
        }
    }
}

inline void load_transposed(Lane* lanes) {
    for (int lane = 0; lane < 32; lane++) {
        uint32_t* got = static_cast<MatrixLoad*>(lanes[lane].operand)->got;
        for (int i = 0; i < 4; i++) {
            uint16_t halves[2];
            memcpy(&halves[0], row_of(lanes, i, lane % 4 * 2) + lane / 4 * 2, 2);
            memcpy(&halves[1], row_of(lanes, i, lane % 4 * 2 + 1) + lane / 4 * 2, 2);
            memcpy(&got[i], halves, 4);
        }
    }
}

inline void load(Collective how, uint32_t (&got)[4], const void* row) {
    check_aligned(row);
    check_shared(row, 16);
    MatrixLoad mine;
    memcpy(mine.row, row, sizeof mine.row);
    mine.got = got;
    collective(how, &mine);
}

struct Product {
    float* d;
    const uint32_t* a;
    uint32_t b[2];
};

// Four floats that a compiler keeps in one register.
typedef float Quad __attribute__((vector_size(16)));

struct Tiles {
    float a[16][16];
    Quad b[16][2];  // 16 x 8
    Quad d[16][2];
};

inline void unpack(float* to, uint32_t pair) {
    to[0] = __uint_as_float(pair << 16);
    to[1] = __uint_as_float(pair & 0xffff0000u);
}

inline void gather(const Lane* lanes, Tiles* tiles) {
    float* b = reinterpret_cast<float*>(tiles->b);
    float* d = reinterpret_cast<float*>(tiles->d);
    for (int lane = 0; lane < 32; lane++) {
        const Product* mine = static_cast<const Product*>(lanes[lane].operand);
        const int group = lane / 4, two = lane % 4 * 2;
        unpack(&tiles->a[group][two], mine->a[0]);
        unpack(&tiles->a[group + 8][two], mine->a[1]);
        unpack(&tiles->a[group][two + 8], mine->a[2]);
        unpack(&tiles->a[group + 8][two + 8], mine->a[3]);
        for (int half = 0; half < 2; half++) {
            float column[2];
            unpack(column, mine->b[half]);
            b[(two + 8 * half) * 8 + group] = column[0];
            b[(two + 8 * half + 1) * 8 + group] = column[1];
        }
        memcpy(&d[group * 8 + two], mine->d, 8);
        memcpy(&d[(group + 8) * 8 + two], mine->d + 2, 8);
    }
}

// In ascending k, each product rounded into the sum: an order as good as a tensor core's own.
inline void multiply(Lane* lanes) {
    Tiles tiles;
    gather(lanes, &tiles);
    for (int row = 0; row < 16; row++) {
        Quad left = tiles.d[row][0], right = tiles.d[row][1];
        for (int k = 0; k < 16; k++) {
            const float a = tiles.a[row][k];
            left += a * tiles.b[k][0];
            right += a * tiles.b[k][1];
        }
        tiles.d[row][0] = left;
        tiles.d[row][1] = right;
    }
    const float* d = reinterpret_cast<const float*>(tiles.d);
    for (int lane = 0; lane < 32; lane++) {
        float* mine = static_cast<Product*>(lanes[lane].operand)->d;
        memcpy(mine, &d[lane / 4 * 8 + lane % 4 * 2], 8);
        memcpy(mine + 2, &d[(lane / 4 + 8) * 8 + lane % 4 * 2], 8);
    }
}

}  // namespace gbemu

static inline void gb_ldsm4(uint32_t (&r)[4], const void* row) {
    gbemu::load(gbemu::load_matrices, r, row);
}

static inline void gb_ldsm4t(uint32_t (&r)[4], const void* row) {
    gbemu::load(gbemu::load_transposed, r, row);
}

static inline void gb_mma16816(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    gbemu::Product mine = {d, a, {b0, b1}};
    gbemu::collective(gbemu::multiply, &mine);
}
