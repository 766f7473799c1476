// Selection of a row's best tokens by radix, without sorting it: a block works on one row.
#pragma once
#include "sample.cuh"

namespace sample {

constexpr int THREADS = 1024;
// One a thread.
constexpr int BINS = THREADS;

struct Shared {
    // Weight and number of the tokens in each bin. The halves of weights are added up apart, with
    // their carries: an addition of 64 bits in shared memory is a loop on every device.
    unsigned weights_low[BINS];
    unsigned weights_high[BINS];
    unsigned counts[BINS];
    // Best keys of all groups, and the groups that still matter.
    u64 bests[BINS];
    unsigned short list[BINS];
    int listed;
    // One a warp.
    u64 warp_keys[32];
    double warp_sums[32];
    Winner warp_winners[32];
    // The bin in which a selection ends.
    int bin;
    u64 before;
    u64 total;
};

GB_DEV int warp_of_block() {
    return static_cast<int>(threadIdx.x >> 5);
}

GB_DEV u64 block_max(Shared& shared, u64 value) {
    value = warp_max(value);
    __syncthreads();
    shared.warp_keys[warp_of_block()] = value;
    __syncthreads();
    return warp_max(shared.warp_keys[gb_lane()]);
}

// In a fixed order.
GB_DEV double block_sum(Shared& shared, double value) {
    value = warp_sum(value);
    __syncthreads();
    shared.warp_sums[warp_of_block()] = value;
    __syncthreads();
    return warp_sum(shared.warp_sums[gb_lane()]);
}

GB_DEV Winner block_winner(Shared& shared, Winner winner) {
    winner = warp_winner(winner);
    __syncthreads();
    shared.warp_winners[warp_of_block()] = winner;
    __syncthreads();
    return warp_winner(shared.warp_winners[gb_lane()]);
}

GB_DEV u64 warp_prefix_sum(u64 value) {
#pragma unroll
    for (int lanes = 1; lanes < 32; lanes <<= 1) {
        const u64 lower = __shfl_up_sync(ALL, value, lanes);
        value += gb_lane() >= lanes ? lower : 0;
    }
    return value;
}

// The sum over this thread and those before it.
GB_DEV u64 block_prefix_sum(Shared& shared, u64 value) {
    value = warp_prefix_sum(value);
    __syncthreads();
    if (gb_lane() == 31) {
        shared.warp_keys[warp_of_block()] = value;
    }
    __syncthreads();
    const u64 sums = warp_prefix_sum(shared.warp_keys[gb_lane()]);
    const u64 lower = __shfl_sync(ALL, sums, (warp_of_block() + 31) & 31);
    return warp_of_block() == 0 ? value : value + lower;
}

GB_DEV void add_weight(Shared& shared, int bin, u64 weight) {
    const unsigned low = static_cast<unsigned>(weight);
    const unsigned carry = atomicAdd(&shared.weights_low[bin], low) > ~low ? 1 : 0;
    const unsigned high = static_cast<unsigned>(weight >> 32) + carry;
    if (high != 0) {
        atomicAdd(&shared.weights_high[bin], high);
    }
}

// --- selection ---

// How much the best may weigh: a token stays while those that are better weigh less.
struct Goal {
    // 0: what `share` of the total is, rounded up.
    u64 target;
    double share;
    // Every token weighs 1.
    bool counts;
};

GB_DEV Goal best_of(int count) {
    return {static_cast<u64>(count), 0.0, true};
}

GB_DEV u64 units_of(double mass) {
    const u64 units = static_cast<u64>(ceil(mass));
    return units > 0 ? units : 1;
}

GB_DEV int bit_length(u64 x) {
    const unsigned high = static_cast<unsigned>(x >> 32);
    const unsigned low = static_cast<unsigned>(x);
    return high != 0 ? 64 - __clz(static_cast<int>(high)) : 32 - __clz(static_cast<int>(low));
}

// The key from which on tokens stay; at least `low`. `each(low, high, visit)` has to visit, over
// the whole block, every token whose key is in low..=high, once: visit(key, weight). Each turn
// looks into the bin of the last in which the goal is reached.
template <class Each>
GB_DEV u64 select(Shared& shared, u64 low, u64 high, Goal goal, const Each& each) {
    const int thread = static_cast<int>(threadIdx.x);
    // The best bin first.
    const int bin = BINS - 1 - thread;
    const auto weight_of = [&](int bin) {
        const u64 high = shared.weights_high[bin];
        return goal.counts ? shared.counts[bin] : high << 32 | shared.weights_low[bin];
    };
    u64 above = 0;
    while (low < high) {
        const int bits = bit_length(high - low);
        const int shift = bits > 10 ? bits - 10 : 0;
        __syncthreads();
        shared.weights_low[thread] = 0;
        shared.weights_high[thread] = 0;
        shared.counts[thread] = 0;
        if (thread == 0) {
            shared.bin = -1;
        }
        __syncthreads();
        each(low, high, [&](u64 key, u64 weight) {
            const int at = static_cast<int>((key - low) >> shift);
            if (!goal.counts) {
                add_weight(shared, at, weight);
            }
            atomicAdd(&shared.counts[at], 1u);
        });
        __syncthreads();
        const u64 weight = weight_of(bin);
        const u64 upto = above + block_prefix_sum(shared, weight);
        if (goal.target == 0) {
            if (thread == THREADS - 1) {
                shared.total = upto;
            }
            __syncthreads();
            goal.target = units_of(goal.share * static_cast<double>(shared.total));
        }
        if (upto >= goal.target && upto - weight < goal.target) {
            shared.bin = bin;
            shared.before = upto - weight;
        }
        __syncthreads();
        if (shared.bin < 0) {
            return low;
        }
        const int found = shared.bin;
        above = shared.before;
        low += static_cast<u64>(found) << shift;
        const u64 last = low + ((1ull << shift) - 1);
        high = last < high ? last : high;
        const bool whole = goal.counts && above + weight_of(found) == goal.target;
        if (whole || shared.counts[found] == 1) {
            return low;
        }
    }
    return low;
}

// Visits the groups' best tokens.
template <class Visit>
GB_DEV void each_best(const Shared& shared, int groups, u64 low, u64 high, const Visit& visit) {
    if (static_cast<int>(threadIdx.x) < groups) {
        const u64 key = shared.bests[threadIdx.x];
        if (key >= low && key <= high) {
            visit(key, 1ull);
        }
    }
}

// Notes which groups have a token from `low` on.
GB_DEV void list_groups(Shared& shared, int groups, u64 low) {
    const int thread = static_cast<int>(threadIdx.x);
    __syncthreads();
    if (thread == 0) {
        shared.listed = 0;
    }
    __syncthreads();
    if (thread < groups && shared.bests[thread] >= low) {
        shared.list[atomicAdd(&shared.listed, 1)] = static_cast<unsigned short>(thread);
    }
    __syncthreads();
}

// Visits the tokens of listed groups whose key is in low..=high: visit(key, logit).
template <class Visit>
GB_DEV void each_token(const Shared& shared, const float* row, int vocab, u64 low, u64 high,
                       const Visit& visit) {
    for (int i = warp_of_block(); i < shared.listed; i += THREADS / 32) {
        const int group = shared.list[i];
        if (shared.bests[group] < low) {
            continue;
        }
        float logits[PER_LANE];
        load_group(logits, row, group, vocab);
#pragma unroll
        for (int j = 0; j < PER_LANE; j++) {
            const int token = token_at(group, j);
            const u64 key = key_of(token, logits[j]);
            if (token < vocab && key >= low && key <= high) {
                visit(key, logit_of(key));
            }
        }
    }
}

// A key that at least `count` tokens reach, from the groups' best alone: each is a token too. What
// lies below is not among the `count` best.
GB_DEV u64 bound_of_best(Shared& shared, int groups, int count, u64 low, u64 high) {
    if (count > groups) {
        return low;
    }
    return select(shared, low, high, best_of(count), [&](u64 from, u64 to, const auto& visit) {
        each_best(shared, groups, from, to, visit);
    });
}

}  // namespace sample
