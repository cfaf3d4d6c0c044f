import type { Kernel } from "../../compile/kernel.ts";
import type { Plan, Step } from "../../compile/plan.ts";
import { bytesOf, sameShape, sizeOf } from "../../trace/dtype.ts";
import type { InstructionOf, ValueId } from "../../trace/program.ts";
import type { ProductSpec } from "./products.ts";
import { type Place, placeOf } from "./place.ts";

/** A product and what the next step does to it, in one: see {@link productEpilogue}. */
export interface Epilogue {
  readonly kind: ProductSpec["epilogue"];
  /** The bias, added to each row. */
  readonly bias?: ValueId;
  /** Where the result goes: the output of the step that is absorbed. */
  readonly output: ValueId;
}

/**
 * What the step after a product does, if cuBLASLt can do it as it writes the product: adding a bias to each row, cutting
 * off negatives, or both. Nothing else may read the bare product, and the result may not lie where an operand or the
 * scratch does.
 */
export function productEpilogue(plan: Plan, index: number): Epilogue | undefined {
  const step = plan.steps[index], next = plan.steps[index + 1];
  if (step.kind !== "op" || step.instruction.op !== "matmul" || next?.kind !== "kernel") return undefined;
  const product: InstructionOf<"matmul"> = step.instruction;
  if (plan.values[product.output].shape.length !== 2 || plan.locations[product.output]?.kind !== "arena") {
    return undefined;
  }
  const found = recognise(plan, next.kernel, product.output);
  if (found === undefined) return undefined;
  const others = plan.steps.some((other, i) => i !== index + 1 && readsOf(other).includes(product.output));
  if (others || plan.outputs.some(({ value }) => value === product.output)) return undefined;
  // In the plan the result comes a step later, when operands and scratch may be gone.
  const result = stretch(plan, next, found.output, bytesOf(plan.values[found.output]));
  const inUse = [...product.inputs, ...(found.bias === undefined ? [] : [found.bias])]
    .map((value) => stretch(plan, step, value, bytesOf(plan.values[value])));
  if (step.workspace !== undefined) inUse.push(stretch(plan, step, "workspace", step.workspace.bytes));
  return inUse.some((other) => overlap(other, result)) ? undefined : found;
}

/** A kernel that is nothing but `product + bias`, `max(product, 0)` or `max(product + bias, 0)`. */
function recognise(plan: Plan, kernel: Kernel, product: ValueId): Epilogue | undefined {
  const { nodes, stores, inputs, reduce } = kernel;
  if (reduce !== undefined || stores.length !== 1) return undefined;
  const [m, n] = plan.values[product].shape;
  const flat = sameShape(kernel.space, [m * n]), whole = sameShape(kernel.space, [m, n]);
  if (!flat && !whole) return undefined;
  /** What a node is: the product, a bias, zero, or an expression of them. */
  const meaning = (at: number): string | undefined => {
    const node = nodes[at];
    switch (node.kind) {
      case "load": {
        const { offset, strides } = node.view;
        if (offset !== 0 || node.dtype !== "f32") return undefined;
        if (inputs[node.input] === product) {
          return sameShape(strides, flat ? [1] : [n, 1]) ? "product" : undefined;
        }
        const bias = whole && sameShape(strides, [0, 1]) &&
          sizeOf(plan.values[inputs[node.input]].shape) === n;
        return bias ? "bias" : undefined;
      }
      case "constant":
        return Object.is(node.value, 0) ? "zero" : undefined;
      case "binary": {
        const both = node.args.map(meaning).sort().join();
        if (node.fn === "add" && both === "bias,product") return "biased";
        if (node.fn === "max" && both === "product,zero") return "relu";
        if (node.fn === "max" && both === "biased,zero") return "biasRelu";
        return undefined;
      }
      default:
        return undefined;
    }
  };
  const kinds: { readonly [meaning: string]: Epilogue["kind"] } = {
    biased: "bias",
    relu: "relu",
    biasRelu: "biasRelu",
  };
  const kind = kinds[meaning(stores[0].node) ?? ""];
  if (kind === undefined) return undefined;
  const bias = inputs.find((input) => input !== product);
  const { output } = stores[0];
  return kind === "relu" || bias === undefined ? { kind, output } : { kind, output, bias };
}

interface Stretch extends Place {
  readonly bytes: number;
}

function stretch(plan: Plan, step: Step, slot: ValueId | "workspace", bytes: number): Stretch {
  return { ...placeOf(plan, step, slot), bytes };
}

function overlap(a: Stretch, b: Stretch): boolean {
  return a.kind === b.kind && a.index === b.index && a.offset < b.offset + b.bytes &&
    b.offset < a.offset + a.bytes;
}

function readsOf(step: Step): readonly ValueId[] {
  return step.kind === "kernel" ? step.kernel.inputs : step.instruction.inputs;
}
