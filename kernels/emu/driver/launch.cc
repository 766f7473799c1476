// Modules, functions and launches. An image is not looked at, as every module has all kernels of
// the library; one that begins with "wrong GPU" is for another device.
#include <string.h>

#include <map>
#include <memory>
#include <string>

#include "../machine.h"
#include "control.h"
#include "stream.h"

namespace gbemu {

struct Function {
    const Kernel* kernel;
    unsigned max_dynamic;
};

struct Module {
    std::map<std::string, std::unique_ptr<Function>> functions;
};

namespace {

enum : int {
    FUNCTION_MAX_THREADS = 0,
    FUNCTION_REGISTERS = 4,
    FUNCTION_MAX_DYNAMIC = 8,
    FUNCTION_CARVEOUT = 9,
};
constexpr unsigned PLAIN_SHARED = 48 << 10;

const Kernel* find_kernel(const char* name) {
    for (const Kernel* kernel = kernels; kernel != nullptr; kernel = kernel->next) {
        if (strcmp(kernel->name, name) == 0) {
            return kernel;
        }
    }
    return nullptr;
}

CUresult load(CUmodule* module, const void* image) {
    if (image == nullptr) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (strncmp(static_cast<const char*>(image), "wrong GPU", 9) == 0) {
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    }
    *module = new Module();
    return CUDA_SUCCESS;
}

// Copies of a kernel's arguments: a graph is run after they have gone.
class Arguments {
  public:
    Arguments(const size_t* sizes, void** arguments) {
        for (size_t i = 0; sizes[i] != 0; i++) {
            const char* bytes = static_cast<const char*>(arguments[i]);
            values_.emplace_back(bytes, bytes + sizes[i]);
        }
    }

    std::vector<void*> pointers() {
        std::vector<void*> pointers;
        for (std::vector<char>& value : values_) {
            pointers.push_back(value.data());
        }
        return pointers;
    }

  private:
    std::vector<std::vector<char>> values_;
};

bool possible(const Function& function, const CUlaunchConfig& config) {
    const unsigned long long threads =
        1ull * config.blockDimX * config.blockDimY * config.blockDimZ;
    const unsigned long long blocks = 1ull * config.gridDimX * config.gridDimY * config.gridDimZ;
    return threads != 0 && config.blockDimX <= 1024 && config.blockDimY <= 1024 &&
           config.blockDimZ <= 64 && threads <= 1024 && blocks != 0 &&
           config.gridDimX <= 0x7fffffffu && config.gridDimY <= 65535 &&
           config.gridDimZ <= 65535 && config.sharedMemBytes <= function.max_dynamic &&
           config.sharedMemBytes <= settings().block_shared();
}

CUresult check_attributes(const CUlaunchConfig& config) {
    for (unsigned i = 0; i < config.numAttrs; i++) {
        const int id = config.attrs[i].id;
        if (id != CU_LAUNCH_ATTRIBUTE_IGNORE && id != CU_LAUNCH_ATTRIBUTE_PRIORITY &&
            id != CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION) {
            return CUDA_ERROR_NOT_SUPPORTED;
        }
    }
    return CUDA_SUCCESS;
}

void run_kernel(const Kernel& kernel, const CUlaunchConfig& config, Arguments& arguments) {
    const dim3 grid(config.gridDimX, config.gridDimY, config.gridDimZ);
    const dim3 block(config.blockDimX, config.blockDimY, config.blockDimZ);
    const char* failure =
        launch(kernel, arguments.pointers().data(), grid, block, config.sharedMemBytes);
    if (failure != nullptr) {
        const bool stuck = strncmp(failure, "DEADLOCK", 8) == 0;
        const std::string text = std::string(kernel.name) + ": " + failure;
        // Of a failure on the device the next call hears, or the one that waits for it.
        device_failed(stuck ? CUDA_ERROR_LAUNCH_TIMEOUT : CUDA_ERROR_LAUNCH_FAILED, text.c_str());
    }
}

CUresult launch_function(const CUlaunchConfig& config, CUfunction function, void** arguments,
                         void** extra) {
    if (function == nullptr || extra != nullptr) {
        return function == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_ERROR_NOT_SUPPORTED;
    }
    const Kernel& kernel = *function->kernel;
    if (!possible(*function, config) || (arguments == nullptr && kernel.argument_sizes[0] != 0)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    GB_RETURN_IF_FAILED(check_attributes(config));
    Arguments copies(kernel.argument_sizes, arguments);
    CUlaunchConfig alone = config;
    alone.attrs = nullptr;
    return enqueue(config.hStream, [&kernel, alone, copies]() mutable {
        run_kernel(kernel, alone, copies);
    });
}

}  // namespace
}  // namespace gbemu

GB_API CUresult cuModuleLoadData(CUmodule* module, const void* image) {
    GB_ENTER();
    return gbemu::load(module, image);
}

GB_API CUresult cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned, int*, void**) {
    GB_ENTER();
    return gbemu::load(module, image);
}

GB_API CUresult cuModuleUnload(CUmodule module) {
    GB_ENTER_HOST();
    delete module;
    return CUDA_SUCCESS;
}

GB_API CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
    GB_ENTER();
    const gbemu::Kernel* kernel = gbemu::find_kernel(name);
    if (kernel == nullptr) {
        return CUDA_ERROR_NOT_FOUND;
    }
    std::unique_ptr<gbemu::Function>& found = module->functions[name];
    if (!found) {
        found.reset(new gbemu::Function{kernel, gbemu::PLAIN_SHARED});
    }
    *function = found.get();
    return CUDA_SUCCESS;
}

GB_API CUresult cuFuncSetAttribute(CUfunction function, int attribute, int value) {
    GB_ENTER();
    if (attribute == gbemu::FUNCTION_CARVEOUT) {
        return CUDA_SUCCESS;
    }
    if (attribute != gbemu::FUNCTION_MAX_DYNAMIC || value < 0 ||
        static_cast<unsigned>(value) > gbemu::settings().block_shared()) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    function->max_dynamic = static_cast<unsigned>(value);
    return CUDA_SUCCESS;
}

// Nothing is loaded late here.
GB_API CUresult cuFuncLoad(CUfunction) {
    GB_ENTER();
    return CUDA_SUCCESS;
}

GB_API CUresult cuFuncGetAttribute(int* value, int attribute, CUfunction function) {
    GB_ENTER();
    switch (attribute) {
        case gbemu::FUNCTION_MAX_THREADS:
            *value = 1024;
            break;
        case gbemu::FUNCTION_REGISTERS:
            *value = 64;
            break;
        case gbemu::FUNCTION_MAX_DYNAMIC:
            *value = static_cast<int>(function->max_dynamic);
            break;
        default:
            *value = 0;
    }
    return CUDA_SUCCESS;
}

// By shared memory and threads; the emulator knows of no registers.
GB_API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction, int threads,
                                                            size_t dynamic_bytes) {
    GB_ENTER();
    const gbemu::Settings settings = gbemu::settings();
    const int most = static_cast<int>(settings.processor_threads());
    const int by_threads = most / (threads < 64 ? 64 : threads);
    const int by_memory = static_cast<int>(settings.processor_shared() / (dynamic_bytes + 1024));
    *blocks = by_threads < by_memory ? by_threads : by_memory;
    return CUDA_SUCCESS;
}

GB_API CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y,
                               unsigned grid_z, unsigned block_x, unsigned block_y,
                               unsigned block_z, unsigned dynamic_bytes, CUstream stream,
                               void** arguments, void** extra) {
    GB_ENTER();
    const CUlaunchConfig config = {grid_x,  grid_y,        grid_z, block_x, block_y,
                                   block_z, dynamic_bytes, stream, nullptr, 0};
    return gbemu::launch_function(config, function, arguments, extra);
}

GB_API CUresult cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction function,
                                 void** arguments, void** extra) {
    GB_ENTER();
    return gbemu::launch_function(*config, function, arguments, extra);
}
