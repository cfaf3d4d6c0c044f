/**
 * Builds of oneDNN that cannot be used: the error says why and what to install, and a device that may choose takes
 * WebAssembly. The files are stand-ins built by g++.
 */
import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { onednnSymbols, openmpSymbols } from "../../ffi/onednn.ts";
import { ONEDNN_INSTALL, ONEDNN_OVERRIDE, openOnednn } from "../../ffi/onednn_library.ts";
import { dnnlRuntime } from "../../ffi/onednn_constants.ts";
import { liveWorkerCount } from "../../src/backends/cpu/threads.ts";
import { LocalgradError } from "../../src/base/errors.ts";
import { compile } from "../../src/compile/compile.ts";
import { open } from "../../src/runtime/devices.ts";
import { within } from "../environment.ts";
import { inFolder } from "../in_folder.ts";
import { machine } from "../machine.ts";
import { opCase } from "../ops/check.ts";
import { f32 } from "../ops/random.ts";
import { skipped } from "./library.ts";

/** Builds a library that reports a version and build, and has the functions of `more`. */
async function standIn(
  folder: string,
  version: readonly number[],
  runtime: number,
  more = "",
): Promise<string> {
  const path = `${folder}/libdnnl-${version.join("-")}-${runtime}.so`;
  const source = `
    struct version { int major, minor, patch; const char *hash; unsigned cpu_runtime, gpu_runtime; };
    extern "C" const version *dnnl_version() {
      static const version it = { ${version.join(", ")}, "", ${runtime}, 0 };
      return &it;
    }
    ${more}`;
  await Deno.writeTextFile(`${path}.cpp`, source);
  const args = ["-shared", "-fPIC", "-o", path, `${path}.cpp`];
  const { success, stderr } = await new Deno.Command("g++", { args }).output();
  assertEquals(success, true, new TextDecoder().decode(stderr));
  return path;
}

const { DNNL_RUNTIME_NONE, DNNL_RUNTIME_OMP, DNNL_RUNTIME_SYCL, DNNL_RUNTIME_TBB } = dnnlRuntime;
const builds = [
  { version: [2, 6, 3], runtime: DNNL_RUNTIME_OMP, says: "it is version 2.6.3, and version 3 is needed" },
  { version: [4, 0, 0], runtime: DNNL_RUNTIME_OMP, says: "it is version 4.0.0, and version 3 is needed" },
  {
    version: [3, 9, 0],
    runtime: DNNL_RUNTIME_SYCL,
    says: "it is a SYCL build, and one with OpenMP is needed",
  },
  { version: [3, 9, 0], runtime: DNNL_RUNTIME_TBB, says: "with TBB threads" },
  { version: [3, 9, 0], runtime: DNNL_RUNTIME_NONE, says: "a build without a CPU engine" },
  { version: [3, 0, 0], runtime: DNNL_RUNTIME_OMP, says: "it has no dnnl_" },
];

/** The choice of a CPU device, and the error of one that demands oneDNN, with this library in its place. */
async function offered(path: string, env: Readonly<Record<string, string>> = {}) {
  let choice = "", refusal = "";
  await within({ [ONEDNN_OVERRIDE]: path, LOCALGRAD_CPU: undefined, ...env }, async () => {
    await using device = await open("cpu", { threads: 2 });
    choice = device.choice;
    const fails = Deno.env.get("STAND_IN_FAILS");
    if (fails !== undefined) Deno.env.set("STAND_IN_FAILS", `${fails} `); // counts from 0 again
    const demand = () => open("cpu", { threads: 2, engine: "onednn" });
    refusal = (await assertRejects(demand, LocalgradError)).message;
  });
  return { choice, refusal };
}

Deno.test({
  name: "a oneDNN of another version or build is passed over, or refused, with what to install",
  ignore: skipped,
  sanitizeResources: false, // a process keeps its libraries
  fn: () =>
    inFolder(async (folder) => {
      for (const { version, runtime, says } of builds) {
        const path = await standIn(folder, version, runtime);
        const { opened, report } = openOnednn(machine([path], { [ONEDNN_OVERRIDE]: path }));
        assertEquals(opened, undefined);
        assertStringIncludes(report.problem ?? "", `${path} cannot be used: `);
        assertStringIncludes(report.problem ?? "", says);
        assertStringIncludes(report.remedy ?? "", ONEDNN_INSTALL);
        const { choice, refusal } = await offered(path);
        assertStringIncludes(choice, `2 threads of WebAssembly SIMD (not oneDNN: ${path} cannot be used: `);
        assertStringIncludes(refusal, `no cpu device: oneDNN: ${path} cannot be used: `);
        for (const text of [choice, refusal]) assertStringIncludes(text, says);
      }
    }),
});

/**
 * All functions, which do nothing and succeed, but for the one that `STAND_IN_FAILS=name:n` names: it fails after n
 * calls. `STAND_IN_NAMES` is the name of every implementation.
 */
const doingNothing = `
  #include <cstdlib>
  #include <cstring>
  #include <mutex>
  #include <string>
  static int status(const char *name) {
    static std::mutex alone;
    static std::string last;
    static int calls;
    std::lock_guard<std::mutex> lock(alone);
    const char *fails = getenv("STAND_IN_FAILS");
    if (fails == nullptr) return 0;
    if (last != fails) last = fails, calls = 0;
    const size_t length = strlen(name);
    if (strncmp(fails, name, length) != 0 || fails[length] != ':') return 0;
    return calls++ >= atoi(fails + length + 1) ? 1 : 0;
  }
  extern "C" const char *dnnl_status2str(int) { return "dnnl_out_of_memory"; }
  extern "C" int dnnl_primitive_desc_query(void *, int, int, const char **name) {
    *name = getenv("STAND_IN_NAMES");
    return 0;
  }
  ${
  Object.keys({ ...onednnSymbols, ...openmpSymbols })
    .filter((name) => !["dnnl_status2str", "dnnl_primitive_desc_query"].includes(name))
    .map((name) => `extern "C" long long ${name}() { return status("${name}"); }`).join("\n")
}`;

Deno.test({
  name: "a oneDNN that opens and then fails leaves WebAssembly, or is refused, with the reason",
  ignore: skipped,
  sanitizeResources: false, // a process keeps its libraries
  fn: () =>
    inFolder(async (folder) => {
      const path = await standIn(folder, [3, 9, 0], DNNL_RUNTIME_OMP, doingNothing);
      const faults = [
        ["dnnl_engine_create:0", "oneDNN: starting its engine failed with dnnl_out_of_memory (1)"],
        ["dnnl_primitive_create:0", "oneDNN: making a primitive failed with dnnl_out_of_memory (1)"],
        ["dnnl_stream_create:0", "oneDNN: making a stream failed with status 1"],
        ["dnnl_stream_create:1", "in a worker thread, oneDNN: making a stream failed with status 1"],
      ] as const;
      for (const [STAND_IN_FAILS, says] of faults) {
        const { choice, refusal } = await offered(path, { STAND_IN_FAILS });
        const problem = `oneDNN: ${path} cannot be used: ${says}; ${ONEDNN_INSTALL}`;
        assertStringIncludes(choice, `2 threads of WebAssembly SIMD (not ${problem})`);
        assertEquals(refusal, `no cpu device: ${problem}, or take the engine "wasm"`);
      }
      const { choice } = await offered(path, { STAND_IN_NAMES: "ref:any" });
      assertStringIncludes(choice, "cannot be used: it has no fast convolution for this processor");
      while (liveWorkerCount() > 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }),
});

Deno.test({
  name: "a primitive that oneDNN cannot make later is one error: WebAssembly would change the bits of a run",
  ignore: skipped,
  sanitizeResources: false, // a process keeps its libraries
  fn: () =>
    inFolder(async (folder) => {
      const path = await standIn(folder, [3, 9, 1], DNNL_RUNTIME_OMP, doingNothing);
      const [a, b] = [f32(256, 256), f32(256, 256)];
      const attrs = { transposeA: false, transposeB: false };
      const { program } = opCase("matmul", [a, b], attrs, [
        new Float32Array(2 ** 16),
        new Float32Array(2 ** 16),
      ]);
      await within(
        { [ONEDNN_OVERRIDE]: path, LOCALGRAD_CPU: undefined, STAND_IN_FAILS: "dnnl_primitive_create:1" },
        async () => {
          await using device = await open("cpu", { threads: 2 });
          assertStringIncludes(device.choice, "oneDNN 3.9.1");
          assertThrows(
            () => compile(program, device.backend.target),
            LocalgradError,
            'oneDNN: making a primitive failed with dnnl_out_of_memory (1); take the engine "wasm"',
          );
        },
      );
    }),
});
