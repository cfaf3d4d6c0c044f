// The simulated device: stand-ins for libcuda, NVRTC, cuBLASLt and the part of cuDNN in use, in one library, so that
// the whole CUDA backend runs on a machine without a card. It executes the very kernel sources on the host, keeps books
// on every allocation and handle, refuses what the real libraries refuse, and fails on demand. It proves correctness,
// never speed. Work is queued and done late, when somebody waits for it: what reads or frees too early is found out.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace sim {

// CUresult values that are given.
enum Result {
  SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101,
  INVALID_IMAGE = 200, INVALID_CONTEXT = 201, INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600,
  ILLEGAL_ADDRESS = 700, MISALIGNED_ADDRESS = 716, LAUNCH_FAILED = 719, CAPTURE_UNSUPPORTED = 900,
  CAPTURE_INVALIDATED = 901,
};

typedef std::function<Result()> Work;

// What is wrong that the real machine would not notice, and a test must.
void complain(const std::string& what);

// Adds work to a stream, or to the graph it is capturing.
Result enqueue(uint64_t stream, Work work);

// What every call but a few checks first: a context, and no error that sticks.
Result ready();

// What may not be done while a stream captures: it breaks the capture.
Result outside_capture();

// Does all work that is queued, on every stream.
Result perform_all();

// Whether a stream or an event is alive.
bool streams_alive();

// How many kernels and graphs were launched.
extern long launches;

// An error that sticks, once there was one.
extern Result lost;

#define TRY(call) \
  if (sim::Result r = (call)) return r

// Whether bytes lie within one allocation on the device.
bool on_device(uint64_t address, uint64_t bytes);

// Counts down to an injected failure: true when `what` is to fail now.
bool fails(const char* what);

// Runs a kernel's blocks; `module` holds its machine.
struct Module;
Result run_kernel(Module* module, void* function, const std::vector<uint64_t>& arguments, uint32_t blocks,
                  uint32_t threads);

struct Module {
  void* library = nullptr;
  void* machine = nullptr;
  std::string path;
};

// Handles: each an address of its own kind, alive until destroyed.
template <class T> struct Handles {
  std::map<uint64_t, std::unique_ptr<T>> alive;
  uint64_t add(std::unique_ptr<T> item) {
    const uint64_t handle = (uint64_t)item.get();
    alive[handle] = std::move(item);
    return handle;
  }
  T* get(uint64_t handle) {
    auto found = alive.find(handle);
    return found == alive.end() ? nullptr : found->second.get();
  }
  bool remove(uint64_t handle) { return alive.erase(handle) > 0; }
};

// How many of each kind are alive, by name, for the tests' books.
std::map<std::string, std::function<size_t()>>& books();
struct Book {
  Book(const char* name, std::function<size_t()> count) { books()[name] = count; }
};

}  // namespace sim
