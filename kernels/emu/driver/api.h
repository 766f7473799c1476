// The part of the CUDA driver API (13.0) that the fake driver has: types, numbers, and the way into
// every function.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define GB_API extern "C" __attribute__((visibility("default")))

namespace gbemu {
struct Stream;
struct Event;
struct Graph;
struct Executable;
struct Module;
struct Function;
}  // namespace gbemu

using CUdevice = int;
using CUdeviceptr = unsigned long long;
using CUcontext = void*;
using CUstream = gbemu::Stream*;
using CUevent = gbemu::Event*;
using CUgraph = gbemu::Graph*;
using CUgraphExec = gbemu::Executable*;
using CUmodule = gbemu::Module*;
using CUfunction = gbemu::Function*;

enum CUresult : int {
    CUDA_SUCCESS = 0,
    CUDA_ERROR_INVALID_VALUE = 1,
    CUDA_ERROR_OUT_OF_MEMORY = 2,
    CUDA_ERROR_NOT_INITIALIZED = 3,
    CUDA_ERROR_NO_DEVICE = 100,
    CUDA_ERROR_INVALID_DEVICE = 101,
    CUDA_ERROR_INVALID_IMAGE = 200,
    CUDA_ERROR_INVALID_CONTEXT = 201,
    CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
    CUDA_ERROR_ECC_UNCORRECTABLE = 214,
    CUDA_ERROR_INVALID_HANDLE = 400,
    CUDA_ERROR_NOT_FOUND = 500,
    CUDA_ERROR_NOT_READY = 600,
    CUDA_ERROR_ILLEGAL_ADDRESS = 700,
    CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES = 701,
    CUDA_ERROR_LAUNCH_TIMEOUT = 702,
    CUDA_ERROR_MISALIGNED_ADDRESS = 716,
    CUDA_ERROR_LAUNCH_FAILED = 719,
    CUDA_ERROR_NOT_SUPPORTED = 801,
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900,
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901,
    CUDA_ERROR_STREAM_CAPTURE_UNMATCHED = 903,
    CUDA_ERROR_CAPTURED_EVENT = 907,
    CUDA_ERROR_UNKNOWN = 999,
};

struct CUlaunchAttribute {
    int id;
    char pad[4];
    char value[64];
};

enum : int {
    CU_LAUNCH_ATTRIBUTE_IGNORE = 0,
    CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION = 6,
    CU_LAUNCH_ATTRIBUTE_PRIORITY = 8,
};

struct CUlaunchConfig {
    unsigned gridDimX, gridDimY, gridDimZ;
    unsigned blockDimX, blockDimY, blockDimZ;
    unsigned sharedMemBytes;
    CUstream hStream;
    CUlaunchAttribute* attrs;
    unsigned numAttrs;
};

namespace gbemu {

// What a call finds before it does anything: a failure to inject, or an earlier one that lasts.
CUresult enter(const char* function);

// The same for functions that go on working after the device has failed.
CUresult enter_host(const char* function);

// Fails the device, for good, as an illegal address does.
CUresult device_failed(CUresult result, const char* why);

// How the device has failed, if it has.
CUresult device_state();

// What a call says that has waited for the device.
CUresult after_waiting();

// Whether this thread records a stream: what waits for the device must not be called then.
bool thread_captures();
CUresult refuse_capture();

}  // namespace gbemu

#define GB_RETURN_IF_FAILED(call)                      \
    do {                                               \
        const CUresult gb_result = (call);             \
        if (gb_result != CUDA_SUCCESS) return gb_result; \
    } while (0)

#define GB_ENTER() GB_RETURN_IF_FAILED(gbemu::enter(__func__))
#define GB_ENTER_HOST() GB_RETURN_IF_FAILED(gbemu::enter_host(__func__))

// Of functions that wait for the device.
#define GB_ENTER_WAITING() \
    GB_ENTER();            \
    GB_RETURN_IF_FAILED(gbemu::refuse_capture())
