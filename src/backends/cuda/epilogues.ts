import { at } from "../../base/at.ts";
import type { Kernel } from "../../compile/kernel.ts";
import type { Plan, Step, Workspace } from "../../compile/plan.ts";
import { bytesOf, sameShape, sizeOf } from "../../trace/dtype.ts";
import type { ValueId } from "../../trace/program.ts";
import { type Place, placeOf } from "../place.ts";
import { readsOf } from "./spare.ts";

/**
 * An operation on each row of a product, or each pixel of a convolution, as it is written. ReLU is not among them:
 * neither library documents that its own keeps NaN, as ours must; it could turn a NaN into an unnoticed 0.
 */
export type EpilogueKind = "none" | "bias";

/** An operation fused into the op before it; see {@link epilogueOf}. */
export interface Epilogue {
  readonly kind: EpilogueKind;
  /** The bias: one element for each column or channel. */
  readonly bias?: ValueId;
  /** The value to write: the output of the fused step. */
  readonly output: ValueId;
}

/**
 * The epilogue that a library can apply in place of the step after a product or a convolution: adding a bias to each row
 * or pixel. There is one only if nothing else reads the result without it, and if the result with it does not overlap
 * the op's operands, workspace or `scratch`.
 */
export function epilogueOf(plan: Plan, index: number, scratch?: Workspace): Epilogue | undefined {
  const step = plan.steps[index], next = plan.steps[index + 1];
  if (step?.kind !== "op" || next?.kind !== "kernel") return undefined;
  const streams = plan.schedule?.streams;
  if (streams?.[index] !== streams?.[index + 1]) return undefined;
  const { inputs, output } = step.instruction;
  if (plan.locations[output]?.kind !== "arena") return undefined;
  const found = biasOf(plan, next.kernel, output);
  if (found === undefined) return undefined;
  const others = plan.steps.some((other, i) => i !== index + 1 && readsOf(other).includes(output));
  if (others || plan.outputs.some(({ value }) => value === output)) return undefined;
  // The plan writes the result one step later, when the memory of operands and scratch may be free.
  const result = stretch(plan, next, found.output, bytesOf(at(plan.values, found.output)));
  const inUse = [...inputs, ...(found.bias === undefined ? [] : [found.bias])]
    .map((value) => stretch(plan, step, value, bytesOf(at(plan.values, value))));
  for (const area of [step.workspace, scratch]) {
    if (area !== undefined) inUse.push({ kind: "arena", index: 0, ...area });
  }
  return inUse.some((other) => overlap(other, result)) ? undefined : found;
}

/** The epilogue of a kernel that only adds a bias along the last axis to `result`. */
function biasOf(plan: Plan, kernel: Kernel, result: ValueId): Epilogue | undefined {
  const { nodes, stores, inputs, reduce } = kernel;
  const [store] = stores;
  if (reduce !== undefined || store === undefined || stores.length > 1) return undefined;
  const { shape, dtype } = at(plan.values, result);
  const n = at(shape, shape.length - 1), m = sizeOf(shape) / n;
  const flat = sameShape(kernel.space, [m * n]), whole = sameShape(kernel.space, [m, n]);
  if (!flat && !whole) return undefined;
  /** The meaning of a node: the result, a bias, or their sum. */
  const meaning = (index: number): "result" | "bias" | "biased" | undefined => {
    const node = at(nodes, index);
    switch (node.kind) {
      case "load": {
        const { offset, strides } = node.view;
        const input = at(inputs, node.input), aval = at(plan.values, input);
        // A value in memory may be of u8, which the load converts.
        if (offset !== 0 || aval.dtype !== dtype) return undefined;
        if (input === result) {
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
  if (meaning(store.node) !== "biased") return undefined;
  const bias = inputs.find((input) => input !== result);
  return bias === undefined ? undefined : { kind: "bias", output: store.output, bias };
}

/** A range of bytes at a place. */
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
