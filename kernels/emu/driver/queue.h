// What streams still have to do. Work is done at once, in the caller's thread; or, where the
// settings say `deferred`, when somebody waits for it, in the thread that waits: no sooner than a
// slow device, and no sooner than it must.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "api.h"

namespace gbemu {

using Work = std::function<void()>;

struct Queue;

// The end of a queue as it was once.
struct Point {
    std::shared_ptr<Queue> queue;  // none: long passed
    uint64_t number;
};

// The queue of the default stream, or another one. `blocking` ones and the default one wait for
// each other.
std::shared_ptr<Queue> default_queue();
std::shared_ptr<Queue> new_queue(bool blocking);

// Adds work that begins once all points of `after` are passed.
void push(const std::shared_ptr<Queue>& queue, Work work, std::vector<Point> after = {});

Point end_of(const std::shared_ptr<Queue>& queue);

bool has_passed(const Point& point);

// Does whatever must be done to pass the point.
void run_until(const Point& point);

// Does one piece of that.
void run_some(const Point& point);

// Passes the ends of all queues.
void run_all();

}  // namespace gbemu
