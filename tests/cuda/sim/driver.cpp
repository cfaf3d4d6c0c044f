// libcuda, as far as the backend uses it: memory, streams, graphs, events. Modules and launches are in modules.cpp.
#include <stdlib.h>
#include <string.h>

#include <algorithm>

#include "sim.h"

using namespace sim;

namespace sim {

std::map<std::string, std::function<size_t()>>& books() {
  static std::map<std::string, std::function<size_t()>> all;
  return all;
}

namespace {

constexpr uint64_t GUARD = 512;  // bytes before and after every allocation, which nobody may touch
constexpr uint8_t GUARD_BYTE = 0xa5, FRESH_BYTE = 0xff;  // fresh memory is full of NaNs

struct Block {
  uint64_t bytes;
  char* base;
};
struct Event {
  Stream* stream = nullptr;
  size_t mark = 0;  // done when the stream has done this many works
};
struct Graph { std::vector<Work> nodes; };

std::map<uint64_t, Block> blocks;
std::map<uint64_t, uint64_t> pinned;
uint64_t used = 0, total = 4ull << 30;
int initialised = 0, contexts = 0, current_context = 0;
Result lost = SUCCESS;  // sticky
std::map<std::string, long> failures;
std::vector<std::string> complaints;
Handles<Stream> streams;
Handles<Event> events;
Handles<Graph> graphs, executables;
std::map<Stream*, size_t> done;  // works done by each stream
long launches = 0;

Book b1("allocations", [] { return blocks.size(); });
Book b2("pinned", [] { return pinned.size(); });
Book b3("streams", [] { return streams.alive.size(); });
Book b4("events", [] { return events.alive.size(); });
Book b6("graphs", [] { return graphs.alive.size(); });
Book b7("executables", [] { return executables.alive.size(); });
Book b8("contexts", [] { return (size_t)contexts; });

Result perform(Stream* stream) {
  std::vector<Work> queue;
  queue.swap(stream->queue);
  for (auto& work : queue) {
    if (lost == SUCCESS) lost = work();
    ++done[stream];
  }
  return lost;
}

void check_guards(uint64_t address, const Block& block) {
  auto touched = [](const char* p) {
    return std::any_of(p, p + GUARD, [](char c) { return (uint8_t)c != GUARD_BYTE; });
  };
  if (touched(block.base)) complain("memory was written before an allocation");
  if (touched((char*)address + block.bytes)) complain("memory was written past an allocation");
}

bool is_pinned(uint64_t address, uint64_t bytes) {
  auto next = pinned.upper_bound(address);
  if (next == pinned.begin()) return false;
  auto& [start, size] = *--next;
  return address + bytes <= start + size;
}

}  // namespace

Result ready() {
  if (!initialised) return NOT_INITIALIZED;
  if (!current_context) return INVALID_CONTEXT;
  return lost;
}

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

void count_launch() { ++launches; }

void complain(const std::string& what) {
  if (std::find(complaints.begin(), complaints.end(), what) == complaints.end()) complaints.push_back(what);
}

bool fails(const char* what) {
  auto found = failures.find(what);
  if (found == failures.end() || found->second == 0) return false;
  if (found->second > 1) return --found->second, false;
  // Memory that has run out stays so; the rest fails once.
  if (found->first != "alloc") found->second = 0;
  return true;
}

bool on_device(uint64_t address, uint64_t bytes) {
  auto next = blocks.upper_bound(address);
  if (next == blocks.begin()) return false;
  auto& [start, block] = *--next;
  return address + bytes <= start + block.bytes && (bytes > 0 || address < start + block.bytes || block.bytes == 0);
}

Result enqueue(uint64_t handle, Work work) {
  TRY(ready());
  Stream* stream = streams.get(handle);
  if (!stream) return INVALID_HANDLE;
  (stream->capturing ? stream->captured : stream->queue).push_back(std::move(work));
  return SUCCESS;
}

}  // namespace sim

// What only tests call.
EXPORT void sim_fail(const char* what, int after) { failures[what] = after; }
EXPORT void sim_memory(uint64_t bytes) { total = bytes; }
EXPORT int64_t sim_count(const char* what) {
  if (strcmp(what, "launches") == 0) return launches;
  if (strcmp(what, "used") == 0) return used;
  return books().count(what) ? (int64_t)books()[what]() : -1;
}
// What is alive and what was complained of, one a line; forgets the complaints, failures and a loss.
EXPORT int sim_report(char* text, int size) {
  perform_all();
  for (auto& [address, block] : blocks) check_guards(address, block);
  std::string report;
  for (auto& [name, count] : books()) if (count() > 0) report += name + ": " + std::to_string(count()) + "\n";
  for (auto& what : complaints) report += what + "\n";
  complaints.clear();
  failures.clear();
  lost = SUCCESS;
  strncpy(text, report.c_str(), size - 1);
  return (int)report.size();
}

EXPORT int cuInit(unsigned) {
  if (fails("init")) return NO_DEVICE;
  initialised = 1;
  return SUCCESS;
}
EXPORT int cuDriverGetVersion(int* version) {
  const char* wanted = getenv("LOCALGRAD_SIM_DRIVER");
  *version = wanted ? atoi(wanted) : 13000;
  return SUCCESS;
}

static const struct { int code; const char *name, *text; } names[] = {
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {MISALIGNED_ADDRESS, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
};
EXPORT int cuGetErrorName(int error, const char** text) {
  for (auto& entry : names) if (entry.code == error) return *text = entry.name, SUCCESS;
  return *text = nullptr, INVALID_VALUE;
}
EXPORT int cuGetErrorString(int error, const char** text) {
  for (auto& entry : names) if (entry.code == error) return *text = entry.text, SUCCESS;
  return *text = nullptr, INVALID_VALUE;
}

EXPORT int cuDeviceGetCount(int* count) { return *count = 1, initialised ? SUCCESS : NOT_INITIALIZED; }
EXPORT int cuDeviceGet(int* device, int ordinal) {
  if (!initialised) return NOT_INITIALIZED;
  *device = 0;
  return ordinal == 0 ? SUCCESS : INVALID_DEVICE;
}
EXPORT int cuDeviceGetName(char* name, int size, int) {
  strncpy(name, "simulated device (proves correctness, never speed)", size);
  return SUCCESS;
}
EXPORT int cuDeviceGetAttribute(int* value, int attribute, int) {
  const char* architecture = getenv("LOCALGRAD_SIM_ARCHITECTURE");
  const int sm = architecture ? atoi(architecture) : 90;
  *value = attribute == 75 ? sm / 10 : attribute == 76 ? sm % 10 : attribute == 16 ? 4 : 0;
  return SUCCESS;
}
EXPORT int cuDeviceTotalMem_v2(size_t* bytes, int) { return *bytes = total, SUCCESS; }
EXPORT int cuDevicePrimaryCtxRetain(uint64_t* context, int) {
  if (!initialised) return NOT_INITIALIZED;
  if (lost) return lost;
  ++contexts;
  *context = 0xc0;
  return SUCCESS;
}
EXPORT int cuDevicePrimaryCtxRelease_v2(int) {
  if (contexts == 0) return INVALID_CONTEXT;
  if (--contexts == 0) {
    current_context = 0;
    if (!blocks.empty()) complain("a context was released with memory allocated");
    if (!streams.alive.empty() || !events.alive.empty()) complain("a context was released with streams or events alive");
  }
  return SUCCESS;
}
EXPORT int cuCtxSetCurrent(uint64_t context) {
  if (context != 0xc0 || contexts == 0) return INVALID_CONTEXT;
  current_context = 1;
  return SUCCESS;
}

EXPORT int cuMemGetInfo_v2(size_t* free, size_t* all) {
  *free = total - std::min(used, total);
  *all = total;
  return ready();
}
EXPORT int cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  TRY(ready());
  TRY(outside_capture());
  if (bytes == 0) return INVALID_VALUE;
  if (fails("alloc") || used + bytes > total) return OUT_OF_MEMORY;
  const size_t rounded = (bytes + GUARD - 1) / GUARD * GUARD;
  char* base = (char*)aligned_alloc(GUARD, rounded + 2 * GUARD);
  memset(base, GUARD_BYTE, rounded + 2 * GUARD);
  memset(base + GUARD, FRESH_BYTE, bytes);
  *address = (uint64_t)(base + GUARD);
  blocks[*address] = {bytes, base};
  used += bytes;
  return SUCCESS;
}
EXPORT int cuMemFree_v2(uint64_t address) {
  TRY(outside_capture());
  perform_all();  // freeing waits for the device
  auto found = blocks.find(address);
  if (found == blocks.end()) return INVALID_VALUE;
  check_guards(address, found->second);
  used -= found->second.bytes;
  memset(found->second.base, 0xdd, found->second.bytes + GUARD);
  free(found->second.base);
  blocks.erase(found);
  return lost;
}
EXPORT int cuMemHostAlloc(void** address, size_t bytes, unsigned) {
  TRY(ready());
  TRY(outside_capture());
  if (fails("pin")) return OUT_OF_MEMORY;
  *address = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  pinned[(uint64_t)*address] = bytes;
  return SUCCESS;
}
EXPORT int cuMemFreeHost(void* address) {
  perform_all();
  if (!pinned.erase((uint64_t)address)) return INVALID_VALUE;
  free(address);
  return SUCCESS;
}
EXPORT int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, uint64_t stream) {
  if (!on_device(to, bytes) || !is_pinned((uint64_t)from, bytes)) return INVALID_VALUE;
  return enqueue(stream, [=] { return on_device(to, bytes) ? (memcpy((void*)to, from, bytes), SUCCESS) : ILLEGAL_ADDRESS; });
}
EXPORT int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, uint64_t stream) {
  if (!on_device(from, bytes) || !is_pinned((uint64_t)to, bytes)) return INVALID_VALUE;
  return enqueue(stream, [=] { return on_device(from, bytes) ? (memcpy(to, (void*)from, bytes), SUCCESS) : ILLEGAL_ADDRESS; });
}
EXPORT int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, uint64_t stream) {
  if (!on_device(from, bytes) || !on_device(to, bytes)) return INVALID_VALUE;
  return enqueue(stream, [=] {
    if (!on_device(from, bytes) || !on_device(to, bytes)) return ILLEGAL_ADDRESS;
    memcpy((void*)to, (void*)from, bytes);
    return SUCCESS;
  });
}
EXPORT int cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, uint64_t stream) {
  if (!on_device(to, bytes)) return INVALID_VALUE;
  return enqueue(stream, [=] { return on_device(to, bytes) ? (memset((void*)to, value, bytes), SUCCESS) : ILLEGAL_ADDRESS; });
}

EXPORT int cuStreamCreate(uint64_t* stream, unsigned) {
  TRY(ready());
  if (fails("stream")) return OUT_OF_MEMORY;
  *stream = streams.add(std::make_unique<Stream>());
  return SUCCESS;
}
EXPORT int cuStreamDestroy_v2(uint64_t stream) {
  if (!streams.get(stream)) return INVALID_HANDLE;
  perform(streams.get(stream));
  done.erase(streams.get(stream));
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
  if (stream->broken) return CAPTURE_INVALIDATED;
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
  auto nodes = executables.get(executable)->nodes;  // destroying it leaves what was launched alone
  return enqueue(stream, [nodes] {
    for (auto& node : nodes) TRY(node());
    return SUCCESS;
  });
}
EXPORT int cuGraphExecDestroy(uint64_t executable) { return executables.remove(executable) ? SUCCESS : INVALID_VALUE; }
EXPORT int cuGraphDestroy(uint64_t graph) { return graphs.remove(graph) ? SUCCESS : INVALID_VALUE; }

EXPORT int cuEventCreate(uint64_t* event, unsigned) {
  TRY(ready());
  *event = events.add(std::make_unique<Event>());
  return SUCCESS;
}
EXPORT int cuEventDestroy_v2(uint64_t event) { return events.remove(event) ? SUCCESS : INVALID_HANDLE; }
EXPORT int cuEventRecord(uint64_t event, uint64_t handle) {
  TRY(ready());
  Stream* stream = streams.get(handle);
  if (!stream || !events.get(event)) return INVALID_HANDLE;
  if (stream->capturing) return CAPTURE_UNSUPPORTED;
  *events.get(event) = {stream, done[stream] + stream->queue.size()};
  return SUCCESS;
}
EXPORT int cuEventQuery(uint64_t handle) {
  TRY(ready());
  TRY(outside_capture());
  Event* event = events.get(handle);
  if (!event) return INVALID_HANDLE;
  if (fails("lost")) return lost = LAUNCH_FAILED;
  if (!event->stream || done[event->stream] >= event->mark) return lost;
  // Never ready when first asked, so that callers really wait; done by the time they ask again.
  perform(event->stream);
  return lost ? lost : NOT_READY;
}
EXPORT int cuEventSynchronize(uint64_t handle) {
  TRY(ready());
  Event* event = events.get(handle);
  if (!event) return INVALID_HANDLE;
  return event->stream ? perform(event->stream) : SUCCESS;
}
