import { assertEquals, assertStringIncludes } from "@std/assert";
import * as cublas from "../../ffi/cublas.ts";
import { algorithmResult, cudnnSymbols } from "../../ffi/cudnn.ts";
import * as cudnnConstants from "../../ffi/cudnn_constants.ts";
import * as driver from "../../ffi/driver.ts";
import { nvrtcStatus, nvrtcSymbols } from "../../ffi/nvrtc.ts";
import { compareConstants, compareNames, compareSymbols, type Headers, readHeaders } from "./headers.ts";
import { header, includes, skipped } from "./libraries.ts";

const files = {
  cuda: ["cuda.h"],
  nvrtc: ["nvrtc.h"],
  cublas: ["driver_types.h", "library_types.h", "cublas_api.h", "cublasLt.h"],
  cudnn: ["driver_types.h", "cudnn_graph_v9.h", "cudnn_ops_v9.h", "cudnn_cnn_v9.h"],
} as const;

function headersOf(library: keyof typeof files): Headers {
  return readHeaders(files[library].map((file) => {
    const text = header(file);
    if (text === undefined) throw new Error(`${file} is in none of ${includes.join(", ")}`);
    return text;
  }));
}

const tables = [
  { library: "cuda", file: "driver", symbols: driver.driverSymbols },
  { library: "nvrtc", file: "nvrtc", symbols: nvrtcSymbols },
  { library: "cublas", file: "cublas", symbols: cublas.cublasLtSymbols },
  { library: "cudnn", file: "cudnn", symbols: cudnnSymbols },
] as const;

for (const { library, file, symbols } of tables) {
  Deno.test(`${file}.ts agrees with the headers of ${library}`, { ignore: skipped }, async () => {
    const headers = headersOf(library);
    const source = await Deno.readTextFile(new URL(`../../ffi/${file}.ts`, import.meta.url));
    assertEquals(compareSymbols(symbols, headers), []);
    assertEquals(compareNames(source, symbols, headers), []);
  });
}

Deno.test("constants agree with the headers", { ignore: skipped }, () => {
  const check = (library: keyof typeof files, groups: readonly Readonly<Record<string, number | bigint>>[]) =>
    assertEquals(groups.flatMap((group) => compareConstants(group, headersOf(library))), []);
  check("cuda", [
    driver.driverStatus,
    driver.faultStatus,
    driver.deviceAttribute,
    driver.functionAttribute,
    driver.driverFlag,
    driver.launchParameter,
  ]);
  check("nvrtc", [nvrtcStatus]);
  check("cublas", [
    cublas.cublasStatus,
    cublas.cublasType,
    cublas.matmulAttribute,
    cublas.epilogue,
    cublas.layoutAttribute,
    cublas.preferenceAttribute,
  ]);
  check("cudnn", Object.values(cudnnConstants));
});

Deno.test("structures have the declared sizes and offsets", { ignore: skipped }, async () => {
  const { heuristicResult } = cublas;
  const source = `
    #define __CUDA_FP16_H__ // half precision needs nvcc's headers, and no structure here contains any
    #define __CUDA_BF16_H__
    struct __half; struct __nv_bfloat16;
    #include <cstddef>
    #include "cublasLt.h"
    #include "cudnn.h"
    static_assert(sizeof(cublasLtMatmulHeuristicResult_t) == ${heuristicResult.bytes});
    static_assert(sizeof(cublasLtMatmulAlgo_t) == ${heuristicResult.algorithmBytes});
    static_assert(offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize) == ${heuristicResult.workspace});
    static_assert(offsetof(cublasLtMatmulHeuristicResult_t, state) == ${heuristicResult.status});
    template <class Perf> void check() {
      static_assert(sizeof(Perf) == ${algorithmResult.bytes});
      static_assert(offsetof(Perf, algo) == ${algorithmResult.algorithm});
      static_assert(offsetof(Perf, status) == ${algorithmResult.status});
      static_assert(offsetof(Perf, memory) == ${algorithmResult.workspace});
      static_assert(offsetof(Perf, determinism) == ${algorithmResult.determinism});
      static_assert(offsetof(Perf, mathType) == ${algorithmResult.mathType});
    }
    template void check<cudnnConvolutionFwdAlgoPerf_t>();
    template void check<cudnnConvolutionBwdDataAlgoPerf_t>();
    template void check<cudnnConvolutionBwdFilterAlgoPerf_t>();
  `;
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/structures.cpp`, source);
    // driver_types.h includes these headers of nvcc, which are in no wheel here.
    await Deno.mkdir(`${folder}/crt`);
    const nothing = [
      "__device_builtin__",
      "__cudart_builtin__",
      "__host__",
      "__device__",
      "__forceinline__",
      "CUDARTAPI",
      "CUDART_CB",
      "__align__(bytes)",
      "__builtin_align__(bytes)",
      "__specialization_static",
    ];
    await Deno.writeTextFile(
      `${folder}/crt/host_defines.h`,
      nothing.map((name) => `#define ${name}\n`).join(""),
    );
    const { success, stderr } = await new Deno.Command("g++", {
      args: [
        "-std=c++17",
        "-fsyntax-only",
        "-w",
        ...[folder, ...includes].map((path) => `-I${path}`),
        `${folder}/structures.cpp`,
      ],
    }).output();
    assertEquals(success, true, new TextDecoder().decode(stderr));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test(
  "compareSymbols() finds wrong widths, signs, counts, results and names",
  { ignore: skipped },
  () => {
    const headers = headersOf("cuda");
    const symbols: Deno.ForeignLibraryInterface = driver.driverSymbols;
    const { cuMemAlloc_v2: alloc, cuInit: init } = driver.driverSymbols;
    const fault = (changed: Deno.ForeignLibraryInterface) =>
      compareSymbols({ ...symbols, ...changed }, headers).join();
    assertStringIncludes(
      fault({ cuInit: { ...init, parameters: ["i32"] } }),
      "cuInit: Flags is u32, not i32",
    );
    assertStringIncludes(fault({ cuInit: { ...init, result: "i64" } }), "cuInit: gives i32, not i64");
    assertStringIncludes(
      fault({ cuMemAlloc_v2: { ...alloc, parameters: ["buffer", "u32"] } }),
      "bytesize is usize, not u32",
    );
    assertStringIncludes(
      fault({ cuMemAlloc_v2: { ...alloc, parameters: ["buffer"] } }),
      "1 parameters, and 2",
    );
    assertStringIncludes(fault({ cuMemAlloc: alloc }), "the header calls it cuMemAlloc_v2");
    assertStringIncludes(fault({ cuMemAllocate: alloc }), "no prototype");
    assertStringIncludes(compareConstants({ CUDA_SUCCESS: 1 }, headers).join(), "0 in the header, not 1");
    assertStringIncludes(
      compareNames('cuInit: { parameters: [/* wrong */ "u32"] }', { cuInit: init }, headers).join(),
      "(Flags) in the header, not (wrong)",
    );
  },
);

Deno.test("the real libraries export every symbol", { ignore: skipped }, async () => {
  // Opening a library already requires its symbols; this tests that a missing one would fail.
  const { libraries } = await import("./libraries.ts");
  const versions = libraries.reports.flatMap(({ name, version }) =>
    version === undefined ? [] : [`${name} ${version}`]
  );
  console.log(`  ${versions.join(", ")}`);
  const { path } = libraries.reports.find(({ name }) => name === "nvrtc")!;
  let message = "";
  try {
    Deno.dlopen(path!, { ...nvrtcSymbols, nvrtcCompileProgramme: nvrtcSymbols.nvrtcCompileProgram }).close();
  } catch (error) {
    message = (error as Error).message;
  }
  assertStringIncludes(message, "nvrtcCompileProgramme");
});
