// libcuda's streams, events and graphs. A stream runs its work as late as possible: when something waits for the work,
// or for an event after it. A hurried stream runs its work at once, and the work of other streams only as far as it
// waits for them. Running tests in both modes detects a missing wait, whichever stream would have been first.
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <mutex>
#include <thread>

#include "sim.h"

using namespace sim;

namespace sim {

long launches = 0;

namespace {

struct Node {
  enum Kind { WORK, RECORD, WAIT, EXTERNAL } kind;
  uint64_t stream;
  Work work;
  uint64_t event = 0;
};
// A capture: of the stream where it began, and of those that waited for it since.
struct Capture {
  uint64_t origin;
  std::vector<Node> nodes;
  bool broken = false;
  std::map<uint64_t, size_t> branches;  // other streams, each with the number of nodes after its last; joined ones are gone
};
struct Stream {
  std::deque<Work> queue;      // not run yet
  size_t done = 0;             // the number that ran
  double clock = 0;            // microseconds that all issued work takes
  bool eager = false;          // runs work as soon as it is issued
  bool running = false;
  std::shared_ptr<Capture> capture;
  size_t end() const { return done + queue.size(); }
};
struct Event {
  bool timing = false;
  uint64_t stream = 0;  // of its last record; 0 before the first
  size_t mark = 0;      // reached when the stream has run this much work, or in a capture the number of its nodes
  double clock = 0;     // the stream's when it was recorded
  std::shared_ptr<Capture> capture;
};
struct Graph { uint64_t origin; std::vector<Node> nodes; };

Handles<Stream> streams;
Handles<Event> events;
Handles<Graph> graphs, executables;
std::map<std::pair<Stream*, uint64_t>, std::unique_ptr<Stream>> branches;  // of graphs, by the stream they run on
std::vector<std::unique_ptr<Stream>> buried;  // destroyed, with all work done: others may still refer to them
long created = 0;
long hurried = -1;  // the eager stream, in order of creation; −1 for none, −2 if all take turns
std::recursive_mutex mutex;
std::thread worker;
std::atomic<bool> ends{false};
constexpr int PATIENCE = 20;  // seconds without any progress

Book b1("streams", [] { return streams.alive.size(); });
Book b2("events", [] { return events.alive.size(); });
Book b3("graphs", [] { return graphs.alive.size(); });
Book b5("queued", [] {  // work that was issued and has not run; a report runs it first
  size_t count = 0;
  for (auto& [handle, stream] : streams.alive) count += stream->queue.size();
  return count;
});
Book b4("executables", [] { return executables.alive.size(); });

// Runs the next piece of a stream's work; false if there is none, or it waits.
bool step(Stream* stream) {
  if (stream->running || stream->queue.empty()) return false;
  stream->running = true;
  Work work = std::move(stream->queue.front());
  Result result = lost == SUCCESS ? work() : SUCCESS;
  if (result == NOT_NOW) stream->queue.front() = std::move(work);
  else stream->queue.pop_front(), ++stream->done;
  stream->running = false;
  if (result == NOT_NOW) return false;
  if (result) lost = result;
  return true;
}

// Runs a piece of work of any stream; false if all work waits.
bool step_any() {
  bool moved = false;
  for (auto& [handle, stream] : streams.alive) moved |= step(stream.get());
  for (auto& [key, stream] : branches) moved |= step(stream.get());
  return moved;
}

// Runs a stream's work up to a mark; all of it by default. Where that waits for another process, the other streams go on.
Result perform(Stream* stream, size_t until = SIZE_MAX) {
  time_t since = time(nullptr);
  while (stream->done < until && !stream->queue.empty()) {
    if ((hurried != -2 && step(stream)) || step_any()) {
      since = time(nullptr);
    } else if (time(nullptr) - since > PATIENCE) {
      complain("work waits for what never comes");
      lost = LAUNCH_FAILED;
    } else {
      usleep(100);
    }
  }
  return lost;
}

// Work that waits until a stream has run up to a mark, and runs it so far.
Work wait_for(Stream* stream, size_t mark) {
  return [=] {
    while (stream->done < mark && step(stream)) {}
    return stream->done >= mark ? SUCCESS : NOT_NOW;
  };
}

void push(Stream* stream, Work work) {
  stream->queue.push_back(std::move(work));
  if (stream->eager) while (step(stream)) {}
}

// Adds a node to the capture that a stream is part of.
int record_node(Stream* stream, Node node) {
  Capture& capture = *stream->capture;
  if (node.stream != capture.origin) capture.branches[node.stream] = capture.nodes.size() + 1;
  capture.nodes.push_back(std::move(node));
  return SUCCESS;
}

// A stream that was destroyed has run everything.
Result reach(const Event& event) {
  Stream* stream = streams.get(event.stream);
  return stream ? perform(stream, event.mark) : lost;
}

}  // namespace

bool streams_alive() { return !streams.alive.empty() || !events.alive.empty(); }

Lock::Lock() { mutex.lock(); }
Lock::~Lock() { mutex.unlock(); }
void Lock::rest() {
  mutex.unlock();
  usleep(200);
  mutex.lock();
}

void work_alone() {
  if (worker.joinable()) return;
  worker = std::thread([] {
    while (!ends) {
      bool moved;
      {
        Lock lock;
        moved = step_any();
      }
      if (!moved) usleep(200);
    }
  });
  atexit([] {
    ends = true;
    worker.join();
  });
}

bool captures(uint64_t handle) {
  Lock lock;
  Stream* stream = streams.get(handle);
  return stream && stream->capture;
}

Result outside_capture() {
  for (auto& [handle, stream] : streams.alive) {
    if (stream->capture) {
      stream->capture->broken = true;
      return CAPTURE_UNSUPPORTED;
    }
  }
  return SUCCESS;
}

Result perform_all() {
  for (auto& [handle, stream] : streams.alive) perform(stream.get());
  for (auto& [key, stream] : branches) perform(stream.get());
  return lost;
}

Result enqueue(uint64_t handle, Work work, double microseconds) {
  Lock lock;
  TRY(ready());
  Stream* stream = streams.get(handle);
  if (!stream) return INVALID_HANDLE;
  if (stream->capture) return record_node(stream, {Node::WORK, handle, std::move(work)}), SUCCESS;
  stream->clock += microseconds;
  push(stream, std::move(work));
  return lost;
}

}  // namespace sim

// For tests: sets the stream that is eager, in order of creation from now on, also as a branch of graphs; −1 for none.
// With −2, streams that have work take turns.
EXPORT void sim_hurry(int stream) {
  Lock lock;
  created = 0;
  hurried = stream;
}

EXPORT int cuStreamCreate(uint64_t* handle, unsigned) {
  Lock lock;
  TRY(ready());
  if (fails("stream")) return OUT_OF_MEMORY;
  auto stream = std::make_unique<Stream>();
  stream->eager = created++ == hurried;
  *handle = streams.add(std::move(stream));
  return SUCCESS;
}
EXPORT int cuStreamDestroy_v2(uint64_t handle) {
  Lock lock;
  auto found = streams.alive.find(handle);
  if (found == streams.alive.end()) return INVALID_HANDLE;
  perform(found->second.get());
  buried.push_back(std::move(found->second));
  streams.alive.erase(found);
  return SUCCESS;
}
EXPORT int cuStreamSynchronize(uint64_t stream) {
  Lock lock;
  TRY(ready());
  TRY(outside_capture());
  if (!streams.get(stream)) return INVALID_HANDLE;
  if (fails("lost")) lost = LAUNCH_FAILED;
  return perform(streams.get(stream));
}
EXPORT int cuStreamWaitEvent(uint64_t handle, uint64_t event, unsigned flags) {
  Lock lock;
  TRY(ready());
  Stream* stream = streams.get(handle);
  if (!stream || !events.get(event)) return INVALID_HANDLE;
  if (flags != 0) return INVALID_VALUE;
  const Event until = *events.get(event);  // later records do not matter
  if (stream->capture && stream->capture != until.capture) return stream->capture->broken = true, CAPTURE_ISOLATION;
  if (until.capture) {
    stream->capture = until.capture;  // it joins the capture if it is not part of it
    auto branch = until.capture->branches.find(until.stream);
    if (handle == until.capture->origin && branch != until.capture->branches.end() && branch->second <= until.mark) {
      until.capture->branches.erase(branch);
    }
    if (fails("branch-wait")) return SUCCESS;
    return record_node(stream, {Node::WAIT, handle, nullptr, event});
  }
  if (fails("wait")) return SUCCESS;  // skipped, like a missing wait
  Stream* other = streams.get(until.stream);
  if (other && other != stream) push(stream, wait_for(other, until.mark));
  return lost;
}
EXPORT int cuStreamBeginCapture_v2(uint64_t handle, int) {
  Lock lock;
  TRY(ready());
  Stream* stream = streams.get(handle);
  if (!stream) return INVALID_HANDLE;
  if (stream->capture) return INVALID_VALUE;
  if (fails("capture")) return CAPTURE_UNSUPPORTED;
  stream->capture = std::make_shared<Capture>(Capture{handle});
  return SUCCESS;
}
EXPORT int cuStreamEndCapture(uint64_t handle, uint64_t* graph) {
  Lock lock;
  Stream* stream = streams.get(handle);
  *graph = 0;
  if (!stream) return INVALID_HANDLE;
  if (!stream->capture) return INVALID_VALUE;
  const std::shared_ptr<Capture> capture = stream->capture;
  if (capture->origin != handle) return CAPTURE_UNMATCHED;
  for (auto& [other, each] : streams.alive) if (each->capture == capture) each->capture = nullptr;
  if (capture->broken || fails("end-capture")) return CAPTURE_INVALIDATED;
  if (!capture->branches.empty()) return CAPTURE_UNJOINED;
  *graph = graphs.add(std::make_unique<Graph>(Graph{handle, std::move(capture->nodes)}));
  return lost;
}

EXPORT int cuGraphGetNodes(uint64_t graph, void* nodes, size_t* count) {
  Lock lock;
  if (!graphs.get(graph) || nodes) return INVALID_VALUE;
  *count = 0;  // waits are edges, not nodes
  for (auto& node : graphs.get(graph)->nodes) *count += node.kind == Node::WORK || node.kind == Node::EXTERNAL;
  return SUCCESS;
}
EXPORT int cuGraphInstantiateWithFlags(uint64_t* executable, uint64_t graph, unsigned long long) {
  Lock lock;
  TRY(ready());
  TRY(outside_capture());
  if (!graphs.get(graph)) return INVALID_VALUE;
  if (fails("instantiate")) return OUT_OF_MEMORY;
  *executable = executables.add(std::make_unique<Graph>(*graphs.get(graph)));
  return SUCCESS;
}
EXPORT int cuGraphLaunch(uint64_t executable, uint64_t handle) {
  Lock lock;
  Graph* graph = executables.get(executable);
  Stream* origin = streams.get(handle);
  if (!graph || !origin) return INVALID_VALUE;
  if (fails("graph-launch")) return LAUNCH_FAILED;
  TRY(ready());
  ++launches;
  std::map<uint64_t, std::pair<Stream*, size_t>> recorded;
  for (auto& node : graph->nodes) {
    Stream* stream = origin;
    if (node.stream != graph->origin) {
      auto& branch = branches[{origin, node.stream}];
      if (!branch) branch = std::make_unique<Stream>();
      const Stream* captured = streams.get(node.stream);
      branch->eager = captured && captured->eager;
      stream = branch.get();
    }
    switch (node.kind) {
      case Node::WORK: ++stream->clock, push(stream, node.work); break;
      case Node::RECORD: recorded[node.event] = {stream, stream->end()}; break;
      case Node::WAIT: {
        auto& [other, mark] = recorded[node.event];
        if (other && other != stream) push(stream, wait_for(other, mark));
        break;
      }
      case Node::EXTERNAL: {
        Event* event = events.get(node.event);
        if (!event) return INVALID_VALUE;
        event->stream = handle;
        event->mark = stream->end();
        break;
      }
    }
  }
  return lost;
}
EXPORT int cuGraphExecDestroy(uint64_t executable) { Lock lock; return executables.remove(executable) ? SUCCESS : INVALID_VALUE; }
EXPORT int cuGraphDestroy(uint64_t graph) { Lock lock; return graphs.remove(graph) ? SUCCESS : INVALID_VALUE; }

EXPORT int cuEventCreate(uint64_t* handle, unsigned flags) {
  Lock lock;
  TRY(ready());
  auto event = std::make_unique<Event>();
  event->timing = !(flags & 2);
  *handle = events.add(std::move(event));
  return SUCCESS;
}
EXPORT int cuEventDestroy_v2(uint64_t event) { Lock lock; return events.remove(event) ? SUCCESS : INVALID_HANDLE; }
EXPORT int cuEventRecord(uint64_t handle, uint64_t stream_handle) {
  Lock lock;
  TRY(ready());
  Stream* stream = streams.get(stream_handle);
  Event* event = events.get(handle);
  if (!stream || !event) return INVALID_HANDLE;
  event->stream = stream_handle;
  event->capture = stream->capture;
  if (stream->capture) {
    event->mark = stream->capture->nodes.size();
    stream->capture->nodes.push_back({Node::RECORD, stream_handle, nullptr, handle});
    return SUCCESS;
  }
  event->mark = stream->end();
  event->clock = stream->clock;
  return SUCCESS;
}
EXPORT int cuEventRecordWithFlags(uint64_t handle, uint64_t stream_handle, unsigned flags) {
  Lock lock;
  if (flags == 0) return cuEventRecord(handle, stream_handle);
  TRY(ready());
  Stream* stream = streams.get(stream_handle);
  if (!stream || !events.get(handle)) return INVALID_HANDLE;
  if (flags != 1 || !stream->capture) return INVALID_VALUE;  // external events are of captures only
  if (stream_handle != stream->capture->origin) return INVALID_VALUE;  // a limit of the simulation
  events.get(handle)->capture = nullptr;
  return record_node(stream, {Node::EXTERNAL, stream_handle, nullptr, handle});
}
EXPORT int cuEventQuery(uint64_t handle) {
  Lock lock;
  TRY(ready());
  TRY(outside_capture());
  Event* event = events.get(handle);
  if (!event) return INVALID_HANDLE;
  if (fails("lost")) return lost = LAUNCH_FAILED;
  Stream* stream = streams.get(event->stream);
  if (!stream || stream->done >= event->mark) return lost;
  // Never ready at the first query, so that callers really wait; ready at the second, unless another process is.
  while (stream->done < event->mark && (step(stream) || step_any())) {}
  return lost ? lost : NOT_READY;
}
// Not a real time: a microsecond for each piece of work between the events, or what it was said to take.
EXPORT int cuEventElapsedTime_v2(float* milliseconds, uint64_t start, uint64_t end) {
  Lock lock;
  TRY(ready());
  Event *first = events.get(start), *last = events.get(end);
  if (!first || !last || !first->timing || !last->timing || first->stream != last->stream) return INVALID_HANDLE;
  Stream* stream = streams.get(last->stream);
  if (!stream) return INVALID_HANDLE;
  if (stream->done < last->mark) return NOT_READY;
  *milliseconds = 1e-3 * (last->clock - first->clock);
  return SUCCESS;
}
EXPORT int cuEventSynchronize(uint64_t handle) {
  Lock lock;
  TRY(ready());
  Event* event = events.get(handle);
  return event ? reach(*event) : INVALID_HANDLE;
}
