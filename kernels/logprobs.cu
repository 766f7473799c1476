// Log-probabilities of rows that want them: of the chosen token, with its rank, and of the best
// ones. Two kernels, as in sample.cu.
#include "select.cuh"

namespace sample {

constexpr int MAX_TOP = 32;

// What a row gives; 272 bytes.
struct Logprobs {
    float log_sum_exp;
    // Of the chosen token.
    float logprob;
    // How many logits are at least the chosen one's, itself included: ties count. At least 1.
    int rank;
    // How many of the lists' entries are filled.
    int count;
    // Best first, the lower id on ties.
    int tokens[MAX_TOP];
    float logprobs[MAX_TOP];
};

GB_DEV float logit_at(const float* row, int token, int vocab) {
    return token >= 0 && token < vocab ? row[token] : -INFINITY;
}

GB_DEV float logprob_of(float logit, float best, float log_sum) {
    const float value = logit - best - log_sum;
    return value != value ? -INFINITY : value;
}

// Sums over the groups of a row.
struct Sums {
    u64 best;
    float log_sum;
    int at_least;
};

GB_DEV Sums sums_of(Shared& shared, const Group* partials, int groups) {
    const int thread = static_cast<int>(threadIdx.x);
    Group group = {0, 0.0, 0.0, 0, 0};
    if (thread < groups) {
        group = partials[thread];
        shared.bests[thread] = group.best;
    }
    Sums sums;
    sums.best = block_max(shared, group.best);
    double sum = 0.0;
    if (group.sum > 0.0) {
        const double behind = static_cast<double>(logit_of(group.best)) -
                              static_cast<double>(logit_of(sums.best));
        sum = group.sum * exp(behind);
    }
    sums.log_sum = static_cast<float>(log(block_sum(shared, sum)));
    // Counts of at most 2^18 are exact.
    sums.at_least = static_cast<int>(block_sum(shared, static_cast<double>(group.at_least)));
    return sums;
}

// The keys of the `count` best tokens, in no order, to `top`; there are so many.
GB_DEV void take_best(Shared& shared, u64* top, int* taken, const float* row, int vocab, int count,
                      u64 best) {
    const int groups = groups_of(vocab);
    u64 low = bound_of_best(shared, groups, count, 0, best);
    list_groups(shared, groups, low);
    const auto each = [&](u64 from, u64 to, const auto& visit) {
        each_token(shared, row, vocab, from, to, [&](u64 key, float) { visit(key, 1ull); });
    };
    low = select(shared, low, best, best_of(count), each);
    if (threadIdx.x == 0) {
        *taken = 0;
    }
    __syncthreads();
    each_token(shared, row, vocab, low, best,
               [&](u64 key, float) { top[atomicAdd(taken, 1)] = key; });
    __syncthreads();
}

}  // namespace sample

// groups: [rows][ceil(vocab / 256)]. wanted: [rows], how many best tokens; below 0, nothing at all.
extern "C" __global__ void __launch_bounds__(256)
    gb_logprobs_groups(sample::Group* groups, const float* logits, const int* chosen,
                       const int* wanted, int vocab) {
    using namespace sample;
    const int count = groups_of(vocab);
    const int group = static_cast<int>(blockIdx.x * 8 + (threadIdx.x >> 5));
    const size_t at = blockIdx.y;
    gb_pdl_wait();
    gb_pdl_launch();
    if (group >= count || wanted[at] < 0) {
        return;
    }
    const float* row = logits + at * vocab;
    const float bound = logit_at(row, chosen[at], vocab);
    float tokens[PER_LANE];
    load_group(tokens, row, group, vocab);
    int at_least = 0;
#pragma unroll
    for (int j = 0; j < PER_LANE; j++) {
        at_least += token_at(group, j) < vocab && tokens[j] >= bound ? 1 : 0;
    }
    Group partial = {group_best(tokens, group), 0.0, -INFINITY, 0, warp_count(at_least)};
    partial.sum = group_sum(tokens, 1.0f, partial.best);
    if (gb_lane() == 0) {
        groups[at * count + group] = partial;
    }
}
GB_KERNEL(gb_logprobs_groups)

// out: [rows]; rows that want nothing leave it alone.
extern "C" __global__ void __launch_bounds__(1024)
    gb_logprobs_rows(sample::Logprobs* out, const float* logits, const int* chosen,
                     const int* wanted, const sample::Group* groups, int vocab) {
    using namespace sample;
    GB_SHARED(Shared, shared, 1);
    GB_SHARED(u64, top, MAX_TOP);
    GB_SHARED(int, taken, 1);
    const size_t at = blockIdx.x;
    gb_pdl_wait();
    gb_pdl_launch();
    if (wanted[at] < 0) {
        return;
    }
    const float* row = logits + at * vocab;
    const Sums sums = sums_of(shared[0], groups + at * groups_of(vocab), groups_of(vocab));
    const float best = logit_of(sums.best);
    const int thread = static_cast<int>(threadIdx.x);
    const int count = min(min(wanted[at], MAX_TOP), vocab);
    if (count > 0) {
        take_best(shared[0], top, taken, row, vocab, count, sums.best);
    }
    if (thread < count) {
        int better = 0;
        for (int i = 0; i < count; i++) {
            better += top[i] > top[thread] ? 1 : 0;
        }
        out[at].tokens[better] = token_of(top[thread]);
        out[at].logprobs[better] = logprob_of(logit_of(top[thread]), best, sums.log_sum);
    }
    if (thread == 0) {
        const float sum = best + sums.log_sum;
        out[at].log_sum_exp = sum != sum ? best : sum;
        out[at].logprob = logprob_of(logit_at(row, chosen[at], vocab), best, sums.log_sum);
        out[at].rank = sums.at_least > 0 ? sums.at_least : 1;
        out[at].count = count;
    }
}
GB_KERNEL(gb_logprobs_rows)
