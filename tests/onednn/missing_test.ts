/**
 * Builds of oneDNN that cannot be used: the error says why and what to install. The files are stand-ins built by g++.
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { ONEDNN_INSTALL, ONEDNN_OVERRIDE, openOnednn } from "../../ffi/onednn_library.ts";
import { dnnlRuntime } from "../../ffi/onednn_constants.ts";
import { machine } from "../machine.ts";
import { skipped } from "./library.ts";

/** A library that reports a version and build, and has no other function. */
async function standIn(folder: string, version: readonly number[], runtime: number): Promise<string> {
  const path = `${folder}/libdnnl-${version.join("-")}-${runtime}.so`;
  const source = `
    struct version { int major, minor, patch; const char *hash; unsigned cpu_runtime, gpu_runtime; };
    extern "C" const version *dnnl_version() {
      static const version it = { ${version.join(", ")}, "", ${runtime}, 0 };
      return &it;
    }`;
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

Deno.test({
  name: "a oneDNN of another version or build is reported, with what to install",
  ignore: skipped,
  sanitizeResources: false, // a process keeps its libraries
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      for (const { version, runtime, says } of builds) {
        const path = await standIn(folder, version, runtime);
        const { opened, report } = openOnednn(machine([path], { [ONEDNN_OVERRIDE]: path }));
        assertEquals(opened, undefined);
        assertStringIncludes(report.problem ?? "", `${path} cannot be used: `);
        assertStringIncludes(report.problem ?? "", says);
        assertStringIncludes(report.remedy ?? "", ONEDNN_INSTALL);
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
