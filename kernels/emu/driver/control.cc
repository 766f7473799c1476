// What the fake device is and how it fails. GLASSBOX_FAKE_CUDA, or gb_fake_configure at run time,
// takes words between commas:
//   no_device                 cuInit finds none
//   driver=12040              the version of the driver
//   capability=8.0            of the device
//   memory=1073741824         its bytes
//   used=1073741824           those that other processes have
//   deferred                  work is done when somebody waits for it, and not before
//   fail=cuLaunchKernelEx:57:700   the 57th call from now on returns 700
//   hang=cuMemFree:1          the first call from now on does not return
//   strict_end                the process is aborted if it runs exit handlers while device memory
//                             is taken, or calls the driver after them
#include "control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mutex>
#include <string>

#include "queue.h"

namespace gbemu {

namespace {

// The end of the process, where somebody looks: the driver takes itself down.
void end_strictly();

// A call to come, by its function and number.
struct Call {
    std::string function;
    unsigned long calls_until = 0;

    void configure(const std::string& value) {
        const size_t colon = value.find(':');
        function = value.substr(0, colon);
        calls_until = strtoul(value.c_str() + colon + 1, nullptr, 10);
    }

    bool is(const std::string& called) {
        return calls_until > 0 && called == function && --calls_until == 0;
    }
};

struct Control {
    std::mutex lock;
    Settings settings;
    CUresult failed = CUDA_SUCCESS;
    Call failing;
    CUresult injected = CUDA_SUCCESS;
    Call hanging;
    bool is_strict = false;
    bool has_ended = false;

    Control() {
        const char* words = getenv("GLASSBOX_FAKE_CUDA");
        configure(words == nullptr ? "" : words);
        if (is_strict) {
            atexit(end_strictly);
        }
    }

    void configure(const std::string& words) {
        settings = Settings();
        failed = CUDA_SUCCESS;
        failing = Call();
        hanging = Call();
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
        } else if (name == "used") {
            settings.used = strtoull(value.c_str(), nullptr, 10);
        } else if (name == "capability") {
            sscanf(value.c_str(), "%d.%d", &settings.major, &settings.minor);
        } else if (name == "deferred") {
            settings.deferred = true;
        } else if (name == "fail") {
            failing.configure(value);
            injected = static_cast<CUresult>(atoi(value.c_str() + value.rfind(':') + 1));
        } else if (name == "hang") {
            hanging.configure(value);
        } else if (name == "strict_end") {
            is_strict = true;
        } else {
            fprintf(stderr, "fake CUDA: unknown word '%s'\n", word.c_str());
            abort();
        }
    }

    // Functions are counted without the suffix of their version.
    CUresult inject(std::string function, std::unique_lock<std::mutex>& guard) {
        if (has_ended) {
            fprintf(stderr, "fake CUDA: %s is called while the process ends\n", function.c_str());
            abort();
        }
        const size_t suffix = function.rfind("_v");
        if (suffix != std::string::npos) {
            function.resize(suffix);
        }
        if (hanging.is(function)) {
            guard.unlock();
            for (;;) {
                pause();
            }
        }
        if (!failing.is(function)) {
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
    // Never destroyed: calls may come while the process ends.
    static Control& control = *new Control();
    return control;
}

void end_strictly() {
    {
        std::lock_guard<std::mutex> guard(control().lock);
        control().has_ended = true;
    }
    const size_t left = bytes_in_use();
    if (left > 0) {
        fprintf(stderr, "fake CUDA: the process ends with %zu bytes taken\n", left);
        abort();
    }
}

}  // namespace

// CUDA's table of compute capabilities. Consumer devices have less.
unsigned Settings::block_shared() const {
    const bool consumer = major == 12 || (major == 8 && (minor == 6 || minor == 9));
    return consumer ? 99 << 10 : major == 8 ? 163 << 10 : 227 << 10;
}

Settings settings() {
    std::lock_guard<std::mutex> guard(control().lock);
    return control().settings;
}

CUresult enter_host(const char* function) {
    std::unique_lock<std::mutex> guard(control().lock);
    return control().inject(function, guard);
}

CUresult enter(const char* function) {
    std::unique_lock<std::mutex> guard(control().lock);
    if (control().failed != CUDA_SUCCESS) {
        return control().failed;
    }
    return control().inject(function, guard);
}

CUresult device_state() {
    std::lock_guard<std::mutex> guard(control().lock);
    return control().failed;
}

CUresult after_waiting() {
    GB_RETURN_IF_FAILED(device_state());
    return check_guards();
}

CUresult device_failed(CUresult result, const char* why) {
    std::lock_guard<std::mutex> guard(control().lock);
    fprintf(stderr, "fake CUDA: %s\n", why);
    control().failed = result;
    return result;
}

}  // namespace gbemu

// Back to a device that works, of these settings. Allocations stay; what a failed device was asked
// for is never done.
GB_API void gb_fake_configure(const char* words) {
    if (gbemu::device_state() != CUDA_SUCCESS) {
        gbemu::run_all();
    }
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
    {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
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
