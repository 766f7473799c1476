// Device memory is the host's, between guards of poison: what lies beyond an allocation is looked
// at when it is freed and whenever somebody waits for the device. Fresh memory is poison too, as is
// memory of the host that a later copy will fill.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <map>
#include <mutex>

#include "control.h"
#include "stream.h"

namespace {

constexpr size_t GUARD = 512;
constexpr unsigned char GUARD_BYTE = 0xa5;
constexpr unsigned char POISON = 0xff;
// Larger memory stays as the host gives it, so that what nobody touches costs nothing.
constexpr size_t POISONED = 64 << 20;

std::mutex lock;
std::map<CUdeviceptr, size_t> device_memory;  // bytes
std::map<CUdeviceptr, size_t> host_memory;  // that is pinned
std::multimap<CUdeviceptr, size_t> to_be_read;  // of the host, by copies to the device
size_t in_use;

unsigned char* at(CUdeviceptr address) {
    return reinterpret_cast<unsigned char*>(address);
}

CUdeviceptr address_of(const void* memory) {
    return reinterpret_cast<CUdeviceptr>(memory);
}

CUresult allocate(CUdeviceptr* address, size_t bytes) {
    std::lock_guard<std::mutex> guard(lock);
    if (bytes == 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    void* memory = nullptr;
    const gbemu::Settings settings = gbemu::settings();
    const size_t taken = in_use + settings.used;
    if (taken > settings.memory || bytes > settings.memory - taken ||
        posix_memalign(&memory, GUARD, bytes + 2 * GUARD) != 0) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    unsigned char* start = static_cast<unsigned char*>(memory);
    memset(start, GUARD_BYTE, GUARD);
    memset(start + GUARD, POISON, bytes <= POISONED ? bytes : 0);
    memset(start + GUARD + bytes, GUARD_BYTE, GUARD);
    *address = address_of(start + GUARD);
    device_memory[*address] = bytes;
    in_use += bytes;
    return CUDA_SUCCESS;
}

bool intact(const unsigned char* guard) {
    for (size_t i = 0; i < GUARD; i++) {
        if (guard[i] != GUARD_BYTE) {
            return false;
        }
    }
    return true;
}

CUresult check(CUdeviceptr address, size_t bytes) {
    const bool before = intact(at(address) - GUARD), behind = intact(at(address) + bytes);
    if (before && behind) {
        return CUDA_SUCCESS;
    }
    char text[100];
    snprintf(text, sizeof text, "a write %s device memory of %zu bytes",
             before ? "beyond" : "before", bytes);
    return gbemu::device_failed(CUDA_ERROR_ILLEGAL_ADDRESS, text);
}

CUresult release(CUdeviceptr address) {
    std::lock_guard<std::mutex> guard(lock);
    const auto found = device_memory.find(address);
    if (found == device_memory.end()) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    const CUresult result = check(address, found->second);
    in_use -= found->second;
    device_memory.erase(found);
    free(at(address) - GUARD);
    return result;
}

// Whether the bytes lie within one allocation.
bool holds(const std::map<CUdeviceptr, size_t>& memory, CUdeviceptr address, size_t bytes) {
    auto next = memory.upper_bound(address);
    if (next == memory.begin()) {
        return false;
    }
    --next;
    return address + bytes <= next->first + next->second;
}

CUresult check_device_range(CUdeviceptr address, size_t bytes) {
    std::lock_guard<std::mutex> guard(lock);
    const bool known = holds(device_memory, address, bytes) || holds(host_memory, address, bytes);
    return known ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult copy(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
    return gbemu::enqueue(stream, [=] { memmove(at(to), at(from), bytes); });
}

bool is_pinned(CUdeviceptr host, size_t bytes) {
    std::lock_guard<std::mutex> guard(lock);
    return holds(host_memory, host, bytes);
}

bool is_late(CUstream stream) {
    return gbemu::settings().deferred && !gbemu::is_capturing(stream);
}

// Pinned memory is read when the copy is made; other memory has been read when the call returns.
CUresult copy_to_device(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
    if (!is_late(stream)) {
        return copy(to, from, bytes, stream);
    }
    if (!is_pinned(from, bytes)) {
        const std::vector<unsigned char> staged(at(from), at(from) + bytes);
        return gbemu::enqueue(stream, [=] { memmove(at(to), staged.data(), bytes); });
    }
    std::unique_lock<std::mutex> guard(lock);
    const auto reading = to_be_read.emplace(from, bytes);
    guard.unlock();
    return gbemu::enqueue(stream, [=] {
        memmove(at(to), at(from), bytes);
        std::lock_guard<std::mutex> guard(lock);
        to_be_read.erase(reading);
    });
}

bool is_to_be_read(CUdeviceptr host, size_t bytes) {
    std::lock_guard<std::mutex> guard(lock);
    for (const auto& memory : to_be_read) {
        if (memory.first < host + bytes && host < memory.first + memory.second) {
            return true;
        }
    }
    return false;
}

// Pinned memory is written when the copy is made; other memory when the call returns.
CUresult copy_to_host(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
    if (!is_late(stream)) {
        return copy(to, from, bytes, stream);
    }
    if (is_pinned(to, bytes)) {
        if (!is_to_be_read(to, bytes)) {
            memset(at(to), POISON, bytes);
        }
        return copy(to, from, bytes, stream);
    }
    GB_RETURN_IF_FAILED(copy(to, from, bytes, stream));
    gbemu::finish(stream);
    return gbemu::after_waiting();
}

CUresult fill(CUdeviceptr to, const void* pattern, size_t width, size_t count, CUstream stream) {
    GB_RETURN_IF_FAILED(check_device_range(to, width * count));
    unsigned value = 0;
    memcpy(&value, pattern, width);
    return gbemu::enqueue(stream, [=] {
        for (size_t i = 0; i < count; i++) {
            memcpy(at(to) + i * width, &value, width);
        }
    });
}

}  // namespace

size_t gbemu::bytes_in_use() {
    std::lock_guard<std::mutex> guard(lock);
    return in_use;
}

CUresult gbemu::check_guards() {
    std::lock_guard<std::mutex> guard(lock);
    for (const auto& memory : device_memory) {
        GB_RETURN_IF_FAILED(check(memory.first, memory.second));
    }
    return CUDA_SUCCESS;
}

GB_API CUresult cuMemAlloc_v2(CUdeviceptr* address, size_t bytes) {
    GB_ENTER_WAITING();
    return allocate(address, bytes);
}

GB_API CUresult cuMemFree_v2(CUdeviceptr address) {
    GB_ENTER_WAITING();
    if (address == 0) {
        return CUDA_SUCCESS;
    }
    gbemu::run_all();
    GB_RETURN_IF_FAILED(gbemu::device_state());
    return release(address);
}

GB_API CUresult cuMemAllocAsync(CUdeviceptr* address, size_t bytes, CUstream stream) {
    GB_ENTER();
    return gbemu::is_capturing(stream) ? CUDA_ERROR_NOT_SUPPORTED : allocate(address, bytes);
}

GB_API CUresult cuMemFreeAsync(CUdeviceptr address, CUstream stream) {
    GB_ENTER();
    if (gbemu::is_capturing(stream)) {
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    GB_RETURN_IF_FAILED(check_device_range(address, 0));
    return gbemu::enqueue(stream, [=] { release(address); });
}

GB_API CUresult cuMemHostAlloc(void** memory, size_t bytes, unsigned) {
    GB_ENTER();
    if (posix_memalign(memory, 4096, bytes) != 0) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    std::lock_guard<std::mutex> guard(lock);
    host_memory[address_of(*memory)] = bytes;
    return CUDA_SUCCESS;
}

GB_API CUresult cuMemAllocHost_v2(void** memory, size_t bytes) {
    return cuMemHostAlloc(memory, bytes, 0);
}

GB_API CUresult cuMemFreeHost(void* memory) {
    GB_ENTER_HOST();
    gbemu::run_all();
    std::lock_guard<std::mutex> guard(lock);
    if (host_memory.erase(address_of(memory)) == 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    free(memory);
    return CUDA_SUCCESS;
}

GB_API CUresult cuMemHostRegister_v2(void* memory, size_t bytes, unsigned) {
    GB_ENTER();
    std::lock_guard<std::mutex> guard(lock);
    host_memory[address_of(memory)] = bytes;
    return CUDA_SUCCESS;
}

GB_API CUresult cuMemHostUnregister(void* memory) {
    GB_ENTER_HOST();
    gbemu::run_all();
    std::lock_guard<std::mutex> guard(lock);
    return host_memory.erase(address_of(memory)) == 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

GB_API CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr* address, void* memory, unsigned) {
    GB_ENTER();
    *address = address_of(memory);
    return check_device_range(*address, 1);
}

// CU_POINTER_ATTRIBUTE_MEMORY_TYPE alone: 1 of the host, 2 of the device.
GB_API CUresult cuPointerGetAttribute(void* value, int attribute, CUdeviceptr address) {
    GB_ENTER();
    if (attribute != 2) {
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    GB_RETURN_IF_FAILED(check_device_range(address, 1));
    std::lock_guard<std::mutex> guard(lock);
    *static_cast<unsigned*>(value) = holds(device_memory, address, 1) ? 2 : 1;
    return CUDA_SUCCESS;
}

GB_API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes,
                                     CUstream stream) {
    GB_ENTER();
    GB_RETURN_IF_FAILED(check_device_range(to, bytes));
    return copy_to_device(to, address_of(from), bytes, stream);
}

GB_API CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
    GB_ENTER();
    GB_RETURN_IF_FAILED(check_device_range(from, bytes));
    return copy_to_host(address_of(to), from, bytes, stream);
}

GB_API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes,
                                     CUstream stream) {
    GB_ENTER();
    GB_RETURN_IF_FAILED(check_device_range(to, bytes));
    GB_RETURN_IF_FAILED(check_device_range(from, bytes));
    return copy(to, from, bytes, stream);
}

// Memory that is not pinned has been read when this returns, and may still be on its way.
GB_API CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t bytes) {
    GB_ENTER_WAITING();
    GB_RETURN_IF_FAILED(check_device_range(to, bytes));
    gbemu::finish(nullptr);
    GB_RETURN_IF_FAILED(gbemu::after_waiting());
    GB_RETURN_IF_FAILED(copy_to_device(to, address_of(from), bytes, nullptr));
    if (is_pinned(address_of(from), bytes)) {
        gbemu::finish(nullptr);
    }
    return gbemu::device_state();
}

GB_API CUresult cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t bytes) {
    GB_ENTER_WAITING();
    GB_RETURN_IF_FAILED(check_device_range(from, bytes));
    GB_RETURN_IF_FAILED(copy(address_of(to), from, bytes, nullptr));
    gbemu::finish(nullptr);
    return gbemu::after_waiting();
}

// Within the device nobody waits, nor does who sets memory.
GB_API CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    GB_ENTER_WAITING();
    GB_RETURN_IF_FAILED(check_device_range(to, bytes));
    GB_RETURN_IF_FAILED(check_device_range(from, bytes));
    return copy(to, from, bytes, nullptr);
}

GB_API CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t n, CUstream stream) {
    GB_ENTER();
    return fill(to, &value, 1, n, stream);
}

GB_API CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t n, CUstream stream) {
    GB_ENTER();
    return fill(to, &value, 4, n, stream);
}

GB_API CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t n) {
    GB_ENTER_WAITING();
    return fill(to, &value, 1, n, nullptr);
}

GB_API CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t n) {
    GB_ENTER_WAITING();
    return fill(to, &value, 4, n, nullptr);
}
