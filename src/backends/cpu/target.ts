import type { Step, Target } from "../../compile/plan.ts";
import type { Aval } from "../../trace/dtype.ts";
import { type Lowering, webAssembly } from "./lower.ts";
import { ALIGNMENT, CAPACITY } from "./memory.ts";
import { defaultThreads, threadScratch } from "./thread_count.ts";

/** What a CPU computes bf16 with. */
const BF16 = "a processor with AVX-512 BF16 or AMX";

/**
 * The properties of a CPU device that the compiler plans for. Workspace depends on how steps are lowered; scratch memory
 * on the number of threads too; and precisions on the instruction set that oneDNN uses, because WebAssembly, which has no
 * arithmetic on bf16, would only lose speed.
 */
export const targetOf = (
  lowering: Lowering,
  threads: number,
  library?: { bf16: boolean; instructions: string; arithmetic: string },
): Target => ({
  name: "cpu",
  engine: library === undefined ? "WebAssembly" : library.arithmetic,
  precisions: library?.bf16 === true ? ["f32", "bf16"] : ["f32"],
  bf16Remedy: library === undefined
    ? `use oneDNN (--allow-ffi, and what doctor says is missing) on ${BF16}`
    : `use ${BF16} (oneDNN uses ${library.instructions} here)`,
  alignment: ALIGNMENT,
  // Sizes and offsets within a value are signed 32-bit integers in the kernels.
  maxValueBytes: 2 ** 31 - ALIGNMENT,
  segmentBytes: Infinity,
  maxTotalBytes: CAPACITY,
  maxKernelBuffers: Infinity,
  groups: {},
  workspace: (step: Step, values: readonly Aval[]): number => lowering.launches(step, values).workspace,
  scratch: (step: Step, values: readonly Aval[]): number => {
    const { launches } = lowering.launches(step, values);
    return threadScratch(launches.reduce((most, { routine }) => Math.max(most, routine.scratch), 0)) *
      threads;
  },
});

/** The properties of the CPU backend with WebAssembly alone; `threads` by default as many as a device takes. */
export function cpuTarget(threads: number = defaultThreads().threads): Target {
  return targetOf(webAssembly, threads);
}
