// Streams, events, and the recording of streams.
#include "stream.h"

#include <algorithm>
#include <chrono>

#include "control.h"

namespace gbemu {

namespace {

enum : int { CAPTURE_RELAXED = 2 };
enum : unsigned { EVENT_DISABLE_TIMING = 2, EVENT_RECORD_EXTERNAL = 1 };
enum : int { STATUS_NONE = 0, STATUS_ACTIVE = 1, STATUS_INVALIDATED = 2 };

// The capture that this thread began and has not ended.
thread_local std::weak_ptr<Capture> own_capture;

double now() {
    const auto time = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double, std::milli>(time).count();
}

CUresult record(Event* event) {
    event->recorded_at = now();
    return CUDA_SUCCESS;
}

int status(const Stream* stream) {
    if (!stream->capture) {
        return STATUS_NONE;
    }
    return stream->capture->invalid ? STATUS_INVALIDATED : STATUS_ACTIVE;
}

}  // namespace

Stream* stream_of(CUstream stream) {
    static Stream default_stream;
    return reinterpret_cast<uintptr_t>(stream) <= 2 ? &default_stream : stream;
}

bool is_capturing(CUstream stream) {
    return stream_of(stream)->capture != nullptr;
}

CUresult enqueue(CUstream stream, Work work) {
    const std::shared_ptr<Capture>& capture = stream_of(stream)->capture;
    if (!capture) {
        return work();
    }
    if (capture->invalid) {
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    capture->graph->nodes.push_back(std::move(work));
    return CUDA_SUCCESS;
}

bool thread_captures() {
    const std::shared_ptr<Capture> capture = own_capture.lock();
    return capture && capture->mode != CAPTURE_RELAXED;
}

CUresult refuse_capture() {
    if (!thread_captures()) {
        return CUDA_SUCCESS;
    }
    own_capture.lock()->invalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

// Waiting for one stream or event: not for one that is being recorded.
static CUresult wait_for(const std::shared_ptr<Capture>& capture, CUresult refusal) {
    if (capture) {
        capture->invalid = true;
        return refusal;
    }
    return check_guards();
}

}  // namespace gbemu

using gbemu::stream_of;

GB_API CUresult cuStreamCreate(CUstream* stream, unsigned) {
    GB_ENTER();
    *stream = new gbemu::Stream();
    return CUDA_SUCCESS;
}

GB_API CUresult cuStreamCreateWithPriority(CUstream* stream, unsigned flags, int) {
    return cuStreamCreate(stream, flags);
}

GB_API CUresult cuStreamDestroy_v2(CUstream stream) {
    GB_ENTER_HOST();
    delete stream;
    return CUDA_SUCCESS;
}

GB_API CUresult cuStreamSynchronize(CUstream stream) {
    GB_ENTER();
    return gbemu::wait_for(stream_of(stream)->capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
}

GB_API CUresult cuStreamQuery(CUstream stream) {
    return cuStreamSynchronize(stream);
}

// A stream that waits for recorded work is recorded from then on, too.
GB_API CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
    GB_ENTER();
    const std::shared_ptr<gbemu::Capture> capture = event->capture.lock();
    gbemu::Stream* waiting = stream_of(stream);
    if (capture && !waiting->capture) {
        waiting->capture = capture;
        capture->joined.push_back(waiting);
    }
    return CUDA_SUCCESS;
}

GB_API CUresult cuLaunchHostFunc(CUstream stream, void (*function)(void*), void* argument) {
    GB_ENTER();
    return gbemu::enqueue(stream, [=] {
        function(argument);
        return CUDA_SUCCESS;
    });
}

GB_API CUresult cuEventCreate(CUevent* event, unsigned flags) {
    GB_ENTER();
    *event = new gbemu::Event{-1.0, (flags & gbemu::EVENT_DISABLE_TIMING) == 0, {}};
    return CUDA_SUCCESS;
}

GB_API CUresult cuEventDestroy_v2(CUevent event) {
    GB_ENTER_HOST();
    delete event;
    return CUDA_SUCCESS;
}

GB_API CUresult cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned flags) {
    GB_ENTER();
    const std::shared_ptr<gbemu::Capture>& capture = stream_of(stream)->capture;
    if (capture && (flags & gbemu::EVENT_RECORD_EXTERNAL) == 0) {
        event->capture = capture;
        return CUDA_SUCCESS;
    }
    event->capture.reset();
    return gbemu::enqueue(stream, [=] { return gbemu::record(event); });
}

GB_API CUresult cuEventRecord(CUevent event, CUstream stream) {
    GB_ENTER();
    return cuEventRecordWithFlags(event, stream, 0);
}

GB_API CUresult cuEventSynchronize(CUevent event) {
    GB_ENTER();
    return gbemu::wait_for(event->capture.lock(), CUDA_ERROR_CAPTURED_EVENT);
}

GB_API CUresult cuEventQuery(CUevent event) {
    GB_ENTER();
    return gbemu::wait_for(event->capture.lock(), CUDA_ERROR_CAPTURED_EVENT);
}

GB_API CUresult cuEventElapsedTime(float* milliseconds, CUevent start, CUevent end) {
    GB_ENTER();
    if (!start->timed || !end->timed || start->recorded_at < 0 || end->recorded_at < 0) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    *milliseconds = static_cast<float>(end->recorded_at - start->recorded_at);
    return CUDA_SUCCESS;
}

GB_API CUresult cuEventElapsedTime_v2(float* milliseconds, CUevent start, CUevent end) {
    return cuEventElapsedTime(milliseconds, start, end);
}

GB_API CUresult cuStreamBeginCapture_v2(CUstream stream, int mode) {
    GB_ENTER();
    gbemu::Stream* origin = stream_of(stream);
    if (origin == stream_of(nullptr) || origin->capture) {
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    origin->capture.reset(new gbemu::Capture());
    origin->capture->graph.reset(new gbemu::Graph());
    origin->capture->origin = origin;
    origin->capture->mode = mode;
    gbemu::own_capture = origin->capture;
    return CUDA_SUCCESS;
}

GB_API CUresult cuStreamEndCapture(CUstream stream, CUgraph* graph) {
    GB_ENTER();
    *graph = nullptr;
    const std::shared_ptr<gbemu::Capture> capture = stream_of(stream)->capture;
    if (!capture || capture->origin != stream_of(stream)) {
        return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    }
    for (gbemu::Stream* joined : capture->joined) {
        joined->capture.reset();
    }
    capture->origin->capture.reset();
    gbemu::own_capture.reset();
    if (capture->invalid) {
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    *graph = capture->graph.release();
    return CUDA_SUCCESS;
}

GB_API CUresult cuStreamIsCapturing(CUstream stream, int* status) {
    GB_ENTER();
    *status = gbemu::status(stream_of(stream));
    return CUDA_SUCCESS;
}

// The graph, its dependencies and their edges may all be left out, and stay so here.
GB_API CUresult cuStreamGetCaptureInfo_v3(CUstream stream, int* status, uint64_t* id,
                                          CUgraph* graph, void*, void*, void*) {
    GB_ENTER();
    const std::shared_ptr<gbemu::Capture>& capture = stream_of(stream)->capture;
    *status = gbemu::status(stream_of(stream));
    if (id != nullptr) {
        *id = reinterpret_cast<uintptr_t>(capture.get());
    }
    if (graph != nullptr) {
        *graph = capture ? capture->graph.get() : nullptr;
    }
    return CUDA_SUCCESS;
}

GB_API CUresult cuStreamGetCaptureInfo_v2(CUstream stream, int* status, uint64_t* id,
                                          CUgraph* graph, void*, void*) {
    return cuStreamGetCaptureInfo_v3(stream, status, id, graph, nullptr, nullptr, nullptr);
}
