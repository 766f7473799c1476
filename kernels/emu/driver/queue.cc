// Queues: one lock for all of them, which nobody holds while work is done.
#include "queue.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>

#include "control.h"

namespace gbemu {

namespace {

struct Item {
    Work work;
    std::vector<Point> after;
};

}  // namespace

struct Queue {
    std::deque<Item> items;
    uint64_t pushed = 0;
    uint64_t done = 0;
    bool busy = false;  // a thread does a piece of it
    bool blocking = false;
};

namespace {

using Lock = std::unique_lock<std::mutex>;

struct State {
    std::mutex lock;
    std::condition_variable changed;
    std::shared_ptr<Queue> first = std::make_shared<Queue>();
    // Also those whose streams are gone: what they were asked for is done nevertheless.
    std::vector<std::shared_ptr<Queue>> others;
};

// Stays when the process ends: other threads may still be at work.
State& state() {
    static State* state = new State();
    return *state;
}

bool is_idle(const Queue& queue) {
    return queue.done == queue.pushed;
}

bool is_behind(const Point& point) {
    return point.queue == nullptr || point.queue->done >= point.number;
}

// Does the next piece of a queue that is not idle, or of one that it waits for.
void advance(Lock& held, std::shared_ptr<Queue> queue) {
    if (queue->busy) {
        state().changed.wait(held);
        return;
    }
    for (const Point& point : queue->items.front().after) {
        if (!is_behind(point)) {
            return advance(held, point.queue);
        }
    }
    Item item = std::move(queue->items.front());
    queue->items.pop_front();
    queue->busy = true;
    held.unlock();
    // A device that has failed does nothing any more.
    if (device_state() == CUDA_SUCCESS) {
        item.work();
    }
    item = Item();
    held.lock();
    queue->busy = false;
    queue->done++;
    state().changed.notify_all();
}

void add_implicit(const std::shared_ptr<Queue>& queue, std::vector<Point>& after) {
    const std::shared_ptr<Queue>& first = state().first;
    if (queue->blocking && !is_idle(*first)) {
        after.push_back({first, first->pushed});
    }
    for (const std::shared_ptr<Queue>& other : state().others) {
        if (queue == first && other->blocking && !is_idle(*other)) {
            after.push_back({other, other->pushed});
        }
    }
}

}  // namespace

std::shared_ptr<Queue> default_queue() {
    return state().first;
}

std::shared_ptr<Queue> new_queue(bool blocking) {
    Lock held(state().lock);
    std::vector<std::shared_ptr<Queue>>& others = state().others;
    const auto forgotten = [](const std::shared_ptr<Queue>& queue) {
        return queue.use_count() == 1 && is_idle(*queue);
    };
    others.erase(std::remove_if(others.begin(), others.end(), forgotten), others.end());
    others.push_back(std::make_shared<Queue>());
    others.back()->blocking = blocking;
    return others.back();
}

void push(const std::shared_ptr<Queue>& queue, Work work, std::vector<Point> after) {
    const bool deferred = settings().deferred;
    Lock held(state().lock);
    add_implicit(queue, after);
    if (!deferred && is_idle(*queue) && after.empty()) {
        held.unlock();
        work();
        return;
    }
    queue->items.push_back({std::move(work), std::move(after)});
    queue->pushed++;
    if (!deferred) {
        const Point end = {queue, queue->pushed};
        held.unlock();
        run_until(end);
    }
}

Point end_of(const std::shared_ptr<Queue>& queue) {
    Lock held(state().lock);
    return {queue, queue->pushed};
}

bool has_passed(const Point& point) {
    Lock held(state().lock);
    return is_behind(point);
}

void run_until(const Point& point) {
    Lock held(state().lock);
    while (!is_behind(point)) {
        advance(held, point.queue);
    }
}

void run_some(const Point& point) {
    Lock held(state().lock);
    if (!is_behind(point)) {
        advance(held, point.queue);
    }
}

void run_all() {
    std::vector<Point> ends;
    {
        Lock held(state().lock);
        ends.push_back({state().first, state().first->pushed});
        for (const std::shared_ptr<Queue>& queue : state().others) {
            ends.push_back({queue, queue->pushed});
        }
    }
    for (const Point& end : ends) {
        run_until(end);
    }
}

}  // namespace gbemu
