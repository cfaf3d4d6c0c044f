import type { Neighbours, Overlap, Precision, ProductPrecision, Step, Target } from "../../compile/plan.ts";
import { type Speeds, timeOf } from "../../compile/time.ts";
import type { Aval } from "../../trace/dtype.ts";
import { mayChain } from "./chain.ts";
import { convWorkspace } from "./conv.ts";
import { matmulSpecOf, matmulWorkspace } from "./matmul.ts";
import { isThin, thinKernel } from "./thin.ts";
import { fusedWorkspace } from "./tiling.ts";

/** Every offset in the arena is a multiple of this, as are the addresses that `cuMemAlloc` returns. */
export const ALIGNMENT = 256;

/** The precisions of an architecture, such as 90 for sm_90; the default first. */
export function precisionsOf(architecture: number): readonly [ProductPrecision, ...Precision[]] {
  return architecture >= 80 ? ["tf32", "f32", "bf16"] : ["f32"];
}

/**
 * Speeds of a large card, to predict which of two streams is free first: the part of an H200's bandwidth, and of its
 * tensor cores' operations, that kernels reach. Guesses, the same for every card, so that plans are.
 */
const LARGE: Speeds = { operations: 2e14, bytes: 2.9e12, launch: 4e-6 };

/** Steps that are further apart do not overlap: it would gain little, and keep more memory. */
const WINDOW = 8;

const twoStreams: Overlap = {
  seconds: (step, values) => timeOf({ values }, step, LARGE),
  window: WINDOW,
};

/** The planning target of a card with these precisions and bytes of memory. */
export function targetOf(
  precisions: readonly Precision[],
  memory: number,
  { overlap = false }: { readonly overlap?: boolean } = {},
): Target {
  return {
    name: "cuda",
    precisions,
    alignment: ALIGNMENT,
    // Kernels count elements in 32 bits, and cuDNN's legacy API in 31.
    maxValueBytes: (2 ** 31 - 1) * 4,
    segmentBytes: Infinity,
    usesSpare: true, // as scratch of convolutions (spare.ts)
    maxTotalBytes: memory,
    workspace: workspaceOf,
    groups: {},
    ...(overlap ? { overlap: twoStreams } : {}),
    // 4 KiB of kernel arguments have room for hundreds; more buffers than this only cost registers.
    maxKernelBuffers: 24,
  };
}

/** The planning target of a recent card, for planning without one. */
export const cudaTarget: Target = targetOf(precisionsOf(80), Infinity);

/** The same, with steps on two streams. */
export const overlappingTarget: Target = targetOf(precisionsOf(80), Infinity, { overlap: true });

/** Scratch bytes of a step. */
function workspaceOf(step: Step, values: readonly Aval[], { before, after }: Neighbours = {}): number {
  if (step.kind === "kernel") {
    const isChained = after?.kind === "kernel" && mayChain(step.kernel, after.kernel, values) ||
      before?.kind === "kernel" && mayChain(before.kernel, step.kernel, values);
    return isChained ? 0 : fusedWorkspace(step.kernel);
  }
  const { instruction } = step;
  switch (instruction.op) {
    case "conv":
    case "convInputGrad":
    case "convFilterGrad":
      return convWorkspace(instruction, values);
    case "matmul":
      return isThin(matmulSpecOf(instruction, values, "f32"))
        ? fusedWorkspace(thinKernel(instruction, values))
        : matmulWorkspace(instruction, values);
    default:
      return 0;
  }
}
