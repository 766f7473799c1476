// Streams run what they are given at once, in the caller's thread, or record it into a graph.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "api.h"

namespace gbemu {

using Work = std::function<CUresult()>;

// Work in an order that keeps every dependency: that of the calls that recorded it.
struct Graph {
    std::vector<Work> nodes;
};

struct Capture {
    std::unique_ptr<Graph> graph;
    Stream* origin;
    std::vector<Stream*> joined;
    int mode;
    bool invalid;
};

struct Stream {
    std::shared_ptr<Capture> capture;
};

struct Event {
    double recorded_at;  // milliseconds; negative: never
    bool timed;
    std::weak_ptr<Capture> capture;
};

// The stream of a handle: 0 to 2 are the default ones.
Stream* stream_of(CUstream stream);

bool is_capturing(CUstream stream);

CUresult enqueue(CUstream stream, Work work);

CUresult run(const Graph& graph);

}  // namespace gbemu
