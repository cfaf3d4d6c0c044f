/** NCCL's bindings against its header, its search and its errors, as far as a machine without a card allows. */
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import * as binding from "../../ffi/nccl.ts";
import { ncclDescription, openNccl } from "../../ffi/nccl_library.ts";
import { parent } from "../../ffi/places.ts";
import { searchFor } from "../../ffi/search.ts";
import { LibraryError } from "../../ffi/status.ts";
import type { Backend } from "../../src/backends/backend.ts";
import { skips } from "../gate.ts";
import { machine } from "../machine.ts";
import { compareConstants, compareNames, compareSymbols, readHeaders } from "./headers.ts";

const { nccl, report } = openNccl();
const ignore = await skips("nccl", () =>
  Promise.resolve(
    nccl === undefined
      ? { reason: report.problem ?? "", remedy: report.remedy ?? "" }
      : { backend: { close: () => Promise.resolve() } as Backend },
  ));

Deno.test("nccl.ts agrees with its header", { ignore }, async () => {
  const header = `${parent(parent(report.path ?? ""))}/include/nccl.h`;
  const headers = readHeaders([
    "typedef void* cudaStream_t;", // of the CUDA runtime, whose headers are in another wheel
    (await Deno.readTextFile(header)).replace(
      /typedef struct ncclComm\* ncclComm_t/,
      "typedef void* ncclComm_t",
    ),
  ]);
  const source = await Deno.readTextFile(new URL("../../ffi/nccl.ts", import.meta.url));
  assertEquals(compareSymbols(binding.ncclSymbols, headers), []);
  assertEquals(compareNames(source, binding.ncclSymbols, headers), []);
  const text = (await Deno.readTextFile(header)).replace(/\bnccl(?=\w+\s*=)/g, "Nccl");
  const constants = readHeaders([text]);
  for (const group of [binding.ncclStatus, binding.ncclType, binding.ncclOp]) {
    const capital = Object.entries(group).map(([name, value]) => [name.replace("nccl", "Nccl"), value]);
    assertEquals(compareConstants(Object.fromEntries(capital), constants), []);
  }
  assertEquals(compareConstants({ NCCL_UNIQUE_ID_BYTES: binding.NCCL_UNIQUE_ID_BYTES }, headers), []);
});

Deno.test("NCCL makes an id without a driver, and joining fails in one clear line", { ignore }, () => {
  const id = binding.ncclUniqueId(nccl!);
  assert(id.some((byte) => byte !== 0));
  // A size that no communicator has: refused with and without a card.
  const refused = assertThrows(() => binding.joinNccl(nccl!, id, 0, 0), LibraryError);
  assert(refused.message.startsWith("NCCL: joining process 0 of 0 failed with nccl"), refused.message);
  assertEquals(refused.message.split("\n").length, 1);
});

Deno.test("NCCL is searched for in wheels, conda, the loader and toolkits; an override ends the search", () => {
  const files = ["/p/nvidia/nccl/lib/libnccl.so.2", "/c/lib/libnccl.so.2"];
  const found = (env: Readonly<Record<string, string>>) =>
    searchFor(ncclDescription, 13, machine(files, env)).candidates.map(({ path }) => path);
  assertEquals(found({ PYTHONPATH: "/p", CONDA_PREFIX: "/c" }), [...files, "libnccl.so.2"]);
  assertEquals(found({ PYTHONPATH: "/p", LOCALGRAD_LIBNCCL: "/c/lib" }), files.slice(1));
});

Deno.test("without NCCL the report says what to install", () => {
  const gone = openNccl(machine([], { LOCALGRAD_LIBNCCL: "/gone" }));
  assertEquals(gone.nccl, undefined);
  assertEquals(gone.report.problem, "libnccl.so.2 was not found");
  assertStringIncludes(gone.report.remedy ?? "", "correct LOCALGRAD_LIBNCCL");
  assertStringIncludes(gone.report.remedy ?? "", "pip install nvidia-nccl-cu13");
  assertStringIncludes(openNccl({ ...machine([]), mayOpen: false }).report.remedy ?? "", "--allow-ffi");
});
