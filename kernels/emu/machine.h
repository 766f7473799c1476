// Blocks, warps and threads: which fiber runs, and what they wait for. A fiber runs until it meets
// a barrier or a warp collective; then another one is chosen, in order or by a seeded chance.
#pragma once
#include "types.h"

#include <utility>
#include <vector>

namespace gbemu {

struct Block;
struct Lane;

// What a warp does once all its lanes have arrived: reads each lane's operand, which stays where it
// is while its fiber sleeps, and writes what each lane gets into it.
using Collective = void (*)(Lane* lanes);

// 16 bytes on their way to shared memory; zeros if there is no source.
struct Copy {
    void* to;
    const void* from;
    unsigned group;
};

struct Warp {
    Lane* lanes;
    unsigned alive;    // bit masks of lanes
    unsigned ready;    // those that may run
    unsigned arrived;  // those that wait in `collective`
    Collective collective;
};

// A thread of the block.
struct Lane {
    void* stack_pointer;
    Block* block;
    Warp* warp;
    unsigned number;  // in the warp
    uint3 index;      // threadIdx
    void* operand;
    std::vector<Copy> copies;  // in the order of their issue
    size_t copied;             // how many of them have been made
    unsigned group;            // the group that is open
};

struct SharedArray {
    const void* place;
    unsigned char* memory;
};

// The block that runs, and the memory and fibers for it. One OS thread uses it at a time.
struct Block {
    uint3 index;  // blockIdx
    dim3 size;    // blockDim
    dim3 grid;    // gridDim
    unsigned char* dynamic;
    unsigned char* shared;  // of which `dynamic` is the end
    size_t shared_bytes;
    size_t arrays_bytes;
    std::vector<SharedArray> arrays;

    std::vector<Warp> warps;
    unsigned alive;
    unsigned at_barrier;
    unsigned random;  // 0: in order
    bool eager;
    void* host_stack_pointer;
    const char* failure;
};

extern __thread Lane* current __attribute__((tls_model("initial-exec")));

// Saves the registers that a call keeps and goes on with another fiber.
extern "C" void gb_switch(void** save, void* load);

// Gives the block up, for a reason that a launch reports. Does not return.
[[noreturn]] void fail(const char* why);

// Another lane than `current` that may run; fails if there is none.
Lane* lane_of_another_warp();

void block_barrier();

void* shared_memory(const void* place, size_t bytes);

template <class T, int count>
inline T (&shared_array(const void* place))[count] {
    return *static_cast<T(*)[count]>(shared_memory(place, sizeof(T) * count));
}

inline unsigned next_random(Block* block) {
    block->random ^= block->random << 13;
    block->random ^= block->random >> 17;
    block->random ^= block->random << 5;
    return block->random;
}

inline Lane* next_lane() {
    Warp* warp = current->warp;
    if (warp->ready == 0) {
        return lane_of_another_warp();
    }
    unsigned first = current->number + 1;
    if (current->block->random != 0) {
        const unsigned random = next_random(current->block);
        if (random % 8 == 0) {
            return lane_of_another_warp();
        }
        first = random >> 8;
    }
    first &= 31;
    const unsigned from_first = warp->ready >> first;
    const unsigned ahead = from_first != 0 ? first + __builtin_ctz(from_first)
                                           : static_cast<unsigned>(__builtin_ctz(warp->ready));
    return warp->lanes + ahead;
}

// Lets others run until this lane may.
inline void wait() {
    Lane* self = current;
    Lane* next = next_lane();
    current = next;
    gb_switch(&self->stack_pointer, next->stack_pointer);
}

inline void collective(Collective made, void* operand) {
    Lane* self = current;
    Warp* warp = self->warp;
    self->operand = operand;
    if (warp->arrived != 0 && warp->collective != made) {
        fail("lanes of a warp meet in different collectives");
    }
    warp->collective = made;
    warp->arrived |= 1u << self->number;
    if (warp->arrived == 0xffffffffu) {
        made(warp->lanes);
        warp->arrived = 0;
        warp->ready = 0xffffffffu;
        return;
    }
    warp->ready &= ~(1u << self->number);
    wait();
}

inline void check_aligned(const void* address) {
    if (reinterpret_cast<uintptr_t>(address) % 16 != 0) {
        fail("an address that must be a multiple of 16 is not");
    }
}

inline void check_shared(const void* address, size_t bytes) {
    const Block* block = current->block;
    const unsigned char* at = static_cast<const unsigned char*>(address);
    if (at < block->shared || at + bytes > block->shared + block->shared_bytes) {
        fail("an address that must be of shared memory is not");
    }
}

// A kernel with its arguments behind `void**`, as the driver API passes them.
using Run = void (*)(void** arguments);

template <auto* kernel>
struct Call;

template <class... A, void (*kernel)(A...)>
struct Call<kernel> {
    template <size_t... i>
    static void unpack(void** arguments, std::index_sequence<i...>) {
        kernel(*static_cast<A*>(arguments[i])...);
    }
    static void run(void** arguments) {
        unpack(arguments, std::index_sequence_for<A...>());
    }
    static constexpr size_t sizes[sizeof...(A) + 1] = {sizeof(A)..., 0};
};

struct Kernel {
    const char* name;
    Run run;
    const size_t* argument_sizes;  // ends with a 0
    const Kernel* next;
};

// All kernels of the library.
extern const Kernel* kernels;

struct Registration {
    Kernel kernel;
    template <class Call>
    Registration(const char* name, Call) : kernel{name, Call::run, Call::sizes, kernels} {
        kernels = &kernel;
    }
};

// Runs a grid to its end. Says what went wrong, or nothing: text that lasts until the next failure.
const char* launch(const Kernel& kernel, void** arguments, dim3 grid, dim3 size,
                   size_t dynamic_bytes);

// How the threads of grids are ordered that this thread launches from now on, and when copies to
// shared memory are made: at once (eager) or as late as they may be.
void set_schedule(unsigned seed, bool eager);

}  // namespace gbemu
