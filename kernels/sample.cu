// From rows of logits to tokens: the algorithm of src/sampler, in two kernels. The first reads each
// row once, a warp a group of 256 tokens; the second, a block a row, puts the groups together. Only
// top-k, top-p and min-p look at logits again, and only in groups whose best token may be kept.
#include "select.cuh"

namespace sample {

// Which of a row's parameters are in force.
struct Rules {
    bool draws;
    bool top_k;
    bool top_p;
    bool min_p;
};

GB_DEV Rules rules_of(const Row& row, int vocab) {
    const bool has_top_k = row.top_k > 0 && row.top_k < vocab;
    return {row.temperature > 0.0f, has_top_k, row.top_p < 1.0f, row.min_p > 0.0f};
}

// Not all tokens may be drawn.
GB_DEV bool picks(const Rules& rules) {
    return rules.top_k || rules.top_p || rules.min_p;
}

// The mass of top-p is one of the whole row.
GB_DEV bool weighs_all(const Rules& rules) {
    return rules.top_p && !rules.top_k && !rules.min_p;
}

// The winner of a draw from a group, in every lane. The exact score costs two logarithms in f64:
// each lane computes that of its most hopeful token, and of others only where the best of these
// is in reach.
GB_DEV Winner group_winner(const float (&logits)[PER_LANE], const Row& row, int group) {
    const unsigned prefix = noise_prefix(row);
    float bounds[PER_LANE];
    float hope = -INFINITY;
    float hope_scaled = 0.0f;
    int hope_token = -1;
#pragma unroll
    for (int j = 0; j < PER_LANE; j++) {
        const int token = token_at(group, j);
        const float scaled = __fdiv_rn(logits[j], row.temperature);
        // NaN where the token is impossible, and that is never in reach.
        bounds[j] = score_bound(scaled, noise_bits(prefix, token));
        if (bounds[j] > hope) {
            hope = bounds[j];
            hope_scaled = scaled;
            hope_token = token;
        }
    }
    Winner winner = no_winner();
    if (hope_token >= 0) {
        winner = scored(hope_scaled, noise_bits(prefix, hope_token), hope_token);
    }
    const float reached = static_cast<float>(warp_winner(winner).score);
#pragma unroll
    for (int j = 0; j < PER_LANE; j++) {
        const int token = token_at(group, j);
        if (bounds[j] >= reached && token != hope_token) {
            const float scaled = __fdiv_rn(logits[j], row.temperature);
            winner = better(winner, scored(scaled, noise_bits(prefix, token), token));
        }
    }
    return warp_winner(winner);
}

// --- the second kernel ---

// The row at work, as every thread of its block sees it.
struct Work {
    const float* logits;
    const Group* partials;
    int vocab;
    int groups;
    Row row;
    Rules rules;
    u64 best;
    float best_scaled;
    // What min-p keeps is at least this after scaling.
    float floor;
};

// The least key that a token of at least `bound` after scaling can have. At worst it is a little
// less: a rounding error must not lose a token. Impossible tokens are below it.
GB_DEV u64 key_from_scaled(float bound, float temperature) {
    const float least = -3.402823466e38f;
    const float raw = bound * temperature;
    const float safe = raw - fabsf(raw) * 1e-6f;
    return lowest_key(safe > least ? safe : least);
}

// The mass of the whole row, in units.
GB_DEV double total_mass(Shared& shared, const Work& work) {
    double mass = 0.0;
    if (static_cast<int>(threadIdx.x) < work.groups) {
        const Group& group = work.partials[threadIdx.x];
        const float scaled = __fdiv_rn(logit_of(group.best), work.row.temperature);
        const double behind = static_cast<double>(scaled) - static_cast<double>(work.best_scaled);
        mass = group.sum * exp(behind);
    }
    return block_sum(shared, mass) * static_cast<double>(MASS_UNITS);
}

// Visits what may be drawn: visit(key, scaled).
template <class Visit>
GB_DEV void each_scaled(const Shared& shared, const Work& work, u64 low, u64 high,
                        const Visit& visit) {
    each_token(shared, work.logits, work.vocab, low, high, [&](u64 key, float logit) {
        const float scaled = __fdiv_rn(logit, work.row.temperature);
        if (scaled >= work.floor) {
            visit(key, scaled);
        }
    });
}

// Lists the groups to look at; gives the key from which on tokens may be drawn, when their scaled
// logit is at least `floor`, too.
GB_DEV u64 pick(Shared& shared, const Work& work) {
    const Row& row = work.row;
    u64 low = key_from_scaled(work.floor, row.temperature);
    Goal mass = {0, static_cast<double>(row.top_p), false};
    if (weighs_all(work.rules)) {
        const double total = total_mass(shared, work);
        mass.target = units_of(mass.share * total);
        // Tokens of less than (1 - top_p) / vocabulary cannot weigh 1 - top_p together.
        const double sum = total / static_cast<double>(MASS_UNITS);
        const double negligible = (1.0 - mass.share) * sum / static_cast<double>(work.vocab);
        const float bound = work.best_scaled + static_cast<float>(log(negligible));
        low = key_from_scaled(bound, row.temperature);
    }
    if (work.rules.top_k) {
        low = bound_of_best(shared, work.groups, row.top_k, low, work.best);
    }
    list_groups(shared, work.groups, low);
    if (work.rules.top_k) {
        const auto each = [&](u64 from, u64 to, const auto& visit) {
            each_token(shared, work.logits, work.vocab, from, to,
                       [&](u64 key, float) { visit(key, 1ull); });
        };
        low = select(shared, low, work.best, best_of(row.top_k), each);
    }
    if (work.rules.top_p) {
        const auto each = [&](u64 from, u64 to, const auto& visit) {
            each_scaled(shared, work, from, to, [&](u64 key, float scaled) {
                const float weight = exp_of(scaled - work.best_scaled);
                visit(key, static_cast<u64>(weight * MASS_UNITS));
            });
        };
        low = select(shared, low, work.best, mass, each);
    }
    return low;
}

GB_DEV int draw_from_picked(Shared& shared, const Work& work) {
    const u64 low = pick(shared, work);
    const unsigned prefix = noise_prefix(work.row);
    Winner winner = no_winner();
    each_scaled(shared, work, low, work.best, [&](u64 key, float scaled) {
        const int token = token_of(key);
        const unsigned bits = noise_bits(prefix, token);
        if (score_bound(scaled, bits) >= static_cast<float>(winner.score)) {
            winner = better(winner, scored(scaled, bits, token));
        }
    });
    return block_winner(shared, winner).token;
}

GB_DEV int draw_from_all(Shared& shared, const Work& work) {
    Winner winner = no_winner();
    if (static_cast<int>(threadIdx.x) < work.groups) {
        winner = {work.partials[threadIdx.x].score, work.partials[threadIdx.x].winner};
    }
    return block_winner(shared, winner).token;
}

GB_DEV int token_of_row(Shared& shared, Work& work) {
    u64 best = 0;
    if (static_cast<int>(threadIdx.x) < work.groups) {
        best = work.partials[threadIdx.x].best;
        shared.bests[threadIdx.x] = best;
    }
    work.best = block_max(shared, best);
    if (!work.rules.draws) {
        return token_of(work.best);
    }
    work.best_scaled = __fdiv_rn(logit_of(work.best), work.row.temperature);
    if (!is_finite(work.best_scaled)) {
        // Nothing is possible, or something is certain.
        return token_of(work.best);
    }
    if (!picks(work.rules)) {
        return draw_from_all(shared, work);
    }
    work.floor = -INFINITY;
    if (work.rules.min_p) {
        const float log_min_p = static_cast<float>(log(static_cast<double>(work.row.min_p)));
        work.floor = work.best_scaled + log_min_p;
    }
    return draw_from_picked(shared, work);
}

}  // namespace sample

// groups: [rows][ceil(vocab / 256)].
extern "C" __global__ void __launch_bounds__(256)
    gb_sample_groups(sample::Group* groups, const float* logits, const sample::Row* rows,
                     int vocab) {
    using namespace sample;
    const int count = groups_of(vocab);
    const int group = static_cast<int>(blockIdx.x * 8 + (threadIdx.x >> 5));
    const size_t at = blockIdx.y;
    gb_pdl_wait();
    gb_pdl_launch();
    const Row row = rows[at];
    if (group >= count || (row.flags & PADDING) != 0) {
        return;
    }
    float tokens[PER_LANE];
    load_group(tokens, logits + at * vocab, group, vocab);
    const Rules rules = rules_of(row, vocab);
    Group partial = {group_best(tokens, group), 0.0, -INFINITY, 0, 0};
    if (rules.draws && weighs_all(rules)) {
        partial.sum = group_sum(tokens, row.temperature, partial.best);
    }
    if (rules.draws && !picks(rules)) {
        const Winner winner = group_winner(tokens, row, group);
        partial.score = winner.score;
        partial.winner = winner.token;
    }
    if (gb_lane() == 0) {
        groups[at * count + group] = partial;
    }
}
GB_KERNEL(gb_sample_groups)

// sampled: [rows], -1 for padding.
extern "C" __global__ void __launch_bounds__(1024)
    gb_sample_rows(int* sampled, const float* logits, const sample::Row* rows,
                   const sample::Group* groups, int vocab) {
    using namespace sample;
    GB_SHARED(Shared, shared, 1);
    const size_t at = blockIdx.x;
    gb_pdl_wait();
    gb_pdl_launch();
    Work work;
    work.row = rows[at];
    int token = -1;
    if ((work.row.flags & PADDING) == 0) {
        work.logits = logits + at * vocab;
        work.groups = groups_of(vocab);
        work.partials = groups + at * work.groups;
        work.vocab = vocab;
        work.rules = rules_of(work.row, vocab);
        token = token_of_row(shared[0], work);
    }
    if (threadIdx.x == 0) {
        sampled[at] = token;
    }
}
GB_KERNEL(gb_sample_rows)
