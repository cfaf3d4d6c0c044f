import type { Step, Target } from "../../compile/plan.ts";
import type { Aval } from "../../trace/dtype.ts";
import { type Lowering, webAssembly } from "./lower.ts";
import { ALIGNMENT, CAPACITY } from "./memory.ts";

/** The properties of the CPU backend that the compiler plans for; workspace depends on how steps are lowered. */
export const targetOf = (lowering: Lowering): Target => ({
  name: "cpu",
  precisions: ["f32"],
  alignment: ALIGNMENT,
  // Sizes and offsets within a value are signed 32-bit integers in the kernels.
  maxValueBytes: 2 ** 31 - ALIGNMENT,
  segmentBytes: Infinity,
  maxTotalBytes: CAPACITY,
  maxKernelBuffers: Infinity,
  workspace: (step: Step, values: readonly Aval[]): number => lowering.launches(step, values).workspace,
});

/** The properties of the CPU backend with WebAssembly alone. */
export const cpuTarget: Target = targetOf(webAssembly);
