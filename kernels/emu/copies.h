// cp.async. A copy is made as late as it may be, when its group is waited for, so that a missing
// wait reads poison; or at once (eager), so that a missing barrier before it overwrites what others
// still read.
#pragma once
#include "machine.h"

namespace gbemu {

inline void make(const Copy& copy) {
    if (copy.from != nullptr) {
        memcpy(copy.to, copy.from, 16);
    } else {
        memset(copy.to, 0, 16);
    }
}

inline void issue(void* to, const void* from) {
    check_shared(to, 16);
    check_aligned(to);
    Lane* lane = current;
    const Copy copy = {to, from, lane->group};
    if (lane->block->eager) {
        make(copy);
    } else {
        lane->copies.push_back(copy);
    }
}

inline void finish_groups(unsigned unfinished) {
    Lane* lane = current;
    const size_t issued = lane->copies.size();
    while (lane->copied < issued) {
        const Copy& copy = lane->copies[lane->copied];
        if (copy.group + unfinished >= lane->group) {
            return;
        }
        make(copy);
        lane->copied++;
    }
    lane->copies.clear();
    lane->copied = 0;
}

}  // namespace gbemu

static inline void gb_cp_async16(void* to, const void* from) {
    gbemu::check_aligned(from);
    gbemu::issue(to, from);
}

static inline void gb_cp_async16_zfill(void* to, const void* from, bool valid) {
    if (valid) {
        gb_cp_async16(to, from);
    } else {
        gbemu::issue(to, nullptr);
    }
}

static inline void gb_cp_commit() {
    gbemu::current->group++;
}

template <int N>
static inline void gb_cp_wait() {
    gbemu::finish_groups(N);
}
