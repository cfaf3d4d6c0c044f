import type { Kernel } from "../../compile/kernel.ts";
import type { Plan, Step, Workspace } from "../../compile/plan.ts";
import { bytesOf, sameShape, sizeOf } from "../../trace/dtype.ts";
import type { ValueId } from "../../trace/program.ts";
import { type Place, placeOf } from "../place.ts";

/**
 * What is done to each row of a product, or each pixel of a convolution, as it is written. A ReLU is not: neither library
 * says that its own keeps a NaN, as ours must, which then would be 0 and unseen.
 */
export type EpilogueKind = "none" | "bias";

/** An op's epilogue, taken from the step after it: see {@link epilogueOf}. */
export interface Epilogue {
  readonly kind: EpilogueKind;
  /** The bias, one for each column or channel. */
  readonly bias?: ValueId;
  /** Where the result goes: the output of the step that is absorbed. */
  readonly output: ValueId;
}

/**
 * What the step after a product or a convolution does, if the library can do it as it writes the result: adding a bias
 * to each row or pixel. Nothing else may read the bare result, and the new one may not
 * lie where an operand or scratch does; `scratch` is what the op is given beside its own workspace.
 */
export function epilogueOf(plan: Plan, index: number, scratch?: Workspace): Epilogue | undefined {
  const step = plan.steps[index], next = plan.steps[index + 1];
  if (step.kind !== "op" || next?.kind !== "kernel") return undefined;
  const { inputs, output } = step.instruction;
  if (plan.locations[output]?.kind !== "arena") return undefined;
  const found = recognise(plan, next.kernel, output);
  if (found === undefined) return undefined;
  const others = plan.steps.some((other, i) => i !== index + 1 && readsOf(other).includes(output));
  if (others || plan.outputs.some(({ value }) => value === output)) return undefined;
  // In the plan the result comes a step later, when operands and scratch may be gone.
  const result = stretch(plan, next, found.output, bytesOf(plan.values[found.output]));
  const inUse = [...inputs, ...(found.bias === undefined ? [] : [found.bias])]
    .map((value) => stretch(plan, step, value, bytesOf(plan.values[value])));
  for (const area of [step.workspace, scratch]) {
    if (area !== undefined) inUse.push({ kind: "arena", index: 0, ...area });
  }
  return inUse.some((other) => overlap(other, result)) ? undefined : found;
}

/** A kernel that is nothing but `x + bias`, its bias along the last axis. */
function recognise(plan: Plan, kernel: Kernel, result: ValueId): Epilogue | undefined {
  const { nodes, stores, inputs, reduce } = kernel;
  if (reduce !== undefined || stores.length !== 1) return undefined;
  const { shape } = plan.values[result];
  const n = shape[shape.length - 1], m = sizeOf(shape) / n;
  const flat = sameShape(kernel.space, [m * n]), whole = sameShape(kernel.space, [m, n]);
  if (!flat && !whole) return undefined;
  /** What a node is: the result, a bias, or their sum. */
  const meaning = (at: number): string | undefined => {
    const node = nodes[at];
    switch (node.kind) {
      case "load": {
        const { offset, strides } = node.view;
        const aval = plan.values[inputs[node.input]];
        // In memory it may be bytes that are read as floats.
        if (offset !== 0 || aval.dtype !== plan.values[result].dtype) return undefined;
        if (inputs[node.input] === result) {
          return sameShape(strides, flat ? [1] : [n, 1]) ? "result" : undefined;
        }
        return whole && sameShape(strides, [0, 1]) && sizeOf(aval.shape) === n ? "bias" : undefined;
      }
      case "binary": {
        const both = node.args.map(meaning).sort().join();
        return node.fn === "add" && both === "bias,result" ? "biased" : undefined;
      }
      default:
        return undefined;
    }
  };
  if (meaning(stores[0].node) !== "biased") return undefined;
  const bias = inputs.find((input) => input !== result);
  return bias === undefined ? undefined : { kind: "bias", output: stores[0].output, bias };
}

interface Stretch extends Place {
  readonly bytes: number;
}

function stretch(plan: Plan, step: Step, slot: ValueId, bytes: number): Stretch {
  return { ...placeOf(plan, step, slot), bytes };
}

function overlap(a: Stretch, b: Stretch): boolean {
  return a.kind === b.kind && a.index === b.index && a.offset < b.offset + b.bytes &&
    b.offset < a.offset + a.bytes;
}

function readsOf(step: Step): readonly ValueId[] {
  return step.kind === "kernel" ? step.kernel.inputs : step.instruction.inputs;
}
