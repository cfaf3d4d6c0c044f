// libcuda's streams, events and graphs. A stream runs its work as late as possible: when something waits for the work,
// or for an event after it. A hurried stream runs its work at once, and the work of other streams only as far as it
// waits for them. Running tests in both modes detects a missing wait, whichever stream would have been first.
#include <string.h>

#include <deque>

#include "sim.h"

using namespace sim;

namespace sim {

long launches = 0;

namespace {

struct Stream {
  std::deque<Work> queue;      // not run yet
  size_t done = 0;             // the number that ran
  bool eager = false;          // runs work as soon as it is issued
  bool capturing = false, broken = false;
  std::vector<Work> captured;  // nodes of the graph being captured
};
struct Event {
  bool timing = false;
  uint64_t stream = 0;  // of its last record; 0 before the first
  size_t mark = 0;      // reached when the stream has run this much work
};
struct Graph { std::vector<Work> nodes; };

Handles<Stream> streams;
Handles<Event> events;
Handles<Graph> graphs, executables;
long created = 0;
long hurried = -1;  // the eager stream, in order of creation; −1 for none

Book b1("streams", [] { return streams.alive.size(); });
Book b2("events", [] { return events.alive.size(); });
Book b3("graphs", [] { return graphs.alive.size(); });
Book b5("queued", [] {  // work that was issued and has not run; a report runs it first
  size_t count = 0;
  for (auto& [handle, stream] : streams.alive) count += stream->queue.size();
  return count;
});
Book b4("executables", [] { return executables.alive.size(); });

// Runs a stream's work up to a mark; all of it by default.
Result perform(Stream* stream, size_t until = SIZE_MAX) {
  while (stream->done < until && !stream->queue.empty()) {
    Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    if (lost == SUCCESS) {
      if (Result result = work()) lost = result;
    }
    ++stream->done;
  }
  return lost;
}

// Runs the work before an event. A stream that was destroyed has run everything.
Result reach(const Event& event) {
  Stream* stream = streams.get(event.stream);
  return stream ? perform(stream, event.mark) : lost;
}

}  // namespace

bool streams_alive() { return !streams.alive.empty() || !events.alive.empty(); }

Result outside_capture() {
  for (auto& [handle, stream] : streams.alive) {
    if (stream->capturing) {
      stream->broken = true;
      return CAPTURE_UNSUPPORTED;
    }
  }
  return SUCCESS;
}

Result perform_all() {
  for (auto& [handle, stream] : streams.alive) perform(stream.get());
  return lost;
}

Result enqueue(uint64_t handle, Work work) {
  TRY(ready());
  Stream* stream = streams.get(handle);
  if (!stream) return INVALID_HANDLE;
  if (stream->capturing) return stream->captured.push_back(std::move(work)), SUCCESS;
  stream->queue.push_back(std::move(work));
  return stream->eager ? perform(stream) : SUCCESS;
}

}  // namespace sim

// For tests: sets the stream that is eager, in order of creation from now on; −1 for none.
EXPORT void sim_hurry(int stream) {
  created = 0;
  hurried = stream;
}

EXPORT int cuStreamCreate(uint64_t* handle, unsigned) {
  TRY(ready());
  if (fails("stream")) return OUT_OF_MEMORY;
  auto stream = std::make_unique<Stream>();
  stream->eager = created++ == hurried;
  *handle = streams.add(std::move(stream));
  return SUCCESS;
}
EXPORT int cuStreamDestroy_v2(uint64_t stream) {
  if (!streams.get(stream)) return INVALID_HANDLE;
  perform(streams.get(stream));
  streams.remove(stream);
  return SUCCESS;
}
EXPORT int cuStreamSynchronize(uint64_t stream) {
  TRY(ready());
  TRY(outside_capture());
  if (!streams.get(stream)) return INVALID_HANDLE;
  if (fails("lost")) lost = LAUNCH_FAILED;
  return perform(streams.get(stream));
}
EXPORT int cuStreamWaitEvent(uint64_t handle, uint64_t event, unsigned flags) {
  TRY(ready());
  Stream* stream = streams.get(handle);
  if (!stream || !events.get(event)) return INVALID_HANDLE;
  if (flags != 0) return INVALID_VALUE;
  if (stream->capturing) return stream->broken = true, CAPTURE_UNSUPPORTED;  // no event in use is recorded in a capture
  if (fails("wait")) return SUCCESS;  // skipped, like a missing wait
  const Event until = *events.get(event);  // later records do not matter
  return enqueue(handle, [until] { return reach(until); });
}
EXPORT int cuStreamBeginCapture_v2(uint64_t handle, int) {
  TRY(ready());
  Stream* stream = streams.get(handle);
  if (!stream) return INVALID_HANDLE;
  if (stream->capturing) return INVALID_VALUE;
  if (fails("capture")) return CAPTURE_UNSUPPORTED;
  stream->capturing = true;
  stream->broken = false;
  return SUCCESS;
}
EXPORT int cuStreamEndCapture(uint64_t handle, uint64_t* graph) {
  Stream* stream = streams.get(handle);
  *graph = 0;
  if (!stream) return INVALID_HANDLE;
  if (!stream->capturing) return INVALID_VALUE;
  stream->capturing = false;
  auto made = std::make_unique<Graph>();
  made->nodes.swap(stream->captured);
  if (stream->broken || fails("end-capture")) return CAPTURE_INVALIDATED;
  *graph = graphs.add(std::move(made));
  return lost;
}

EXPORT int cuGraphGetNodes(uint64_t graph, void* nodes, size_t* count) {
  if (!graphs.get(graph) || nodes) return INVALID_VALUE;
  *count = graphs.get(graph)->nodes.size();
  return SUCCESS;
}
EXPORT int cuGraphInstantiateWithFlags(uint64_t* executable, uint64_t graph, unsigned long long) {
  TRY(ready());
  TRY(outside_capture());
  if (!graphs.get(graph)) return INVALID_VALUE;
  if (fails("instantiate")) return OUT_OF_MEMORY;
  *executable = executables.add(std::make_unique<Graph>(*graphs.get(graph)));
  return SUCCESS;
}
EXPORT int cuGraphLaunch(uint64_t executable, uint64_t stream) {
  if (!executables.get(executable)) return INVALID_VALUE;
  if (fails("graph-launch")) return LAUNCH_FAILED;
  ++launches;
  auto nodes = executables.get(executable)->nodes;  // a launched graph keeps running if it is destroyed
  return enqueue(stream, [nodes] {
    for (auto& node : nodes) TRY(node());
    return SUCCESS;
  });
}
EXPORT int cuGraphExecDestroy(uint64_t executable) { return executables.remove(executable) ? SUCCESS : INVALID_VALUE; }
EXPORT int cuGraphDestroy(uint64_t graph) { return graphs.remove(graph) ? SUCCESS : INVALID_VALUE; }

EXPORT int cuEventCreate(uint64_t* handle, unsigned flags) {
  TRY(ready());
  auto event = std::make_unique<Event>();
  event->timing = !(flags & 2);
  *handle = events.add(std::move(event));
  return SUCCESS;
}
EXPORT int cuEventDestroy_v2(uint64_t event) { return events.remove(event) ? SUCCESS : INVALID_HANDLE; }
EXPORT int cuEventRecord(uint64_t event, uint64_t handle) {
  TRY(ready());
  Stream* stream = streams.get(handle);
  if (!stream || !events.get(event)) return INVALID_HANDLE;
  if (stream->capturing) return CAPTURE_UNSUPPORTED;
  events.get(event)->stream = handle;
  events.get(event)->mark = stream->done + stream->queue.size();
  return SUCCESS;
}
EXPORT int cuEventQuery(uint64_t handle) {
  TRY(ready());
  TRY(outside_capture());
  Event* event = events.get(handle);
  if (!event) return INVALID_HANDLE;
  if (fails("lost")) return lost = LAUNCH_FAILED;
  Stream* stream = streams.get(event->stream);
  if (!stream || stream->done >= event->mark) return lost;
  // Never ready at the first query, so that callers really wait; ready at the second.
  reach(*event);
  return lost ? lost : NOT_READY;
}
// Not a real time: a microsecond for each piece of work between the events.
EXPORT int cuEventElapsedTime_v2(float* milliseconds, uint64_t start, uint64_t end) {
  TRY(ready());
  Event *first = events.get(start), *last = events.get(end);
  if (!first || !last || !first->timing || !last->timing || first->stream != last->stream) return INVALID_HANDLE;
  Stream* stream = streams.get(last->stream);
  if (!stream) return INVALID_HANDLE;
  if (stream->done < last->mark) return NOT_READY;
  *milliseconds = 1e-3f * (last->mark - first->mark);
  return SUCCESS;
}
EXPORT int cuEventSynchronize(uint64_t handle) {
  TRY(ready());
  Event* event = events.get(handle);
  return event ? reach(*event) : INVALID_HANDLE;
}
