// What the fake device is and how it fails. GLASSBOX_FAKE_CUDA, or gb_fake_configure at run time,
// takes words between commas:
//   no_device                 cuInit finds none
//   driver=12040              the version of the driver
//   capability=8.0            of the device
//   memory=1073741824         its bytes
//   fail=cuLaunchKernelEx:57:700   the 57th call from now on returns 700
#include "control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mutex>
#include <string>

namespace gbemu {

namespace {

struct Control {
    std::mutex lock;
    Settings settings;
    CUresult failed = CUDA_SUCCESS;
    std::string failing;
    unsigned long calls_until_failure = 0;
    CUresult injected = CUDA_SUCCESS;

    Control() {
        const char* words = getenv("GLASSBOX_FAKE_CUDA");
        configure(words == nullptr ? "" : words);
    }

    void configure(const std::string& words) {
        settings = Settings();
        failed = CUDA_SUCCESS;
        calls_until_failure = 0;
        size_t begin = 0;
        while (begin < words.size()) {
            const size_t comma = words.find(',', begin);
            const size_t end = comma == std::string::npos ? words.size() : comma;
            configure_word(words.substr(begin, end - begin));
            begin = end + 1;
        }
    }

    void configure_word(const std::string& word) {
        const std::string name = word.substr(0, word.find('='));
        const std::string value = word.substr(word.find('=') + 1);
        if (name == "no_device") {
            settings.present = false;
        } else if (name == "driver") {
            settings.driver = atoi(value.c_str());
        } else if (name == "memory") {
            settings.memory = strtoull(value.c_str(), nullptr, 10);
        } else if (name == "capability") {
            sscanf(value.c_str(), "%d.%d", &settings.major, &settings.minor);
        } else if (name == "fail") {
            configure_failure(value);
        } else {
            fprintf(stderr, "fake CUDA: unknown word '%s'\n", word.c_str());
            abort();
        }
    }

    void configure_failure(const std::string& value) {
        const size_t first = value.find(':');
        const size_t second = value.find(':', first + 1);
        failing = value.substr(0, first);
        calls_until_failure = strtoul(value.c_str() + first + 1, nullptr, 10);
        injected = static_cast<CUresult>(atoi(value.c_str() + second + 1));
    }

    // Functions are counted without the suffix of their version.
    CUresult inject(std::string function) {
        const size_t suffix = function.rfind("_v");
        if (suffix != std::string::npos) {
            function.resize(suffix);
        }
        if (calls_until_failure == 0 || function != failing || --calls_until_failure != 0) {
            return CUDA_SUCCESS;
        }
        if (lasts(injected)) {
            failed = injected;
        }
        return injected;
    }

    // Errors after which a context is of no use.
    static bool lasts(CUresult result) {
        const int code = result;
        return code == CUDA_ERROR_ECC_UNCORRECTABLE || code == CUDA_ERROR_ILLEGAL_ADDRESS ||
               code == CUDA_ERROR_LAUNCH_TIMEOUT || (code >= 714 && code <= 719);
    }
};

Control& control() {
    static Control control;
    return control;
}

}  // namespace

Settings settings() {
    std::lock_guard<std::mutex> guard(control().lock);
    return control().settings;
}

CUresult enter_host(const char* function) {
    std::lock_guard<std::mutex> guard(control().lock);
    return control().inject(function);
}

CUresult enter(const char* function) {
    std::lock_guard<std::mutex> guard(control().lock);
    if (control().failed != CUDA_SUCCESS) {
        return control().failed;
    }
    return control().inject(function);
}

CUresult device_failed(CUresult result, const char* why) {
    std::lock_guard<std::mutex> guard(control().lock);
    fprintf(stderr, "fake CUDA: %s\n", why);
    control().failed = result;
    return result;
}

}  // namespace gbemu

// Back to a device that works, of these settings. Allocations stay.
GB_API void gb_fake_configure(const char* words) {
    std::lock_guard<std::mutex> guard(gbemu::control().lock);
    gbemu::control().configure(words);
}

namespace {

struct Name {
    CUresult result;
    const char* name;
    const char* text;
};

const Name NAMES[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_ERROR_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CUDA_ERROR_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU",
     "no kernel image is available for execution on the device"},
    {CUDA_ERROR_ECC_UNCORRECTABLE, "CUDA_ERROR_ECC_UNCORRECTABLE",
     "uncorrectable ECC error encountered"},
    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS",
     "an illegal memory access was encountered"},
    {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
     "too many resources requested for launch"},
    {CUDA_ERROR_LAUNCH_TIMEOUT, "CUDA_ERROR_LAUNCH_TIMEOUT",
     "the launch timed out and was terminated"},
    {CUDA_ERROR_MISALIGNED_ADDRESS, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
    {CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED",
     "the capture was not initiated in this stream"},
    {CUDA_ERROR_CAPTURED_EVENT, "CUDA_ERROR_CAPTURED_EVENT",
     "operation not permitted on an event last recorded in a capturing stream"},
    {CUDA_ERROR_UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

const Name* name_of(CUresult result) {
    for (const Name& name : NAMES) {
        if (name.result == result) {
            return &name;
        }
    }
    return nullptr;
}

}  // namespace

GB_API CUresult cuGetErrorName(CUresult result, const char** name) {
    const Name* known = name_of(result);
    *name = known == nullptr ? nullptr : known->name;
    return known == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

GB_API CUresult cuGetErrorString(CUresult result, const char** text) {
    const Name* known = name_of(result);
    *text = known == nullptr ? nullptr : known->text;
    return known == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}
