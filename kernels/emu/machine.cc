// Runs grids: stacks, shared memory, the choice of the next fiber, and what a block that cannot go
// on is told.
#include "machine.h"

#include <sys/mman.h>

#include <cstdlib>
#include <memory>
#include <mutex>

#include "switch.h"

namespace gbemu {

__thread Lane* current __attribute__((tls_model("initial-exec")));
const Kernel* kernels;

namespace {

constexpr size_t PAGE = 4096;
// Of a thread; below it lies a page that must not be touched. Not a power of two, or the stacks
// would compete for the same lines of the caches.
constexpr size_t STACK = 16 * PAGE;
constexpr size_t STACK_STEP = STACK + PAGE;
constexpr unsigned MAX_THREADS = 1024;
constexpr size_t ARRAYS = 48 << 10;
constexpr size_t GUARD = 64;
constexpr size_t MAX_DYNAMIC = 227 << 10;
// Both as bf16 and as f32 it is no number.
constexpr unsigned char POISON = 0xff;
constexpr unsigned char GUARD_BYTE = 0xa5;

// A block with what it needs, kept for the next ones.
struct Machine : Block {
    std::vector<Lane> lanes;
    unsigned char* stacks;
    std::unique_ptr<unsigned char[]> shared_memory;
    const Kernel* kernel;
    void** arguments;

    Machine() : Block(), lanes(MAX_THREADS), shared_memory(new unsigned char[SHARED]) {
        void* memory = mmap(nullptr, MAX_THREADS * STACK_STEP, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) {
            abort();
        }
        stacks = static_cast<unsigned char*>(memory);
        for (unsigned i = 0; i < MAX_THREADS; i++) {
            mprotect(stacks + i * STACK_STEP, PAGE, PROT_NONE);
        }
    }

    // Neighbours begin at different lines of a page, for the caches' sake.
    void* stack_top(unsigned lane) const {
        return stacks + (lane + 1) * STACK_STEP - lane * 5 % 64 * 64;
    }

    static constexpr size_t SHARED = ARRAYS + MAX_DYNAMIC + GUARD + 1024;
};

std::mutex idle_lock;
std::vector<std::unique_ptr<Machine>> idle;

struct Schedule {
    unsigned seed;
    bool eager;
};

unsigned number(const char* name) {
    const char* value = getenv(name);
    return value == nullptr ? 0 : static_cast<unsigned>(strtoul(value, nullptr, 10));
}

Schedule from_environment() {
    return {number("GB_EMU_SEED"), number("GB_EMU_EAGER") != 0};
}

// Each thread has its own, so that tests side by side do not meet.
thread_local Schedule schedule = from_environment();

void release_barrier(Block* block) {
    block->at_barrier = 0;
    for (Warp& warp : block->warps) {
        warp.ready = warp.alive;
    }
}

const char* why_stuck(const Block& block) {
    for (const Warp& warp : block.warps) {
        if (warp.arrived != 0) {
            return warp.alive == 0xffffffffu
                       ? "DEADLOCK: some lanes of a warp wait in a collective, others elsewhere"
                       : "DEADLOCK: a warp collective without lanes that have ended or never were";
        }
    }
    return "DEADLOCK: some threads of a block wait at a barrier that others never reach";
}

// The end of a thread: what waits for everybody no longer waits for it.
[[noreturn]] void end_lane() {
    Lane* self = current;
    Block* block = self->block;
    self->warp->alive &= ~(1u << self->number);
    self->warp->ready &= ~(1u << self->number);
    block->alive--;
    if (block->alive == 0) {
        gb_switch(&self->stack_pointer, block->host_stack_pointer);
    }
    if (block->at_barrier == block->alive) {
        release_barrier(block);
    }
    wait();
    abort();
}

void begin_lane() {
    const Machine* machine = static_cast<const Machine*>(current->block);
    machine->kernel->run(machine->arguments);
    end_lane();
}

void start_lane(Machine* machine, unsigned number) {
    Block& block = *machine;
    Lane& lane = machine->lanes[number];
    const dim3 size = block.size;
    lane.stack_pointer = fresh_stack(machine->stack_top(number), begin_lane);
    lane.block = &block;
    lane.warp = &block.warps[number / 32];
    lane.number = number % 32;
    lane.index = {number % size.x, number / size.x % size.y, number / (size.x * size.y)};
    lane.copies.clear();
    lane.copied = 0;
    lane.group = 0;
}

void start_block(Machine* machine, size_t dynamic_bytes) {
    Block& block = *machine;
    const unsigned threads = block.size.x * block.size.y * block.size.z;
    block.arrays.clear();
    block.arrays_bytes = 0;
    block.shared_bytes = static_cast<size_t>(block.dynamic - block.shared) + dynamic_bytes;
    memset(block.dynamic, POISON, dynamic_bytes);
    memset(block.dynamic + dynamic_bytes, GUARD_BYTE, GUARD);
    block.alive = threads;
    block.at_barrier = 0;
    block.warps.resize((threads + 31) / 32);
    for (size_t i = 0; i < block.warps.size(); i++) {
        const unsigned lanes = threads - 32 * static_cast<unsigned>(i);
        const unsigned all = lanes >= 32 ? 0xffffffffu : (1u << lanes) - 1;
        block.warps[i] = {&machine->lanes[32 * i], all, all, 0, nullptr};
    }
    for (unsigned i = 0; i < threads; i++) {
        start_lane(machine, i);
    }
}

bool guarded(const unsigned char* guard) {
    for (size_t i = 0; i < GUARD; i++) {
        if (guard[i] != GUARD_BYTE) {
            return false;
        }
    }
    return true;
}

void check_guards(Block& block, size_t dynamic_bytes) {
    bool intact = guarded(block.dynamic + dynamic_bytes);
    for (const SharedArray& array : block.arrays) {
        intact = intact && guarded(array.memory - GUARD);
    }
    if (block.arrays_bytes != 0) {
        intact = intact && guarded(block.shared + block.arrays_bytes);
    }
    if (!intact) {
        block.failure = "a write beyond shared memory";
    }
}

void run_block(Machine* machine, size_t dynamic_bytes) {
    start_block(machine, dynamic_bytes);
    Block& block = *machine;
    unsigned first = 0;
    if (block.random != 0) {
        first = next_random(&block) % block.alive;
    }
    current = &machine->lanes[first];
    gb_switch(&block.host_stack_pointer, current->stack_pointer);
    current = nullptr;
    if (block.failure == nullptr) {
        check_guards(block, dynamic_bytes);
    }
}

std::unique_ptr<Machine> take_machine() {
    std::lock_guard<std::mutex> guard(idle_lock);
    if (idle.empty()) {
        return std::unique_ptr<Machine>(new Machine());
    }
    std::unique_ptr<Machine> machine = std::move(idle.back());
    idle.pop_back();
    return machine;
}

}  // namespace

void set_schedule(unsigned seed, bool eager) {
    schedule = {seed, eager};
}

void fail(const char* why) {
    Lane* self = current;
    self->block->failure = why;
    gb_switch(&self->stack_pointer, self->block->host_stack_pointer);
    abort();
}

Lane* lane_of_another_warp() {
    Block* block = current->block;
    const unsigned warps = static_cast<unsigned>(block->warps.size());
    unsigned at = static_cast<unsigned>(current->warp - block->warps.data());
    unsigned lane = 0;
    if (block->random != 0) {
        const unsigned random = next_random(block);
        at = random % warps;
        lane = random >> 27;
    }
    for (unsigned i = 1; i <= warps; i++) {
        const Warp& warp = block->warps[(at + i) % warps];
        if (warp.ready != 0) {
            const unsigned later = warp.ready >> lane << lane;
            return warp.lanes + __builtin_ctz(later != 0 ? later : warp.ready);
        }
    }
    fail(why_stuck(*block));
}

void block_barrier() {
    Lane* self = current;
    Block* block = self->block;
    if (++block->at_barrier == block->alive) {
        release_barrier(block);
        return;
    }
    self->warp->ready &= ~(1u << self->number);
    wait();
}

// Arrays lie one after another with a guard before each and behind the last.
void* shared_memory(const void* place, size_t bytes) {
    Block* block = current->block;
    for (const SharedArray& array : block->arrays) {
        if (array.place == place) {
            return array.memory;
        }
    }
    unsigned char* guard = block->shared + block->arrays_bytes;
    unsigned char* memory = guard + GUARD;
    const size_t padded = (bytes + 15) / 16 * 16;
    if (memory + padded + GUARD > block->shared + ARRAYS) {
        fail("more than 48 KiB of GB_SHARED");
    }
    memset(guard, GUARD_BYTE, GUARD);
    memset(memory, POISON, bytes);
    memset(memory + bytes, GUARD_BYTE, padded - bytes + GUARD);
    block->arrays.push_back({place, memory});
    block->arrays_bytes += GUARD + padded;
    return memory;
}

const char* launch(const Kernel& kernel, void** arguments, dim3 grid, dim3 size,
                   size_t dynamic_bytes) {
    std::unique_ptr<Machine> machine = take_machine();
    Block& block = *machine;
    machine->kernel = &kernel;
    machine->arguments = arguments;
    const uintptr_t start = reinterpret_cast<uintptr_t>(machine->shared_memory.get());
    block.shared = reinterpret_cast<unsigned char*>((start + 1023) / 1024 * 1024);
    block.dynamic = block.shared + ARRAYS;
    block.size = size;
    block.grid = grid;
    block.random = schedule.seed * 2654435761u;
    block.eager = schedule.eager;
    block.failure = nullptr;
    for (unsigned z = 0; z < grid.z; z++) {
        for (unsigned y = 0; y < grid.y; y++) {
            for (unsigned x = 0; x < grid.x && block.failure == nullptr; x++) {
                block.index = {x, y, z};
                run_block(machine.get(), dynamic_bytes);
            }
        }
    }
    const char* failure = block.failure;
    std::lock_guard<std::mutex> guard(idle_lock);
    idle.push_back(std::move(machine));
    return failure;
}

}  // namespace gbemu

// The same for tests, which find it by its name.
extern "C" __attribute__((visibility("default"))) void gb_emu_schedule(unsigned seed, int eager) {
    gbemu::set_schedule(seed, eager != 0);
}
