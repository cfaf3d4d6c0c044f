import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { cString, CStrings, textOf } from "../../ffi/memory.ts";
import { compileSource, nvrtcVersion } from "../../ffi/nvrtc.ts";
import { LibraryError } from "../../ffi/status.ts";
import type { Call } from "../../src/backends/cuda/call.ts";
import { compileOptions } from "../../src/backends/cuda/compile_options.ts";
import { lowerPlan } from "../../src/backends/cuda/lower.ts";
import { callsOf, sourceOf } from "../../src/backends/cuda/source.ts";
import { cudaTarget } from "../../src/backends/cuda/target.ts";
import { compile } from "../../src/compile/compile.ts";
import type { Plan } from "../../src/compile/plan.ts";
import { jit } from "../../src/runtime/jit.ts";
import { allReduce } from "../../src/trace/collectives.ts";
import { ProgramBuilder } from "../../src/trace/program.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { inBf16 } from "../ops/bf16.ts";
import type { Case } from "../ops/check.ts";
import { Random } from "../ops/random.ts";
import { groups, programs } from "../ops/suite.ts";
import { libraries, skipped } from "./libraries.ts";

const architectures = [80, 90];

/** The distinct kernels of plans. */
function kernelsOf(plans: readonly Plan[]): Call[] {
  const calls = plans.flatMap((plan) => callsOf(lowerPlan(plan)));
  return [...new Map(calls.map((call) => [call.text, call])).values()];
}

/**
 * Compiles kernels with the real NVRTC; any message is a failure. A kernel has the same text on every card, so by turns
 * each is compiled for one architecture.
 */
function compileAll(calls: readonly Call[]): void {
  for (const [turn, architecture] of architectures.entries()) {
    const some = calls.filter((_, i) => i % architectures.length === turn);
    if (some.length === 0) continue;
    const { text } = sourceOf(some);
    const { cubin, log } = compileSource(
      libraries.nvrtc!,
      text,
      "test.cu",
      compileOptions(architecture, nvrtcVersion(libraries.nvrtc!)),
    );
    assertEquals(log, "");
    assertEquals([...cubin.subarray(0, 4)], [0x7f, 0x45, 0x4c, 0x46]);
  }
}

const all: Readonly<Record<string, (random: Random) => Case[]>> = { ...groups, ...programs };
for (const [name, cases] of Object.entries(all)) {
  Deno.test(`NVRTC compiles the kernels of ${name} without a warning`, { ignore: skipped }, () => {
    const calls = kernelsOf(cases(new Random(1)).map(({ program }) => compile(program, cudaTarget)));
    if (calls.length > 0) compileAll(calls.slice(0, 150));
  });
}

Deno.test("NVRTC compiles the kernels of the op suite in bf16 without a warning", { ignore: skipped }, () => {
  const some = Object.values(all).flatMap((cases) => cases(new Random(1)).slice(0, 6));
  compileAll(kernelsOf(some.map(inBf16).map(({ program }) => compile(program, cudaTarget))));
});

Deno.test("NVRTC compiles the kernels of exchanges without a warning", { ignore: skipped }, () => {
  const reduced = jit((x: Tensor) =>
    allReduce(x, { group: "pair", fn: "max" }).add(allReduce(x, { group: "pair", fn: "min" }))
  );
  const plan = reduced.plan({ ...cudaTarget, groups: { pair: 2 } }, { shape: [300], dtype: "f32" });
  const calls = kernelsOf([plan]).filter(({ label }) => label === "order_keys");
  assertEquals(calls.length, 3); // two ways to order NaN, and back
  compileAll(calls);
});

Deno.test(
  "compileSource() throws NVRTC's log for a kernel that does not compile",
  { ignore: skipped },
  () => {
    const wrong = {
      label: "wrong",
      text: "KERNEL(THREADS) NAME(float* p) { p[0] = nothing; }",
      arguments: [],
      blocks: 1,
    };
    const error = assertThrows(
      () =>
        compileSource(
          libraries.nvrtc!,
          sourceOf([wrong]).text,
          "wrong.cu",
          compileOptions(90, nvrtcVersion(libraries.nvrtc!)),
        ),
      LibraryError,
    );
    assertMatch(
      error.message,
      /NVRTC: compiling wrong.cu failed with NVRTC_ERROR_COMPILATION \(6\).*"nothing" is undefined/s,
    );
  },
);

/** Compiles to PTX, which is text, instead of machine code. */
function ptxOf(text: string): string {
  const { path } = libraries.reports.find(({ name }) => name === "nvrtc")!;
  const more = {
    nvrtcGetPTXSize: { parameters: ["u64", "buffer"], result: "i32" },
    nvrtcGetPTX: { parameters: ["u64", "buffer"], result: "i32" },
  } as const;
  const library = Deno.dlopen(path!, more);
  try {
    const program = new BigUint64Array(1), size = new BigUint64Array(1);
    const { nvrtc } = libraries;
    nvrtc!.nvrtcCreateProgram(program, cString(text), cString("test.cu"), 0, 0n, 0n);
    const options = compileOptions(90, nvrtcVersion(nvrtc!)).map((option) =>
      option.replace("sm_", "compute_")
    );
    const list = new CStrings(options);
    assertEquals(nvrtc!.nvrtcCompileProgram(program[0], options.length, list.addresses), 0);
    library.symbols.nvrtcGetPTXSize(program[0], size);
    const ptx = new Uint8Array(Number(size[0]));
    library.symbols.nvrtcGetPTX(program[0], ptx);
    nvrtc!.nvrtcDestroyProgram(program);
    return textOf(ptx);
  } finally {
    library.close();
  }
}

for (const dtype of ["f32", "bf16"] as const) {
  Deno.test(`kernels on ${dtype} access 16 bytes at a time`, { ignore: skipped }, () => {
    const builder = new ProgramBuilder();
    const aval = { shape: [4096, 16], dtype } as const;
    const [x, y] = [builder.input(aval, "x"), builder.input(aval, "y")];
    const product = builder.emit("binary", [x, y], { fn: "mul" });
    const wide = dtype === "bf16" ? builder.emit("cast", [product], { dtype: "f32" }) : product;
    const sums = builder.emit("reduce", [wide], { fn: "sum", axes: [0] });
    const program = builder.finish("test", [{ value: product, name: "p" }, { value: sums, name: "s" }]);
    const calls = kernelsOf([compile(program, cudaTarget)]);
    assertEquals(calls.map(({ label }) => label), ["reduce"]);
    const accesses = ptxOf(sourceOf(calls).text).split("\n").filter((line) => /(ld|st)\.global/.test(line));
    assert(accesses.length >= 6);
    assertEquals(accesses.filter((line) => !/\.v4\./.test(line)), []);
  });
}

Deno.test("kernels round a product before they add to it", { ignore: skipped }, () => {
  const builder = new ProgramBuilder();
  const [x, y, z] = ["x", "y", "z"].map((name) => builder.input({ shape: [64], dtype: "f32" }, name));
  const product = builder.emit("binary", [x, y], { fn: "mul" });
  const value = builder.emit("binary", [product, z], { fn: "add" });
  const ptx = ptxOf(
    sourceOf(kernelsOf([compile(builder.finish("test", [{ value, name: "r" }]), cudaTarget)])).text,
  );
  assertMatch(ptx, /\bmul\.rn\.f32\b/);
  assertEquals(/\bfma\./.test(ptx), false);
});

Deno.test(
  "kernels use no atomics but to count the blocks that have come to an end",
  { ignore: skipped },
  () => {
    const all = Object.values({ ...groups, ...programs }).flatMap((cases) =>
      cases(new Random(2)).slice(0, 6)
    );
    const some = kernelsOf(all.map(({ program }) => compile(program, cudaTarget)));
    const atomics = ptxOf(sourceOf(some).text).match(/\b(atom|red)\.\S+/g) ?? [];
    assert(atomics.length > 0); // of a reduction in parts
    assertEquals(atomics.filter((each) => !/^atom\.(global\.)?inc\.u32$/.test(each)), []);
  },
);
