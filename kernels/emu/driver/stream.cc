// Streams, events, and the recording of streams.
#include "stream.h"

#include <algorithm>
#include <chrono>

#include "control.h"

namespace gbemu {

namespace {

enum : int { CAPTURE_RELAXED = 2 };
enum : unsigned { STREAM_NON_BLOCKING = 1 };
enum : unsigned { EVENT_DISABLE_TIMING = 2, EVENT_RECORD_EXTERNAL = 1 };
enum : int { STATUS_NONE = 0, STATUS_ACTIVE = 1, STATUS_INVALIDATED = 2 };

// The capture that this thread began and has not ended.
thread_local std::weak_ptr<Capture> own_capture;

double now() {
    const auto time = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double, std::milli>(time).count();
}

void record(Event* event, const std::shared_ptr<Queue>& queue) {
    const std::shared_ptr<Mark> mark = std::make_shared<Mark>();
    push(queue, [mark] { mark->milliseconds = now(); });
    mark->point = end_of(queue);
    event->mark = mark;
}

int status(const Stream* stream) {
    if (!stream->capture) {
        return STATUS_NONE;
    }
    return stream->capture->invalid ? STATUS_INVALIDATED : STATUS_ACTIVE;
}

}  // namespace

Stream* stream_of(CUstream stream) {
    static Stream default_stream = {default_queue(), nullptr};
    return reinterpret_cast<uintptr_t>(stream) <= 2 ? &default_stream : stream;
}

bool is_capturing(CUstream stream) {
    return stream_of(stream)->capture != nullptr;
}

CUresult enqueue(CUstream stream, Work work) {
    const std::shared_ptr<Capture>& capture = stream_of(stream)->capture;
    if (!capture) {
        push(stream_of(stream)->queue, std::move(work));
        return CUDA_SUCCESS;
    }
    if (capture->invalid) {
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    capture->graph->nodes.push_back(std::move(work));
    return CUDA_SUCCESS;
}

void finish(CUstream stream) {
    run_until(end_of(stream_of(stream)->queue));
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

// Of one stream or event nobody may know how far it is while it is being recorded.
static CUresult refuse(const std::shared_ptr<Capture>& capture, CUresult refusal) {
    if (!capture) {
        return CUDA_SUCCESS;
    }
    capture->invalid = true;
    return refusal;
}

static CUresult wait_for(const Point& point) {
    run_until(point);
    return after_waiting();
}

// Whoever asks often enough waits.
static CUresult query(const Point& point) {
    if (has_passed(point)) {
        return after_waiting();
    }
    run_some(point);
    GB_RETURN_IF_FAILED(device_state());
    return CUDA_ERROR_NOT_READY;
}

}  // namespace gbemu

using gbemu::stream_of;

GB_API CUresult cuStreamCreate(CUstream* stream, unsigned flags) {
    GB_ENTER();
    const bool blocking = (flags & gbemu::STREAM_NON_BLOCKING) == 0;
    *stream = new gbemu::Stream{gbemu::new_queue(blocking), nullptr};
    return CUDA_SUCCESS;
}

GB_API CUresult cuStreamCreateWithPriority(CUstream* stream, unsigned flags, int) {
    return cuStreamCreate(stream, flags);
}

// What it was asked for is done nevertheless.
GB_API CUresult cuStreamDestroy_v2(CUstream stream) {
    GB_ENTER_HOST();
    delete stream;
    return CUDA_SUCCESS;
}

GB_API CUresult cuStreamSynchronize(CUstream stream) {
    GB_ENTER();
    const CUresult refusal = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    GB_RETURN_IF_FAILED(gbemu::refuse(stream_of(stream)->capture, refusal));
    return gbemu::wait_for(gbemu::end_of(stream_of(stream)->queue));
}

GB_API CUresult cuStreamQuery(CUstream stream) {
    GB_ENTER();
    const CUresult refusal = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    GB_RETURN_IF_FAILED(gbemu::refuse(stream_of(stream)->capture, refusal));
    return gbemu::query(gbemu::end_of(stream_of(stream)->queue));
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
    if (!waiting->capture && !gbemu::has_passed(event->point())) {
        gbemu::push(waiting->queue, [] {}, {event->point()});
    }
    return CUDA_SUCCESS;
}

GB_API CUresult cuLaunchHostFunc(CUstream stream, void (*function)(void*), void* argument) {
    GB_ENTER();
    return gbemu::enqueue(stream, [=] { function(argument); });
}

GB_API CUresult cuEventCreate(CUevent* event, unsigned flags) {
    GB_ENTER();
    *event = new gbemu::Event{(flags & gbemu::EVENT_DISABLE_TIMING) == 0, nullptr, {}};
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
    if (capture) {
        // The graph records it, each time it runs.
        return gbemu::enqueue(stream, [=] {
            event->mark.reset(new gbemu::Mark{gbemu::Point(), gbemu::now()});
        });
    }
    gbemu::record(event, stream_of(stream)->queue);
    return CUDA_SUCCESS;
}

GB_API CUresult cuEventRecord(CUevent event, CUstream stream) {
    GB_ENTER();
    return cuEventRecordWithFlags(event, stream, 0);
}

GB_API CUresult cuEventSynchronize(CUevent event) {
    GB_ENTER();
    GB_RETURN_IF_FAILED(gbemu::refuse(event->capture.lock(), CUDA_ERROR_CAPTURED_EVENT));
    return gbemu::wait_for(event->point());
}

GB_API CUresult cuEventQuery(CUevent event) {
    GB_ENTER();
    GB_RETURN_IF_FAILED(gbemu::refuse(event->capture.lock(), CUDA_ERROR_CAPTURED_EVENT));
    return gbemu::query(event->point());
}

GB_API CUresult cuEventElapsedTime(float* milliseconds, CUevent start, CUevent end) {
    GB_ENTER();
    if (!start->timed || !end->timed || !start->mark || !end->mark) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (!gbemu::has_passed(start->point()) || !gbemu::has_passed(end->point())) {
        return CUDA_ERROR_NOT_READY;
    }
    *milliseconds = static_cast<float>(end->mark->milliseconds - start->mark->milliseconds);
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
