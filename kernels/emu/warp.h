// Warp collectives. All 32 lanes take part, as kernels/README.md says.
#pragma once
#include "machine.h"

namespace gbemu {

struct Exchange {
    uint64_t given;
    uint64_t got;
    unsigned source;
};

inline void exchange(Lane* lanes) {
    for (int i = 0; i < 32; i++) {
        Exchange* mine = static_cast<Exchange*>(lanes[i].operand);
        mine->got = static_cast<Exchange*>(lanes[mine->source].operand)->given;
    }
}

inline void meet(Lane*) {}

inline void check_mask(unsigned mask) {
    if (mask != 0xffffffffu) {
        fail("a warp collective without all 32 lanes");
    }
}

template <class T>
inline T shuffle(unsigned mask, T value, unsigned source) {
    static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
    check_mask(mask);
    Exchange mine = {0, 0, source};
    memcpy(&mine.given, &value, sizeof value);
    collective(exchange, &mine);
    memcpy(&value, &mine.got, sizeof value);
    return value;
}

struct Vote {
    uint64_t given;
    uint64_t got;
};

inline void vote(Lane* lanes) {
    unsigned ballot = 0;
    for (int i = 0; i < 32; i++) {
        ballot |= static_cast<unsigned>(static_cast<Vote*>(lanes[i].operand)->given) << i;
    }
    for (int i = 0; i < 32; i++) {
        static_cast<Vote*>(lanes[i].operand)->got = ballot;
    }
}

}  // namespace gbemu

static inline void __syncwarp(unsigned mask = 0xffffffffu) {
    gbemu::check_mask(mask);
    gbemu::collective(gbemu::meet, nullptr);
}

// Where a source lies outside the lane's group of `width`, the lane keeps its own value.
template <class T>
static inline T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
    const unsigned first = gbemu::current->number & ~static_cast<unsigned>(width - 1);
    return gbemu::shuffle(mask, value, first + (source & (width - 1)));
}

template <class T>
static inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
    const unsigned lane = gbemu::current->number;
    const unsigned source = lane ^ static_cast<unsigned>(lanes);
    const bool inside = source <= (lane | static_cast<unsigned>(width - 1));
    return gbemu::shuffle(mask, value, inside ? source : lane);
}

template <class T>
static inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    const unsigned lane = gbemu::current->number;
    const unsigned first = lane & ~static_cast<unsigned>(width - 1);
    return gbemu::shuffle(mask, value, lane >= first + delta ? lane - delta : lane);
}

static inline unsigned __ballot_sync(unsigned mask, int predicate) {
    gbemu::check_mask(mask);
    gbemu::Vote mine = {predicate != 0, 0};
    gbemu::collective(gbemu::vote, &mine);
    return static_cast<unsigned>(mine.got);
}
