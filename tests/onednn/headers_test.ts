import { assertEquals } from "@std/assert";
import { onednnSymbols, versionSymbols } from "../../ffi/onednn.ts";
import * as constants from "../../ffi/onednn_constants.ts";
import { compareNames, compareSymbols, readHeaders } from "../cuda/headers.ts";
import { includes, skipped } from "./library.ts";

Deno.test("onednn.ts agrees with the headers of oneDNN", { ignore: skipped }, async () => {
  const files = ["common_types", "types", "common", "debug"].map((name) => `dnnl_${name}.h`);
  const texts = [...files, "dnnl.h"].map((file) =>
    Deno.readTextFileSync(`${includes()}/oneapi/dnnl/${file}`).replace(/\bDNNL_API\b/g, "")
  );
  const headers = readHeaders(texts);
  const symbols = { ...versionSymbols, ...onednnSymbols };
  const source = await Deno.readTextFile(new URL("../../ffi/onednn.ts", import.meta.url));
  assertEquals(compareSymbols(symbols, headers), []);
  assertEquals(compareNames(source, symbols, headers), []);
});

Deno.test("constants and structures of oneDNN agree with the headers", { ignore: skipped }, async () => {
  const { dnnlExecArg, dnnlVersion, DNNL_MAX_NDIMS, ...groups } = constants;
  const { bytes, ...fields } = dnnlExecArg;
  const checks = [
    ...Object.values(groups).flatMap((group) => Object.entries(group)),
    ["DNNL_MAX_NDIMS", DNNL_MAX_NDIMS],
    ...Object.entries(dnnlVersion).map(([field, offset]) => [`offsetof(dnnl_version_t, ${field})`, offset]),
    ...Object.entries(fields).map(([field, offset]) => [`offsetof(dnnl_exec_arg_t, ${field})`, offset]),
    ["sizeof(dnnl_exec_arg_t)", bytes],
  ].map(([name, value]) => `static_assert((long long)(${name}) == ${value}, "${name}");\n`);
  const folder = await Deno.makeTempDir();
  try {
    const source = `#include <cstddef>\n#include "oneapi/dnnl/dnnl.h"\n${checks.join("")}`;
    await Deno.writeTextFile(`${folder}/constants.cpp`, source);
    const { success, stderr } = await new Deno.Command("g++", {
      args: ["-std=c++17", "-fsyntax-only", `-I${includes()}`, `${folder}/constants.cpp`],
    }).output();
    assertEquals(success, true, new TextDecoder().decode(stderr));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
