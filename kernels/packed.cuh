// Where an element of a packed matrix lies; see *Memory* in kernels/README.md.
#pragma once
#include "gb.cuh"

// The index, in 32-bit words, of the pair of inputs `2 pair` and `2 pair + 1` of an output.
GB_DEV size_t gb_packed_word(int output, int pair, int inputs) {
    const size_t tile = static_cast<size_t>(output / 16) * (inputs / 16) + pair / 8;
    const int lane = output % 8 * 4 + pair % 4;
    const int word = output % 16 / 8 + pair % 8 / 4 * 2;
    return (tile * 32 + lane) * 4 + word;
}
