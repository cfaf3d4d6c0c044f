// Runs the threads of a block one after the other on one thread of the host. A kernel whose first block meets no barrier
// is a simple loop, unless its blocks are uneven. In a kernel with barriers each thread has a stack of its own, and every barrier switches to the next.
#include <ucontext.h>

#include <utility>
#include "sim.h"

namespace sim {
namespace {

struct Machine {  // SimMachine of host.h
  uint32_t thread, block;
  void (*barrier)();
  void (*misaligned)();
};

constexpr size_t STACK = 64 * 1024;
// Calls are made with the next of these numbers of arguments: more than a function takes do no harm.
constexpr size_t ARGUMENTS[] = {4, 8, 16, 32, 64, 128};

#if defined(__x86_64__)
// Saves the callee-saved registers and switches to another stack.
extern "C" void sim_switch(void** save, void* resume);
asm(R"(
  .text
  .globl sim_switch
  .hidden sim_switch
sim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
#endif

struct Fiber {
  std::unique_ptr<char[]> stack{new char[STACK]};
  bool done = true;
#if defined(__x86_64__)
  void* at = nullptr;
#else
  ucontext_t at;
#endif
};

std::vector<Fiber> fibers;
#if defined(__x86_64__)
void* scheduler;
#else
ucontext_t scheduler;
#endif
Fiber* current;
std::function<void()> body;
bool met_barrier, misaligned, diverged;
bool reversed = false;

void to_scheduler() {
#if defined(__x86_64__)
  sim_switch(&current->at, scheduler);
#else
  swapcontext(&current->at, &scheduler);
#endif
}

void entry() {
  body();
  current->done = true;
  to_scheduler();
  __builtin_trap();  // a finished thread must not be resumed
}

void start(Fiber& fiber) {
  fiber.done = false;
#if defined(__x86_64__)
  // As if `entry` had called sim_switch: six registers, then the return address, aligned as after a call.
  uintptr_t top = ((uintptr_t)fiber.stack.get() + STACK) & ~(uintptr_t)15;
  void** frame = (void**)top - 2;
  *frame = (void*)entry;
  for (int i = 0; i < 6; ++i) *--frame = nullptr;
  fiber.at = frame;
#else
  getcontext(&fiber.at);
  fiber.at.uc_stack.ss_sp = fiber.stack.get();
  fiber.at.uc_stack.ss_size = STACK;
  fiber.at.uc_link = nullptr;
  makecontext(&fiber.at, entry, 0);
#endif
}

void resume(Fiber& fiber) {
  current = &fiber;
#if defined(__x86_64__)
  sim_switch(&scheduler, fiber.at);
#else
  swapcontext(&scheduler, &fiber.at);
#endif
}

void fiber_barrier() {
  met_barrier = true;
  to_scheduler();
}

void loop_barrier() { diverged = true; }
void note_misaligned() { misaligned = true; }

template <size_t... I> void apply(void* function, const uint64_t* a, std::index_sequence<I...>) {
  typedef void (*Kernel)(decltype((void)I, (void*)0)...);
  ((Kernel)function)((void*)a[I]...);
}

typedef void (*Apply)(void*, const uint64_t*);
template <size_t N> void apply_n(void* function, const uint64_t* a) { apply(function, a, std::make_index_sequence<N>()); }
constexpr Apply appliers[] = {apply_n<4>, apply_n<8>, apply_n<16>, apply_n<32>, apply_n<64>, apply_n<128>};

}  // namespace

Result run_kernel(Module* module, void* function, bool uneven, std::vector<uint64_t> arguments, uint32_t blocks,
                  uint32_t threads) {
  size_t form = 0;
  while (form < std::size(ARGUMENTS) && ARGUMENTS[form] < arguments.size()) ++form;
  if (form == std::size(ARGUMENTS)) return INVALID_VALUE;
  arguments.resize(ARGUMENTS[form]);
  Machine& machine = *(Machine*)module->machine;
  machine.misaligned = note_misaligned;
  met_barrier = misaligned = diverged = false;
  if (fibers.size() < threads) fibers.resize(threads);
  body = [&] { appliers[form](function, arguments.data()); };
  for (uint32_t b = 0; b < blocks; ++b) {
    machine.block = reversed ? blocks - 1 - b : b;
    if (b > 0 && !met_barrier && !uneven) {
      machine.barrier = loop_barrier;
      for (uint32_t t = 0; t < threads; ++t) machine.thread = t, body();
      continue;
    }
    machine.barrier = fiber_barrier;
    for (uint32_t t = 0; t < threads; ++t) start(fibers[t]);
    for (uint32_t left = threads; left > 0;) {
      uint32_t waiting = 0;
      for (uint32_t t = 0; t < threads; ++t) {
        if (fibers[t].done) continue;
        machine.thread = t;
        resume(fibers[t]);
        waiting += !fibers[t].done;
      }
      // All threads of a block must be at a barrier, or all must have returned.
      if (waiting > 0 && waiting < threads) diverged = true;
      left = waiting;
    }
  }
  if (diverged) complain("a barrier was not met by every thread of a block");
  return misaligned ? MISALIGNED_ADDRESS : SUCCESS;
}

}  // namespace sim

// For tests: blocks run from the last to the first.
EXPORT void sim_reverse(int on) { sim::reversed = on; }
