// Streams queue what they are given, or record it into a graph.
#pragma once
#include <memory>
#include <vector>

#include "queue.h"

namespace gbemu {

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
    std::shared_ptr<Queue> queue;
    std::shared_ptr<Capture> capture;
};

// Where an event was recorded, and when that point was passed.
struct Mark {
    Point point;
    double milliseconds;
};

struct Event {
    bool timed;
    std::shared_ptr<Mark> mark;  // none: never recorded
    std::weak_ptr<Capture> capture;

    Point point() const { return mark ? mark->point : Point(); }
};

// The stream of a handle: 0 to 2 are the default ones.
Stream* stream_of(CUstream stream);

bool is_capturing(CUstream stream);

CUresult enqueue(CUstream stream, Work work);

// Waits for all that a stream was asked for.
void finish(CUstream stream);

}  // namespace gbemu
