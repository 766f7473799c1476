// What the fake device is.
#pragma once
#include "api.h"

namespace gbemu {

struct Settings {
    bool present = true;
    int driver = 13000;
    int major = 9;
    int minor = 0;
    unsigned long long memory = 4ull << 30;
    unsigned long long used = 0;  // by other processes
    bool deferred = false;

    // Bytes of shared memory that a block may have, if it asks, and that a multiprocessor has.
    unsigned block_shared() const;
    unsigned processor_shared() const { return block_shared() + (1 << 10); }

    unsigned processor_threads() const { return block_shared() == 99 << 10 ? 1536 : 2048; }
};

Settings settings();

// Of device memory, for cuMemGetInfo.
size_t bytes_in_use();

// The result of looking at the poison around all of the device's memory.
CUresult check_guards();

}  // namespace gbemu
