// libcuda's modules and launches. A module is a shared library that the simulated NVRTC built.
#include <dlfcn.h>
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim.h"

using namespace sim;

namespace {
struct Function {
  Module* module;
  void* code;
  bool uneven;  // made of several kernels, of which only some may have barriers
};
Handles<Module> modules;
Handles<Function> functions;
Book book("modules", [] { return modules.alive.size(); });
}  // namespace

// The size of an ELF file, whose section table comes last.
static size_t elf_bytes(const void* image) {
  auto* header = (const Elf64_Ehdr*)image;
  return header->e_shoff + (size_t)header->e_shentsize * header->e_shnum;
}

EXPORT int cuModuleLoadData(uint64_t* handle, const void* image) {
  Lock lock;
  TRY(ready());
  TRY(outside_capture());
  if (memcmp(image, "\177ELF", 4) != 0) return INVALID_IMAGE;
  auto module = std::make_unique<Module>();
  char path[] = "/tmp/localgrad-sim-XXXXXX";
  const int file = mkstemp(path);
  const size_t size = elf_bytes(image);
  const bool written = write(file, image, size) == (ssize_t)size;
  close(file);
  module->library = written ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
  unlink(path);
  if (!module->library) return INVALID_IMAGE;
  module->machine = dlsym(module->library, "sim_machine");
  if (!module->machine) return INVALID_IMAGE;
  *handle = modules.add(std::move(module));
  return SUCCESS;
}
EXPORT int cuModuleUnload(uint64_t handle) {
  Lock lock;
  Module* module = modules.get(handle);
  if (!module) return INVALID_HANDLE;
  perform_all();
  for (auto entry = functions.alive.begin(); entry != functions.alive.end();) {
    entry = entry->second->module == module ? functions.alive.erase(entry) : std::next(entry);
  }
  dlclose(module->library);
  modules.remove(handle);
  return SUCCESS;
}
EXPORT int cuModuleGetFunction(uint64_t* function, uint64_t handle, const char* name) {
  Lock lock;
  TRY(ready());
  Module* module = modules.get(handle);
  if (!module) return INVALID_HANDLE;
  void* code = dlsym(module->library, name);
  if (!code) return NOT_FOUND;
  *function = functions.add(std::unique_ptr<Function>(new Function{module, code, strstr(name, "several") != nullptr}));
  return SUCCESS;
}
EXPORT int cuFuncGetAttribute(int* value, int, uint64_t function) {
  Lock lock;
  *value = 0;
  return functions.get(function) ? SUCCESS : INVALID_HANDLE;
}
EXPORT int cuLaunchKernel(uint64_t handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                          unsigned, uint64_t stream, void** parameters, void** extra) {
  Lock lock;
  TRY(ready());
  Function* function = functions.get(handle);
  if (!function) return INVALID_HANDLE;
  if (!gx || gy != 1 || gz != 1 || !bx || bx > 1024 || by != 1 || bz != 1 || parameters || !extra) return INVALID_VALUE;
  if (extra[0] != (void*)1 || extra[2] != (void*)2 || extra[4] != nullptr) return INVALID_VALUE;
  if (fails("launch")) return LAUNCH_FAILED;
  const auto* packed = (const uint64_t*)extra[1];
  std::vector<uint64_t> arguments(packed, packed + *(size_t*)extra[3] / 8);
  const bool faulty = fails("fault");  // when it runs: a launch of real cards does not wait for its end
  ++launches;
  return enqueue(stream, [=] {
    if (faulty) return ILLEGAL_ADDRESS;
    // All arguments of our kernels are addresses.
    for (uint64_t argument : arguments) if (!on_device(argument, 0)) return ILLEGAL_ADDRESS;
    if (!functions.get(handle)) return ILLEGAL_ADDRESS;
    return run_kernel(function->module, function->code, function->uneven, arguments, gx, bx);
  });
}
