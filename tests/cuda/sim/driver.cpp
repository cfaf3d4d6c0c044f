// The part of libcuda in use: the device, memory, copies. Streams, events and graphs are in streams.cpp, modules and
// launches in modules.cpp.
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

constexpr uint64_t GUARD = 512;  // bytes before and after every allocation, which must not change
constexpr uint8_t GUARD_BYTE = 0xa5, FRESH_BYTE = 0xff;  // fresh memory is full of NaNs

struct Block {
  uint64_t bytes;
  char* base;
};
std::map<uint64_t, Block> blocks;
std::map<uint64_t, uint64_t> pinned;
uint64_t used = 0, total = 4ull << 30;
int initialised = 0, contexts = 0, current_context = 0;
struct Failure { long after, times; };  // the number of calls before it, and of those that fail; −1 for all
std::map<std::string, Failure> failures;
std::vector<std::string> complaints;
Book b1("allocations", [] { return blocks.size(); });
Book b2("pinned", [] { return pinned.size(); });
Book b8("contexts", [] { return (size_t)contexts; });

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

Result lost = SUCCESS;

Result ready() {
  if (!initialised) return NOT_INITIALIZED;
  if (!current_context) return INVALID_CONTEXT;
  return lost;
}

void complain(const std::string& what) {
  Lock lock;
  if (std::find(complaints.begin(), complaints.end(), what) == complaints.end()) complaints.push_back(what);
}

bool fails(const char* what) {
  Lock lock;
  auto found = failures.find(what);
  if (found == failures.end()) return false;
  auto& [after, times] = found->second;
  if (times == 0) return false;
  if (after > 1) return --after, false;
  if (times > 0) --times;
  return true;
}

bool on_device(uint64_t address, uint64_t bytes) {
  Lock lock;
  auto next = blocks.upper_bound(address);
  if (next == blocks.begin()) return false;
  auto& [start, block] = *--next;
  return address + bytes <= start + block.bytes && (bytes > 0 || address < start + block.bytes || block.bytes == 0);
}

}  // namespace sim

// Functions for tests only.
EXPORT void sim_fail(const char* what, int after, int times) { Lock lock; failures[what] = {after, times}; }
EXPORT void sim_memory(uint64_t bytes) { Lock lock; total = bytes; }
EXPORT int64_t sim_count(const char* what) {
  Lock lock;
  if (strcmp(what, "launches") == 0) return launches;
  if (strcmp(what, "used") == 0) return used;
  return books().count(what) ? (int64_t)books()[what]() : -1;
}
// The live objects and the faults, one to a line. Clears faults, injected failures and a lost device.
EXPORT int sim_report(char* text, int size) {
  Lock lock;
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

// `LOCALGRAD_SIM_FAIL=fault:3` makes the third call of a kind fail in programs that a test does not run itself.
static void fail_as_told() {
  const char* wanted = getenv("LOCALGRAD_SIM_FAIL");
  const char* after = wanted ? strchr(wanted, ':') : nullptr;
  if (after) failures[std::string(wanted, after)] = {atoi(after + 1), 1};
}

EXPORT int cuInit(unsigned) {
  Lock lock;
  if (!initialised) fail_as_told();
  if (fails("init")) return NO_DEVICE;
  initialised = 1;
  return SUCCESS;
}
EXPORT int cuDriverGetVersion(int* version) {
  Lock lock;
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
    {CAPTURE_UNMATCHED, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "the capture was not initiated in this stream"},
    {CAPTURE_UNJOINED, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "capture sequence contains a fork that was not joined"},
    {CAPTURE_ISOLATION, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION", "dependency created on uncaptured work in another stream"},
};
EXPORT int cuGetErrorName(int error, const char** text) {
  Lock lock;
  for (auto& entry : names) if (entry.code == error) return *text = entry.name, SUCCESS;
  return *text = nullptr, INVALID_VALUE;
}
EXPORT int cuGetErrorString(int error, const char** text) {
  Lock lock;
  for (auto& entry : names) if (entry.code == error) return *text = entry.text, SUCCESS;
  return *text = nullptr, INVALID_VALUE;
}

EXPORT int cuDeviceGetCount(int* count) { Lock lock; return *count = 1, initialised ? SUCCESS : NOT_INITIALIZED; }
EXPORT int cuDeviceGet(int* device, int ordinal) {
  Lock lock;
  if (!initialised) return NOT_INITIALIZED;
  *device = 0;
  return ordinal == 0 ? SUCCESS : INVALID_DEVICE;
}
EXPORT int cuDeviceGetName(char* name, int size, int) {
  Lock lock;
  strncpy(name, "simulated device (proves correctness, never speed)", size);
  return SUCCESS;
}
EXPORT int cuDeviceGetAttribute(int* value, int attribute, int) {
  Lock lock;
  const char* architecture = getenv("LOCALGRAD_SIM_ARCHITECTURE");
  const int sm = architecture ? atoi(architecture) : 90;
  *value = attribute == 75 ? sm / 10 : attribute == 76 ? sm % 10 : attribute == 16 ? 4 : attribute == 37 ? 256 : 1000000;
  return SUCCESS;
}
EXPORT int cuDeviceTotalMem_v2(size_t* bytes, int) { Lock lock; return *bytes = total, SUCCESS; }
EXPORT int cuDevicePrimaryCtxRetain(uint64_t* context, int) {
  Lock lock;
  if (!initialised) return NOT_INITIALIZED;
  if (lost) return lost;
  ++contexts;
  *context = 0xc0;
  return SUCCESS;
}
EXPORT int cuDevicePrimaryCtxRelease_v2(int) {
  Lock lock;
  if (contexts == 0) return INVALID_CONTEXT;
  if (--contexts == 0) {
    current_context = 0;
    if (!blocks.empty()) complain("a context was released with memory allocated");
    if (streams_alive()) complain("a context was released with streams or events alive");
  }
  return SUCCESS;
}
EXPORT int cuCtxSetCurrent(uint64_t context) {
  Lock lock;
  if (context != 0xc0 || contexts == 0) return INVALID_CONTEXT;
  current_context = 1;
  return SUCCESS;
}

EXPORT int cuMemGetInfo_v2(size_t* free, size_t* all) {
  Lock lock;
  *free = total - std::min(used, total);
  *all = total;
  return ready();
}
EXPORT int cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  Lock lock;
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
  Lock lock;
  TRY(outside_capture());
  perform_all();  // freeing synchronises with the device
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
  Lock lock;
  TRY(ready());
  TRY(outside_capture());
  if (fails("pin")) return OUT_OF_MEMORY;
  *address = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  pinned[(uint64_t)*address] = bytes;
  return SUCCESS;
}
EXPORT int cuMemFreeHost(void* address) {
  Lock lock;
  perform_all();
  if (!pinned.erase((uint64_t)address)) return INVALID_VALUE;
  free(address);
  return SUCCESS;
}
EXPORT int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, uint64_t stream) {
  Lock lock;
  if (!on_device(to, bytes) || !is_pinned((uint64_t)from, bytes)) return INVALID_VALUE;
  return enqueue(stream, [=] { return on_device(to, bytes) ? (memcpy((void*)to, from, bytes), SUCCESS) : ILLEGAL_ADDRESS; });
}
EXPORT int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, uint64_t stream) {
  Lock lock;
  if (!on_device(from, bytes) || !is_pinned((uint64_t)to, bytes)) return INVALID_VALUE;
  return enqueue(stream, [=] { return on_device(from, bytes) ? (memcpy(to, (void*)from, bytes), SUCCESS) : ILLEGAL_ADDRESS; });
}
EXPORT int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, uint64_t stream) {
  Lock lock;
  if (!on_device(from, bytes) || !on_device(to, bytes)) return INVALID_VALUE;
  return enqueue(stream, [=] {
    if (!on_device(from, bytes) || !on_device(to, bytes)) return ILLEGAL_ADDRESS;
    memcpy((void*)to, (void*)from, bytes);
    return SUCCESS;
  });
}
EXPORT int cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, uint64_t stream) {
  Lock lock;
  if (!on_device(to, bytes)) return INVALID_VALUE;
  return enqueue(stream, [=] { return on_device(to, bytes) ? (memset((void*)to, value, bytes), SUCCESS) : ILLEGAL_ADDRESS; });
}
