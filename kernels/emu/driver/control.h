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
};

Settings settings();

// Of device memory, for cuMemGetInfo.
size_t bytes_in_use();

// The result of looking at the poison around all of the device's memory.
CUresult check_guards();

}  // namespace gbemu
