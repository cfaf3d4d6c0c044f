import { at } from "../base/at.ts";
import { bytesOf, type Shape, sizeOf } from "../trace/dtype.ts";
import type { CollectiveInstruction, StructuredInstruction, ValueId } from "../trace/program.ts";
import type { Kernel, Node } from "./kernel.ts";
import type { Plan, Step, Work } from "./plan.ts";

/** The classes of work that profiles distinguish, on every backend. */
export type WorkClass =
  | "convolution"
  | "convolution, input gradient"
  | "convolution, filter gradient"
  | "product"
  | "element-wise"
  | "reduction"
  | "other";

/** The class of a step. */
export function classOf(step: Step): WorkClass {
  if (step.kind === "kernel") return step.kernel.reduce === undefined ? "element-wise" : "reduction";
  switch (step.instruction.op) {
    case "conv":
      return "convolution";
    case "convInputGrad":
      return "convolution, input gradient";
    case "convFilterGrad":
      return "convolution, filter gradient";
    case "matmul":
      return "product";
    default:
      return "other";
  }
}

/** Counts the operations of a plan and the bytes it moves, from shapes alone. */
export function workOf({ steps, values }: Pick<Plan, "steps" | "values">): Work {
  let [operations, bytes] = [0, 0];
  const shapeOf = (value: ValueId) => at(values, value).shape;
  const count = (moved: Iterable<ValueId>) => {
    for (const value of moved) bytes += bytesOf(at(values, value));
  };
  for (const step of steps) {
    if (step.kind === "kernel") {
      const { inputs, stores, reduce } = step.kernel;
      operations += kernelOperations(step.kernel);
      count(inputs);
      count([...stores, ...reduce?.stores ?? []].map(({ output }) => output));
    } else {
      const { inputs, output } = step.instruction;
      operations += structuredOperations(step.instruction, shapeOf);
      count([...new Set(inputs), output]);
    }
  }
  return { operations, bytes };
}

function kernelOperations({ space, nodes, reduce }: Kernel): number {
  const points = sizeOf(space);
  if (reduce === undefined) return points * functionsIn(nodes);
  const kept = space.reduce((size, extent, axis) => reduce.axes.includes(axis) ? size : size * extent, 1);
  return points * (functionsIn(nodes) + reduce.reductions.length) + kept * functionsIn(reduce.epilogue);
}

function functionsIn(nodes: readonly Node[]): number {
  return nodes.filter((node) => "args" in node).length;
}

/**
 * Counts a product as a multiplication and an addition per term; an op that moves, picks or exchanges as one per element.
 */
function structuredOperations(
  { op, attrs, inputs, output }: StructuredInstruction | CollectiveInstruction,
  shapeOf: (value: ValueId) => Shape,
): number {
  const result = shapeOf(output);
  const correlated = (outputs: Shape, [, ...taps]: Shape) => 2 * sizeOf(outputs) * sizeOf(taps);
  switch (op) {
    case "matmul": {
      const a = shapeOf(inputs[0]);
      return 2 * sizeOf(result) * at(a, a.length - (attrs.transposeA ? 2 : 1));
    }
    case "conv":
      return correlated(result, shapeOf(inputs[1]));
    case "convInputGrad":
      return correlated(shapeOf(inputs[0]), shapeOf(inputs[1]));
    case "convFilterGrad":
      return correlated(shapeOf(inputs[1]), result);
    default:
      return sizeOf(result);
  }
}
