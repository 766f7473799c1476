// The one device and its one context, the primary one.
#include <stdio.h>
#include <string.h>

#include <atomic>

#include "control.h"
#include "queue.h"

namespace {

std::atomic<bool> initialized{false};
char primary_context;
thread_local CUcontext current_context;

CUresult check_device(CUdevice device) {
    if (!initialized) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

// By their numbers in CUdevice_attribute; what an H100 says, where it matters to anybody.
int attribute(int number) {
    const gbemu::Settings settings = gbemu::settings();
    switch (number) {
        case 1:  // MAX_THREADS_PER_BLOCK
        case 2:  // MAX_BLOCK_DIM_X
        case 3:  // MAX_BLOCK_DIM_Y
            return 1024;
        case 4:  // MAX_BLOCK_DIM_Z
            return 64;
        case 5:  // MAX_GRID_DIM_X
            return 2147483647;
        case 6:  // MAX_GRID_DIM_Y
        case 7:  // MAX_GRID_DIM_Z
            return 65535;
        case 8:  // MAX_SHARED_MEMORY_PER_BLOCK
            return 48 << 10;
        case 10:  // WARP_SIZE
            return 32;
        case 12:  // MAX_REGISTERS_PER_BLOCK
        case 82:  // MAX_REGISTERS_PER_MULTIPROCESSOR
            return 65536;
        case 13:  // CLOCK_RATE, kHz
            return 1980000;
        case 16:  // MULTIPROCESSOR_COUNT
            return 132;
        case 36:  // MEMORY_CLOCK_RATE, kHz
            return 2619000;
        case 37:  // GLOBAL_MEMORY_BUS_WIDTH
            return 5120;
        case 38:  // L2_CACHE_SIZE
            return 50 << 20;
        case 39:  // MAX_THREADS_PER_MULTIPROCESSOR
            return static_cast<int>(settings.processor_threads());
        case 41:  // UNIFIED_ADDRESSING
        case 78:  // STREAM_PRIORITIES_SUPPORTED
        case 115:  // MEMORY_POOLS_SUPPORTED
            return 1;
        case 75:
            return settings.major;
        case 76:
            return settings.minor;
        case 81:  // MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
            return static_cast<int>(settings.processor_shared());
        case 97:  // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
            return static_cast<int>(settings.block_shared());
        default:
            return 0;
    }
}

}  // namespace

GB_API CUresult cuInit(unsigned) {
    GB_ENTER_HOST();
    if (!gbemu::settings().present) {
        return CUDA_ERROR_NO_DEVICE;
    }
    initialized = true;
    return CUDA_SUCCESS;
}

GB_API CUresult cuDriverGetVersion(int* version) {
    GB_ENTER_HOST();
    *version = gbemu::settings().driver;
    return CUDA_SUCCESS;
}

GB_API CUresult cuDeviceGetCount(int* count) {
    GB_ENTER_HOST();
    *count = 1;
    return check_device(0);
}

GB_API CUresult cuDeviceGet(CUdevice* device, int ordinal) {
    GB_ENTER_HOST();
    *device = ordinal;
    return check_device(ordinal);
}

GB_API CUresult cuDeviceGetName(char* name, int length, CUdevice device) {
    GB_ENTER_HOST();
    snprintf(name, static_cast<size_t>(length), "Glassbox emulated GPU");
    return check_device(device);
}

GB_API CUresult cuDeviceGetUuid_v2(unsigned char* uuid, CUdevice device) {
    GB_ENTER_HOST();
    memcpy(uuid, "Glassbox emulate", 16);
    return check_device(device);
}

GB_API CUresult cuDeviceGetPCIBusId(char* text, int length, CUdevice device) {
    GB_ENTER_HOST();
    snprintf(text, static_cast<size_t>(length), "0000:00:00.0");
    return check_device(device);
}

GB_API CUresult cuDeviceGetAttribute(int* value, int number, CUdevice device) {
    GB_ENTER_HOST();
    *value = attribute(number);
    return check_device(device);
}

GB_API CUresult cuDeviceTotalMem_v2(size_t* bytes, CUdevice device) {
    GB_ENTER_HOST();
    *bytes = gbemu::settings().memory;
    return check_device(device);
}

GB_API CUresult cuMemGetInfo_v2(size_t* available, size_t* total) {
    GB_ENTER();
    const gbemu::Settings settings = gbemu::settings();
    *total = settings.memory;
    const size_t used = gbemu::bytes_in_use() + settings.used;
    *available = used < *total ? *total - used : 0;
    return CUDA_SUCCESS;
}

GB_API CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
    GB_ENTER();
    *context = &primary_context;
    return check_device(device);
}

GB_API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    GB_ENTER_HOST();
    return check_device(device);
}

GB_API CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned* flags, int* active) {
    GB_ENTER_HOST();
    *flags = 0;
    *active = 1;
    return check_device(device);
}

GB_API CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned) {
    GB_ENTER_HOST();
    return check_device(device);
}

GB_API CUresult cuCtxSetCurrent(CUcontext context) {
    GB_ENTER_HOST();
    if (context != nullptr && context != &primary_context) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    current_context = context;
    return CUDA_SUCCESS;
}

GB_API CUresult cuCtxGetCurrent(CUcontext* context) {
    GB_ENTER_HOST();
    *context = current_context;
    return CUDA_SUCCESS;
}

GB_API CUresult cuCtxGetDevice(CUdevice* device) {
    GB_ENTER_HOST();
    *device = 0;
    return current_context == nullptr ? CUDA_ERROR_INVALID_CONTEXT : CUDA_SUCCESS;
}

GB_API CUresult cuCtxSetFlags(unsigned) {
    GB_ENTER();
    return CUDA_SUCCESS;
}

GB_API CUresult cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    GB_ENTER();
    *least = 0;
    *greatest = -5;
    return CUDA_SUCCESS;
}

GB_API CUresult cuCtxSynchronize() {
    GB_ENTER_WAITING();
    gbemu::run_all();
    return gbemu::after_waiting();
}
