// NVRTC: compiles kernels for the host with g++, after host.h. Its "machine code" is a shared library.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "host_text.h"  // host.h as a string
#include "sim.h"

using namespace sim;

namespace {
struct Program { std::string source, log, code; };
Handles<Program> programs;
Book book("programs", [] { return programs.alive.size(); });
enum { OK = 0, OUT_OF_MEMORY_ = 1, INVALID_PROGRAM = 4, INVALID_OPTION = 5, COMPILATION = 6 };

std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// The file that keeps the code of a source, for all processes of a run of the tests; "" without a folder for them.
std::string kept_at(const std::string& source) {
  const char* folder = getenv("LOCALGRAD_SIM_KERNELS");
  return folder ? std::string(folder) + "/" + std::to_string(std::hash<std::string>()(source)) + "-" + std::to_string(source.size()) : "";
}
}  // namespace

EXPORT int nvrtcVersion(int* major, int* minor) {
  const char* wanted = getenv("LOCALGRAD_SIM_NVRTC");
  *major = wanted ? atoi(wanted) / 1000 : 13;
  *minor = wanted ? atoi(wanted) % 1000 / 10 : 0;
  return OK;
}
EXPORT const char* nvrtcGetErrorString(int result) {
  switch (result) {
    case OK: return "NVRTC_SUCCESS";
    case OUT_OF_MEMORY_: return "NVRTC_ERROR_OUT_OF_MEMORY";
    case INVALID_PROGRAM: return "NVRTC_ERROR_INVALID_PROGRAM";
    case INVALID_OPTION: return "NVRTC_ERROR_INVALID_OPTION";
    case COMPILATION: return "NVRTC_ERROR_COMPILATION";
    default: return "NVRTC_ERROR unknown";
  }
}
EXPORT int nvrtcCreateProgram(uint64_t* program, const char* source, const char*, int headers, const void*, const void*) {
  if (headers != 0) return INVALID_PROGRAM;
  *program = programs.add(std::unique_ptr<Program>(new Program{source, "", ""}));
  return OK;
}
EXPORT int nvrtcDestroyProgram(uint64_t* program) {
  const bool known = programs.remove(*program);
  *program = 0;
  return known ? OK : INVALID_PROGRAM;
}
EXPORT int nvrtcCompileProgram(uint64_t handle, int count, const char* const* options) {
  Program* program = programs.get(handle);
  if (!program) return INVALID_PROGRAM;
  bool architecture = false;
  for (int i = 0; i < count; ++i) {
    const std::string option = options[i];
    if (option.rfind("--gpu-architecture=sm_", 0) == 0) architecture = true;
    else if (option != "--std=c++17" && option != "--fmad=false" && option != "--minimal" && option != "--diag-suppress=177") return INVALID_OPTION;
  }
  if (!architecture) return INVALID_OPTION;  // the real library has a default, which is never intended
  if (fails("compile")) return OUT_OF_MEMORY_;
  const std::string kept = kept_at(program->source);
  if (!kept.empty() && !(program->code = slurp(kept)).empty()) return OK;
  char folder[] = "/tmp/localgrad-nvrtc-XXXXXX";
  if (!mkdtemp(folder)) return OUT_OF_MEMORY_;
  const std::string base = folder;
  std::ofstream(base + "/kernel.cpp") << HOST << program->source;
  // Kernels need libm alone, which Deno has loaded; without the standard libraries linking takes half as long.
  const std::string command = "g++ -std=c++17 -O1 -w -shared -nostdlib -fPIC -fvisibility=hidden -fno-gnu-unique -fno-exceptions "
                              "-ffp-contract=off -o " + base + "/kernel.so " + base +
                              "/kernel.cpp > " + base + "/log 2>&1";
  const int status = system(command.c_str());
  program->log = slurp(base + "/log");
  program->code = slurp(base + "/kernel.so");
  // Renamed when complete; from another file system it is not kept.
  if (status == 0 && !kept.empty()) rename((base + "/kernel.so").c_str(), kept.c_str());
  for (const char* name : {"/kernel.cpp", "/kernel.so", "/log"}) unlink((base + name).c_str());
  rmdir(folder);
  return status == 0 ? OK : COMPILATION;
}
EXPORT int nvrtcGetProgramLogSize(uint64_t handle, size_t* size) {
  if (!programs.get(handle)) return INVALID_PROGRAM;
  *size = programs.get(handle)->log.size() + 1;
  return OK;
}
EXPORT int nvrtcGetProgramLog(uint64_t handle, char* log) {
  if (!programs.get(handle)) return INVALID_PROGRAM;
  strcpy(log, programs.get(handle)->log.c_str());
  return OK;
}
EXPORT int nvrtcGetCUBINSize(uint64_t handle, size_t* size) {
  if (!programs.get(handle)) return INVALID_PROGRAM;
  *size = programs.get(handle)->code.size();
  return OK;
}
EXPORT int nvrtcGetCUBIN(uint64_t handle, char* code) {
  if (!programs.get(handle)) return INVALID_PROGRAM;
  memcpy(code, programs.get(handle)->code.data(), programs.get(handle)->code.size());
  return OK;
}
