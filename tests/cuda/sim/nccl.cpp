// NCCL: communicators of several processes, which exchange files in a folder that the id names. What one process does not
// do as another expects is a fault: other counts, types, roots or functions, another order, use of a communicator that was
// finalised, destroyed or never made, a capture that NCCL cannot be part of. Operations of a communicator are done in the
// order issued, and a message has not left until it was received.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <set>

#include "sim.h"

using namespace sim;

namespace {
enum { OK = 0, CUDA_FAULT = 1, SYSTEM = 2, INTERNAL = 3, ARGUMENT = 4, USAGE = 5, REMOTE = 6 };
enum { INT32 = 2, UINT32 = 3, FLOAT32 = 7, BFLOAT16 = 9 };
enum { SUM = 0, MAX = 2, MIN = 3 };
constexpr char MAGIC[8] = {'S', 'I', 'M', 'N', 'C', 'C', 'L', '1'};
constexpr int PATIENCE = 20;  // seconds that a process waits for another to join

struct State {
  std::string folder;
  int size, rank, async = OK;
  long collectives = 0;
  std::map<int, long> sent, received;
  std::vector<pid_t> processes;
  uint64_t stream = 0;
  int under_way = 0;
  bool used = false, finalised = false, aborted = false;
};
struct Comm { std::shared_ptr<State> state; };
Handles<Comm> comms;
Book book("nccl communicators", [] { return comms.alive.size(); });
std::string last_error;
int groups = 0;

int refuse(int status, const std::string& why) {
  last_error = why;
  return status;
}

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }
std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}
void put(const std::string& path, const std::string& bytes) {  // complete, or not there
  std::ofstream(path + ".part", std::ios::binary) << bytes;
  rename((path + ".part").c_str(), path.c_str());
}

size_t width(int type) { return type == BFLOAT16 ? 2 : 4; }
bool known(int type) { return type == INT32 || type == UINT32 || type == FLOAT32 || type == BFLOAT16; }

// What all processes have to agree on, before the data.
struct Call {
  char what[16];
  uint64_t count;
  int type, detail;
};
std::string packed(const Call& call, uint64_t address) {
  return std::string((const char*)&call, sizeof call) + std::string((const char*)address, call.count * width(call.type));
}
std::string described(const Call& call) {
  return std::string(call.what) + " of " + std::to_string(call.count) + " elements of type " + std::to_string(call.type) +
         " (" + std::to_string(call.detail) + ")";
}
bool agree(const State& state, const Call& own, const std::string& other) {
  Call theirs;
  memcpy(&theirs, other.data(), sizeof theirs);
  if (memcmp(&own, &theirs, sizeof own) == 0) return true;
  complain("NCCL: process " + std::to_string(state.rank) + " calls " + described(own) + ", another " + described(theirs));
  return false;
}

template <class T> void reduce(T* into, const T* from, uint64_t count, int op) {
  for (uint64_t i = 0; i < count; ++i) {
    const T a = into[i], b = from[i];
    // Like the real one, a maximum of floats leaves out NaN.
    into[i] = op == SUM ? a + b : op == MAX ? (a > b || b != b ? a : b) : (a < b || b != b ? a : b);
  }
}
void reduce(int type, std::string& into, const std::string& from, uint64_t count, int op) {
  char* a = into.data() + sizeof(Call);
  const char* b = from.data() + sizeof(Call);
  if (type == FLOAT32) reduce((float*)a, (const float*)b, count, op);
  else if (type == INT32) reduce((int32_t*)a, (const int32_t*)b, count, op);
  else reduce((uint32_t*)a, (const uint32_t*)b, count, op);
}

// Notes a process that has died: NCCL reports that as an asynchronous error, and its work waits until it is aborted.
void look_for_the_dead(State& state) {
  if (fails("nccl-async")) state.async = REMOTE;
  for (pid_t process : state.processes) if (kill(process, 0) != 0) state.async = REMOTE;
}

// Checks an operation, and adds it to its stream. `work` is tried until it is done.
int issue(uint64_t handle, uint64_t address, uint64_t count, int type, int peer, uint64_t stream,
          std::function<Work(std::shared_ptr<State>)> make) {
  Comm* comm = comms.get(handle);
  if (!comm) return refuse(ARGUMENT, "this is no communicator, or no longer one");
  State& state = *comm->state;
  if (state.finalised) return refuse(USAGE, "the communicator was finalised");
  if (state.async) return refuse(state.async, "the communicator has failed");
  if (fails("nccl")) return refuse(INTERNAL, "an injected failure");
  if (!known(type)) return refuse(ARGUMENT, "an unknown datatype");
  if (peer < 0 || peer >= state.size) return refuse(ARGUMENT, "there is no such process");
  if (count == 0 || !on_device(address, count * width(type))) return refuse(ARGUMENT, "an address that is not on the card");
  if (!state.used && captures(stream)) complain("NCCL: the first operation of a communicator was captured");
  if (state.stream && state.stream != stream) complain("NCCL: a communicator is used on two streams");
  state.used = true;
  state.stream = stream;
  const bool now = !captures(stream);
  if (now) ++state.under_way;
  auto shared = comm->state;
  // Each run of a captured operation begins anew.
  auto current = std::make_shared<Work>();
  const Result result = enqueue(stream, [=] {
    if (!*current) *current = make(shared);
    Result done = shared->aborted ? SUCCESS : (*current)();
    if (done == NOT_NOW) return look_for_the_dead(*shared), NOT_NOW;
    *current = nullptr;
    if (now) --shared->under_way;
    return done;
  });
  return result == SUCCESS ? OK : refuse(CUDA_FAULT, "the stream refuses work");
}

// An operation that all processes make: each gives its data, and takes what `combine` makes of all.
int collective(Call call, uint64_t from, uint64_t to, uint64_t handle, uint64_t stream,
               std::function<std::string(const std::vector<std::string>&)> combine) {
  return issue(handle, from, call.count, call.type, 0, stream, [=](std::shared_ptr<State> state) -> Work {
    const std::string base = state->folder + "/c" + std::to_string(state->collectives++) + ".";
    auto posted = std::make_shared<bool>(false);
    return [=] {
      if (!on_device(from, call.count * width(call.type)) || !on_device(to, call.count * width(call.type))) return ILLEGAL_ADDRESS;
      if (!*posted) put(base + std::to_string(state->rank), packed(call, from));
      *posted = true;
      std::vector<std::string> all;
      for (int r = 0; r < state->size; ++r) {
        if (!exists(base + std::to_string(r))) return NOT_NOW;
        all.push_back(slurp(base + std::to_string(r)));
        if (!agree(*state, call, all.back())) return LAUNCH_FAILED;
      }
      const std::string result = combine(all);
      memcpy((void*)to, result.data() + sizeof(Call), call.count * width(call.type));
      return SUCCESS;
    };
  });
}
}  // namespace

EXPORT int ncclGetVersion(int* version) { Lock lock; return *version = 23203, OK; }
EXPORT const char* ncclGetErrorString(int status) {
  Lock lock;
  static const char* texts[] = {"no error", "unhandled cuda error", "unhandled system error", "internal error",
                                "invalid argument", "invalid usage", "remote process exited or there was a network error"};
  return status >= 0 && status <= REMOTE ? texts[status] : "unknown result code";
}
EXPORT const char* ncclGetLastError(uint64_t) { Lock lock; return last_error.c_str(); }

EXPORT int ncclGetUniqueId(char* id) {
  Lock lock;
  char folder[] = "/tmp/localgrad-nccl-XXXXXX";
  if (!mkdtemp(folder) || rmdir(folder)) return refuse(SYSTEM, "no folder for messages");  // made by who joins
  memset(id, 0, 128);
  memcpy(id, MAGIC, sizeof MAGIC);
  strcpy(id + sizeof MAGIC, folder);
  return OK;
}
EXPORT int ncclCommInitRankScalable(uint64_t* handle, int size, int rank, int ids, const char* id, uint64_t config) {
  Lock lock;
  if (size < 1 || rank < 0 || rank >= size || ids != 1 || config) return refuse(ARGUMENT, "invalid rank, size, ids or config");
  if (memcmp(id, MAGIC, sizeof MAGIC) != 0) return refuse(ARGUMENT, "this is no id");
  if (ready()) return refuse(CUDA_FAULT, "no context is current on this thread");
  if (outside_capture()) return refuse(USAGE, "a stream is being captured");
  if (fails("nccl-init")) return refuse(SYSTEM, "an injected failure");
  work_alone();
  auto state = std::make_shared<State>();
  state->folder = id + sizeof MAGIC;
  mkdir(state->folder.c_str(), 0700);  // unless another process has
  state->size = size;
  state->rank = rank;
  const std::string joined = state->folder + "/joined.";
  if (exists(joined + std::to_string(rank))) return refuse(USAGE, "this process has joined already");
  put(joined + std::to_string(rank), std::to_string(size) + " " + std::to_string(getpid()));
  const time_t start = time(nullptr);
  for (int r = 0; r < size; ++r) {
    while (!exists(joined + std::to_string(r))) {
      if (time(nullptr) - start > PATIENCE) return refuse(REMOTE, "another process did not join");
      lock.rest();
    }
    int theirs = 0, process = 0;
    sscanf(slurp(joined + std::to_string(r)).c_str(), "%d %d", &theirs, &process);
    if (theirs != size) return refuse(ARGUMENT, "processes have joined with other sizes");
    state->processes.push_back(process);
  }
  *handle = comms.add(std::unique_ptr<Comm>(new Comm{state}));
  return OK;
}
EXPORT int ncclCommSplit(uint64_t, int, int, uint64_t*, uint64_t) { Lock lock; return refuse(USAGE, "not simulated"); }
EXPORT int ncclCommCount(uint64_t handle, int* count) {
  Lock lock;
  return comms.get(handle) ? *count = comms.get(handle)->state->size, OK : refuse(ARGUMENT, "no communicator");
}
EXPORT int ncclCommUserRank(uint64_t handle, int* rank) {
  Lock lock;
  return comms.get(handle) ? *rank = comms.get(handle)->state->rank, OK : refuse(ARGUMENT, "no communicator");
}
EXPORT int ncclCommGetAsyncError(uint64_t handle, int* status) {
  Lock lock;
  Comm* comm = comms.get(handle);
  if (!comm) return refuse(ARGUMENT, "this is no communicator, or no longer one");
  return *status = comm->state->async, OK;
}
EXPORT int ncclCommFinalize(uint64_t handle) {
  Lock lock;
  Comm* comm = comms.get(handle);
  if (!comm) return refuse(ARGUMENT, "this is no communicator, or no longer one");
  if (comm->state->finalised) return refuse(USAGE, "the communicator was finalised");
  if (comm->state->under_way > 0 && !lost) complain("NCCL: a communicator was finalised with operations under way");
  comm->state->finalised = true;
  return OK;
}

// Leaves; the last process removes the folder.
static int leave(uint64_t handle) {
  Comm* comm = comms.get(handle);
  if (!comm) return refuse(ARGUMENT, "this is no communicator, or no longer one");
  auto state = comm->state;
  comms.remove(handle);
  put(state->folder + "/left." + std::to_string(state->rank), "");
  for (int r = 0; r < state->size; ++r) if (!exists(state->folder + "/left." + std::to_string(r))) return OK;
  if (system(("rm -rf '" + state->folder + "'").c_str())) return refuse(SYSTEM, "the folder cannot be removed");
  return OK;
}
EXPORT int ncclCommDestroy(uint64_t handle) {
  Lock lock;
  Comm* comm = comms.get(handle);
  if (comm && comm->state->under_way > 0 && !lost) complain("NCCL: a communicator was destroyed with operations under way");
  return leave(handle);
}
EXPORT int ncclCommAbort(uint64_t handle) {
  Lock lock;
  if (comms.get(handle)) comms.get(handle)->state->aborted = true;
  return leave(handle);
}
EXPORT int ncclGroupStart() { Lock lock; return ++groups, OK; }
EXPORT int ncclGroupEnd() { Lock lock; return groups-- > 0 ? OK : refuse(USAGE, "no group was started"); }

EXPORT int ncclAllReduce(uint64_t from, uint64_t to, size_t count, int type, int op, uint64_t comm, uint64_t stream) {
  Lock lock;
  if ((op != SUM && op != MAX && op != MIN) || type == BFLOAT16) return refuse(ARGUMENT, "a reduction that is not simulated");
  return collective({"allReduce", count, type, op}, from, to, comm, stream, [=](const std::vector<std::string>& all) {
    std::string result = all[0];
    for (size_t r = 1; r < all.size(); ++r) reduce(type, result, all[r], count, op);
    return result;
  });
}
EXPORT int ncclBroadcast(uint64_t from, uint64_t to, size_t count, int type, int root, uint64_t comm, uint64_t stream) {
  Lock lock;
  if (comms.get(comm) && (root < 0 || root >= comms.get(comm)->state->size)) return refuse(ARGUMENT, "there is no such root");
  return collective({"broadcast", count, type, root}, from, to, comm, stream,
                    [=](const std::vector<std::string>& all) { return all[root]; });
}
EXPORT int ncclSend(uint64_t from, size_t count, int type, int peer, uint64_t comm, uint64_t stream) {
  Lock lock;
  if (comms.get(comm) && peer == comms.get(comm)->state->rank && groups == 0) return refuse(USAGE, "a message to itself outside of a group");
  const Call call{"message", count, type, 0};
  return issue(comm, from, count, type, peer, stream, [=](std::shared_ptr<State> state) -> Work {
    const std::string path = state->folder + "/m" + std::to_string(state->rank) + "-" + std::to_string(peer) + "." +
                             std::to_string(state->sent[peer]++);
    auto posted = std::make_shared<bool>(false);
    return [=] {
      if (!on_device(from, count * width(type))) return ILLEGAL_ADDRESS;
      if (!*posted) put(path, packed(call, from));
      *posted = true;
      return exists(path) ? NOT_NOW : SUCCESS;  // the receiver removes it
    };
  });
}
EXPORT int ncclRecv(uint64_t to, size_t count, int type, int peer, uint64_t comm, uint64_t stream) {
  Lock lock;
  if (comms.get(comm) && peer == comms.get(comm)->state->rank && groups == 0) return refuse(USAGE, "a message of itself outside of a group");
  const Call call{"message", count, type, 0};
  return issue(comm, to, count, type, peer, stream, [=](std::shared_ptr<State> state) -> Work {
    const std::string path = state->folder + "/m" + std::to_string(peer) + "-" + std::to_string(state->rank) + "." +
                             std::to_string(state->received[peer]++);
    return [=] {
      if (!on_device(to, count * width(type))) return ILLEGAL_ADDRESS;
      if (!exists(path)) return NOT_NOW;
      const std::string message = slurp(path);
      unlink(path.c_str());
      if (!agree(*state, call, message)) return LAUNCH_FAILED;
      memcpy((void*)to, message.data() + sizeof(Call), count * width(type));
      return SUCCESS;
    };
  });
}
