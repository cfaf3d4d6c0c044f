import type { Step, Target } from "../../compile/plan.ts";
import type { Aval } from "../../trace/dtype.ts";
import { isCollectiveInstruction } from "../../trace/program.ts";
import { fusedWorkspace } from "./fused_split.ts";
import { structuredWorkspace } from "./structured.ts";
import { type Variant, variants } from "./variant.ts";

/** The limits of an adapter that planning depends on. */
export interface Limits {
  readonly maxStorageBufferBindingSize: number;
  readonly maxBufferSize: number;
  readonly maxStorageBuffersPerShaderStage: number;
}

/** Bytes that every offset in the arena is a multiple of: the least that all adapters bind at. */
export const ALIGNMENT = 256;

/** An adapter as the compiler sees it. */
export function targetOf(limits: Limits, variant: Variant): Target {
  return {
    name: "webgpu",
    precisions: ["f32"],
    alignment: ALIGNMENT,
    maxValueBytes: limits.maxStorageBufferBindingSize,
    segmentBytes: Math.floor(Math.min(limits.maxBufferSize, 2 ** 30) / ALIGNMENT) * ALIGNMENT,
    maxTotalBytes: Infinity,
    workspace: (step, values) => workspaceOf(step, values, variant),
    groups: {},
    staged: true,
    // One binding is reserved for the workspace.
    maxKernelBuffers: limits.maxStorageBuffersPerShaderStage - 1,
  };
}

/** WebGPU with the limits that every implementation grants, for planning without an adapter. */
export const webgpuTarget: Target = targetOf(
  { maxStorageBufferBindingSize: 2 ** 27, maxBufferSize: 2 ** 28, maxStorageBuffersPerShaderStage: 8 },
  variants.hardware,
);

/** Bytes of workspace of a step. */
export function workspaceOf(step: Step, values: readonly Aval[], variant: Variant): number {
  if (step.kind === "kernel") return fusedWorkspace(step.kernel, variant);
  const { instruction } = step;
  return isCollectiveInstruction(instruction) ? 0 : structuredWorkspace(instruction, values, variant);
}
