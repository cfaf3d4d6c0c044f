import { bytesOf, type Shape, sizeOf } from "../trace/dtype.ts";
import type { Instruction, ValueId } from "../trace/program.ts";
import type { Kernel, Node } from "./kernel.ts";
import type { Plan, Work } from "./plan.ts";

/** Counts what a plan does, from shapes alone. */
export function workOf(plan: Pick<Plan, "steps" | "values">): Work {
  let [operations, bytes] = [0, 0];
  const shape = (value: ValueId) => plan.values[value].shape;
  for (const step of plan.steps) {
    if (step.kind === "kernel") {
      const { inputs, stores, reduce } = step.kernel;
      operations += operationsOf(step.kernel);
      for (const value of inputs) bytes += bytesOf(plan.values[value]);
      for (const { output } of [...stores, ...reduce?.stores ?? []]) bytes += bytesOf(plan.values[output]);
    } else {
      const { inputs, output } = step.instruction;
      operations += structured(step.instruction, shape);
      for (const value of [...new Set(inputs), output]) bytes += bytesOf(plan.values[value]);
    }
  }
  return { operations, bytes };
}

function operationsOf({ space, nodes, reduce }: Kernel): number {
  const points = sizeOf(space);
  if (reduce === undefined) return points * functionsIn(nodes);
  const kept = space.reduce((size, extent, axis) => reduce.axes.includes(axis) ? size : size * extent, 1);
  return points * (functionsIn(nodes) + reduce.reductions.length) + kept * functionsIn(reduce.epilogue);
}

function functionsIn(nodes: readonly Node[]): number {
  return nodes.filter((node) => "args" in node).length;
}

/** A product is counted as a multiplication and an addition for each term; what moves or picks, as one for each element. */
function structured({ op, attrs, inputs, output }: Instruction, shape: (value: ValueId) => Shape): number {
  const result = shape(output);
  const correlated = (outputs: Shape, [, height, width, channels]: Shape) =>
    2 * sizeOf(outputs) * height * width * channels;
  switch (op) {
    case "matmul":
      return 2 * sizeOf(result) * shape(inputs[0]).at(attrs.transposeA ? -2 : -1)!;
    case "conv":
      return correlated(result, shape(inputs[1]));
    case "convInputGrad":
      return correlated(shape(inputs[0]), shape(inputs[1]));
    case "convFilterGrad":
      return correlated(shape(inputs[1]), result);
    default:
      return sizeOf(result);
  }
}
