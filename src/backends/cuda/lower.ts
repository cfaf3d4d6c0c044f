import type { Plan, Precision, ProductPrecision, Step, Target, Workspace } from "../../compile/plan.ts";
import { type Aval, bytesOf, sizeOf } from "../../trace/dtype.ts";
import type { OpName } from "../../trace/ops.ts";
import type { Instruction, InstructionOf, ValueId } from "../../trace/program.ts";
import type { Call } from "./call.ts";
import { type Epilogue, epilogueOf } from "./epilogues.ts";
import { fused } from "./fused.ts";
import { placeKey, placeOf } from "../place.ts";
import { fusedWorkspace } from "./schedule.ts";
import { spareStretches } from "./spare.ts";
import { structured } from "./structured.ts";

/** The convolutions, which cuDNN does. */
export type Convolution =
  | InstructionOf<"conv">
  | InstructionOf<"convInputGrad">
  | InstructionOf<"convFilterGrad">;

/** One thing the card is told to do. */
export type Task =
  | { readonly kind: "kernel"; readonly call: Call; readonly step: Step }
  | {
    readonly kind: "convolution";
    readonly instruction: Convolution;
    readonly step: Step;
    /** Scratch that it may use: its own workspace, or more where the arena has it. */
    readonly scratch: Workspace;
    /** What is done to the result as it is written, in place of the next step. */
    readonly epilogue?: Epilogue;
  }
  | {
    readonly kind: "product";
    readonly instruction: InstructionOf<"matmul">;
    readonly step: Step;
    /** What is done to the product as it is written, in place of the next step. */
    readonly epilogue?: Epilogue;
  }
  /** A result that is nothing but zeros: a product over no terms. */
  | { readonly kind: "zeros"; readonly value: ValueId; readonly step: Step };

/** Whether cuDNN can do an epilogue along with a convolution; without a device nobody knows. */
export type Fuses = (convolution: Convolution, epilogue: Epilogue, scratch: Workspace) => boolean;

/** A plan as tasks, in order. Needs no device. */
export function lower(plan: Plan, fuses: Fuses = () => false): Task[] {
  const spare = spareStretches(plan, ALIGNMENT);
  const absorbed = new Set<Step>();
  return plan.steps.flatMap((step, index): Task[] => {
    if (absorbed.has(step)) return [];
    if (step.kind === "kernel") {
      const key = (value: ValueId): string => placeKey(placeOf(plan, step, value));
      return kernels(fused(step.kernel, plan.values, key), step);
    }
    const { instruction } = step;
    if (sizeOf(plan.values[instruction.output].shape) === 0) return [];
    switch (instruction.op) {
      case "conv":
      case "convInputGrad":
      case "convFilterGrad": {
        if (empty(instruction, plan.values)) return [{ kind: "zeros", value: instruction.output, step }];
        const scratch = step.workspace !== undefined && step.workspace.bytes > spare[index].bytes
          ? step.workspace
          : spare[index];
        const epilogue = instruction.op === "conv" ? epilogueOf(plan, index, scratch) : undefined;
        if (epilogue === undefined || !fuses(instruction, epilogue, scratch)) {
          return [{ kind: "convolution", instruction, step, scratch }];
        }
        absorbed.add(plan.steps[index + 1]);
        return [{ kind: "convolution", instruction, step, scratch, epilogue }];
      }
      case "matmul": {
        if (empty(instruction, plan.values)) return [{ kind: "zeros", value: instruction.output, step }];
        const matrix = plan.values[instruction.output].shape.length === 2;
        const epilogue = matrix ? epilogueOf(plan, index) : undefined;
        if (epilogue === undefined) return [{ kind: "product", instruction, step }];
        absorbed.add(plan.steps[index + 1]);
        return [{ kind: "product", instruction, step, epilogue }];
      }
      default:
        return kernels(structuredCalls(instruction, plan.values), step);
    }
  });
}

/** Whether an op has an operand without elements. */
function empty({ inputs }: Instruction, values: readonly Aval[]): boolean {
  return inputs.some((input) => sizeOf(values[input].shape) === 0);
}

function kernels(calls: readonly Call[], step: Step): Task[] {
  return calls.filter(({ blocks }) => blocks > 0).map((call) => ({ kind: "kernel", call, step }));
}

function structuredCalls(instruction: Instruction, values: readonly Aval[]): Call[] {
  const table: { readonly [N in OpName]?: (instruction: never, values: readonly Aval[]) => Call[] } =
    structured;
  const lowering = table[instruction.op];
  if (lowering === undefined) {
    throw new Error(`cuda: the compiler left ${instruction.op} out of a fused kernel`);
  }
  return lowering(instruction as never, values);
}

/** Every offset in the arena is a multiple of this, as `cuMemAlloc`'s addresses are. */
const ALIGNMENT = 256;

/** Scratch that every product may have: what NVIDIA recommends for the newest cards, and no plan's peak notices. */
export const PRODUCT_WORKSPACE = 4 * 2 ** 20;

/** Scratch that a convolution always has; at its place in the arena there is often more (spare.ts). */
export function convolutionWorkspace(instruction: Convolution, values: readonly Aval[]): number {
  const bytes = [...instruction.inputs, instruction.output].map((value) => bytesOf(values[value]));
  // Never more than its largest tensor takes, so that small networks stay small.
  return Math.min(8 * 2 ** 20, Math.max(64 * 2 ** 10, ...bytes));
}

/** Scratch bytes of a step. */
export function workspaceOf(step: Step, values: readonly Aval[]): number {
  if (step.kind === "kernel") return fusedWorkspace(step.kernel);
  switch (step.instruction.op) {
    case "conv":
    case "convInputGrad":
    case "convFilterGrad":
      return convolutionWorkspace(step.instruction, values);
    case "matmul": {
      const bytes = [...step.instruction.inputs, step.instruction.output].map((value) =>
        bytesOf(values[value])
      );
      return Math.min(PRODUCT_WORKSPACE, Math.max(64 * 2 ** 10, ...bytes));
    }
    default:
      return 0;
  }
}

/** What cards of an architecture compute in, such as 90 for sm_90; the first unless they are told otherwise. */
export function precisionsOf(architecture: number): readonly [ProductPrecision, ...Precision[]] {
  return architecture >= 80 ? ["tf32", "f32", "bf16"] : ["f32"];
}

/** What planning must know of a card: what it computes in, and what memory it has. */
export function targetOf(precisions: readonly Precision[], memory: number): Target {
  return {
    name: "cuda",
    precisions,
    alignment: ALIGNMENT,
    // Kernels count elements in 32 bits, and cuDNN's older calls in 31.
    maxValueBytes: (2 ** 31 - 1) * 4,
    segmentBytes: Infinity,
    maxTotalBytes: memory,
    workspace: workspaceOf,
    // 4 KiB of arguments would hold hundreds; more buffers than this only cost registers.
    maxKernelBuffers: 24,
  };
}

/** Planning for CUDA without a card. */
export const cudaTarget: Target = targetOf(precisionsOf(80), Infinity);
