import type { Step, Target } from "../../compile/plan.ts";
import type { Aval } from "../../trace/dtype.ts";
import { type Lowering, webAssembly } from "./lower.ts";
import { ALIGNMENT, CAPACITY } from "./memory.ts";

/** What a CPU computes bf16 with. */
const BF16 = "a processor with AVX-512 BF16 or AMX";

/**
 * The properties of the CPU backend that the compiler plans for. Workspace depends on how steps are lowered, and
 * precisions on the instruction set that oneDNN uses: WebAssembly, which has no arithmetic on bf16, would only lose speed.
 */
export const targetOf = (lowering: Lowering, library?: { bf16: boolean; instructions: string }): Target => ({
  name: "cpu",
  precisions: library?.bf16 === true ? ["f32", "bf16"] : ["f32"],
  bf16Remedy: library === undefined
    ? `use the engine onednn (LOCALGRAD_CPU=onednn) on ${BF16}`
    : `use ${BF16} (oneDNN uses ${library.instructions} here)`,
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
