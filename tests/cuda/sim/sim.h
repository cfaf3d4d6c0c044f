// The simulated device: stand-ins for the parts of libcuda, NVRTC, cuBLASLt, cuDNN and NCCL in use, in one library, so that
// the whole CUDA backend runs on a machine without a card. It runs the same kernel sources on the host, tracks every
// allocation and handle, refuses what the real libraries refuse, and fails on demand. It tests correctness and says
// nothing about speed. Work is queued and run late, when something waits for it, so that a read or a free that comes
// too early is detected.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace sim {

// The CUresult values in use.
enum Result {
  SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101,
  INVALID_IMAGE = 200, INVALID_CONTEXT = 201, INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600,
  ILLEGAL_ADDRESS = 700, MISALIGNED_ADDRESS = 716, LAUNCH_FAILED = 719, CAPTURE_UNSUPPORTED = 900,
  CAPTURE_INVALIDATED = 901, CAPTURE_UNMATCHED = 903, CAPTURE_UNJOINED = 904, CAPTURE_ISOLATION = 905,
  NOT_NOW = -1,  // of work that waits for other work, or another process; it is tried again
};

typedef std::function<Result()> Work;

// Held by each call, and by the card while it works. Once there are communicators of NCCL, the card works beside the
// host, because another process may wait for it; before that, only where the host waits.
struct Lock {
  Lock();
  ~Lock();
  void rest();  // lets the card work for a moment
};

// Records a fault that a real card would not notice, and a test must.
void complain(const std::string& what);

// Tests whether a stream is being captured.
bool captures(uint64_t stream);

// Makes the card work beside the host from now on.
void work_alone();

// Adds work to a stream, or to the graph it is capturing; events tell that it took so many microseconds.
Result enqueue(uint64_t stream, Work work, double microseconds = 1);

// The check that begins most calls: there is a context, and no sticky error.
Result ready();

// The check of calls that are forbidden during a capture, which they break.
Result outside_capture();

// Runs all queued work, on every stream.
Result perform_all();

// Tests whether a stream or an event is alive.
bool streams_alive();

// The number of kernels and graphs launched.
extern long launches;

// The sticky error; it stays once it is set.
extern Result lost;

#define TRY(call) \
  if (sim::Result r = (call)) return r

// Tests whether bytes lie within one allocation on the device.
bool on_device(uint64_t address, uint64_t bytes);

// Counts down to an injected failure: true when `what` is to fail now.
bool fails(const char* what);

// Runs a kernel's blocks; `module` contains its machine. Only some of the blocks may have barriers if they are uneven.
struct Module;
Result run_kernel(Module* module, void* function, bool uneven, std::vector<uint64_t> arguments, uint32_t blocks,
                  uint32_t threads);

struct Module {
  void* library = nullptr;
  void* machine = nullptr;
  std::string path;
};

// Handles of one kind, each an address that is alive until it is destroyed.
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

// The number of live objects of each kind, by name, for tests.
std::map<std::string, std::function<size_t()>>& books();
struct Book {
  Book(const char* name, std::function<size_t()> count) { books()[name] = count; }
};

}  // namespace sim
