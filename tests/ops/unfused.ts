import type { Kernel, Node, View } from "../../src/compile/kernel.ts";
import type { Location, Plan, Step, Target } from "../../src/compile/plan.ts";
import { bytesOf, sizeOf, stridesOf } from "../../src/trace/dtype.ts";
import { isView } from "../../src/trace/ops.ts";
import {
  type Instruction,
  isStructuredInstruction,
  type Program,
  type ValueId,
} from "../../src/trace/program.ts";

/**
 * The simplest possible plan: every instruction is one step, and every value has separate memory. It separates a
 * backend's faults from the compiler's.
 */
export function unfusedPlan(program: Program, target: Target): Plan {
  const locations = new Array<Location | undefined>(program.values.length);
  let arenaBytes = 0;
  const place = (bytes: number): number => {
    let offset = Math.ceil(arenaBytes / target.alignment) * target.alignment;
    if (offset % target.segmentBytes + bytes > target.segmentBytes) {
      offset = Math.ceil(offset / target.segmentBytes) * target.segmentBytes;
    }
    arenaBytes = offset + bytes;
    return offset;
  };
  program.inputs.forEach(({ value }, index) => locations[value] = { kind: "input", index });
  const outputs = new Map<ValueId, number>();
  const copies: Step[] = [];
  const values = [...program.values];
  program.outputs.forEach(({ value }, index) => {
    if (!outputs.has(value) && locations[value] === undefined) {
      outputs.set(value, index);
      locations[value] = { kind: "output", index };
    } else { // an input, or a repeated result: copied at the end
      const copy = values.push(program.values[value]) - 1;
      outputs.set(copy, index);
      locations[copy] = { kind: "output", index };
      copies.push({ kind: "kernel", kernel: pointwise(values, [value], copy), scope: "" });
    }
  });
  const steps = program.instructions.flatMap((instruction): Step[] => {
    const { op, inputs, output, scope } = instruction;
    if (isView(op) && locations[output] === undefined) {
      locations[output] = locations[inputs[0]!];
      return [];
    }
    locations[output] ??= { kind: "arena", offset: place(bytesOf(program.values[output])) };
    const step: Step = isStructuredInstruction(instruction)
      ? { kind: "op", instruction }
      : { kind: "kernel", kernel: kernelOf(program, instruction), scope };
    const bytes = target.workspace(step, program.values);
    return [bytes > 0 ? { ...step, workspace: { offset: place(bytes), bytes } } : step];
  });
  const resultOf = (index: number) => [...outputs].find(([, at]) => at === index)![0];
  return {
    name: program.name,
    values,
    inputs: program.inputs,
    outputs: program.outputs.map((output, index) => ({ ...output, value: resultOf(index) })),
    donors: program.outputs.map(() => -1),
    steps: [...steps, ...copies],
    locations,
    constants: [],
    arenaBytes,
    memory: { peakBytes: arenaBytes, arenaBytes, breakdown: {}, heldAtPeak: [], timeline: [] },
  };
}

/** A kernel over the elements of `output` as one axis, which loads its operands and applies `node` to them. */
function pointwise(
  values: Program["values"],
  inputs: readonly ValueId[],
  output: ValueId,
  node?: Node,
): Kernel {
  const view: View = { offset: 0, strides: [1] };
  const distinct = [...new Set(inputs)];
  const loads = inputs.map((value): Node => ({
    kind: "load",
    input: distinct.indexOf(value),
    view,
    dtype: values[value].dtype === "u8" ? "u32" : values[value].dtype,
  }));
  const nodes = node === undefined ? loads : [...loads, node];
  return {
    space: [sizeOf(values[output].shape)],
    inputs: distinct,
    nodes,
    stores: [{ node: nodes.length - 1, output }],
  };
}

/** A kernel that reads its only operand at `view`. */
function moved(program: Program, { inputs, output }: Instruction, view: View): Kernel {
  const { shape, dtype } = program.values[output];
  const nodes: Node[] = [{ kind: "load", input: 0, view, dtype }];
  return { space: shape, inputs, nodes, stores: [{ node: 0, output }] };
}

function kernelOf(program: Program, instruction: Instruction): Kernel {
  const { op, attrs, inputs, output } = instruction;
  const { shape, dtype } = program.values[output];
  const operand = inputs.length > 0 ? program.values[inputs[0]!] : program.values[output];
  const steps = stridesOf(operand.shape);
  const args = [0, 1, 2] as const;
  switch (op) {
    case "unary":
      return pointwise(program.values, inputs, output, { kind: op, fn: attrs.fn, args: [0], dtype });
    case "binary":
      return pointwise(program.values, inputs, output, { kind: op, fn: attrs.fn, args: [0, 1], dtype });
    case "compare":
      return pointwise(program.values, inputs, output, {
        kind: op,
        fn: attrs.fn,
        args: [0, 1],
        dtype: "bool",
      });
    case "select":
      return pointwise(program.values, inputs, output, { kind: op, args, dtype });
    case "cast":
      return pointwise(program.values, inputs, output, { kind: op, args: [0], dtype });
    case "constant": {
      // Each element is selected by its index, so that no constant needs memory.
      const size = sizeOf(shape);
      const nodes: Node[] = [{ kind: "iota", view: { offset: 0, strides: [1] }, dtype: "i32" }];
      const literal = (value: number) => nodes.push({ kind: "constant", value, dtype }) - 1;
      let result = literal(attrs.values[0]);
      for (const [i, value] of attrs.values.entries()) {
        if (i === 0) continue;
        const index = nodes.push({ kind: "constant", value: i, dtype: "i32" }) - 1;
        const here = nodes.push({ kind: "compare", fn: "eq", args: [0, index], dtype: "bool" }) - 1;
        result = nodes.push({ kind: "select", args: [here, literal(value), result], dtype }) - 1;
      }
      return { space: [size], inputs: [], nodes, stores: [{ node: result, output }] };
    }
    case "iota": {
      const view = { offset: 0, strides: shape.map((_, axis) => axis === attrs.axis ? 1 : 0) };
      return { space: shape, inputs: [], nodes: [{ kind: op, view, dtype }], stores: [{ node: 0, output }] };
    }
    case "randomBits": {
      const view = { offset: 0, strides: [1] };
      const nodes: Node[] = [{ kind: op, key: 0, word: attrs.word, view, dtype: "u32" }];
      return { space: [sizeOf(shape)], inputs, nodes, stores: [{ node: 0, output }] };
    }
    case "broadcast": {
      const strides = steps.map((step, axis) => operand.shape[axis] === 1 ? 0 : step);
      return moved(program, instruction, { offset: 0, strides });
    }
    case "transpose":
      return moved(program, instruction, {
        offset: 0,
        strides: attrs.permutation.map((axis) => steps[axis]),
      });
    case "slice":
      return moved(program, instruction, {
        offset: attrs.starts.reduce((sum, start, axis) => sum + start * steps[axis], 0),
        strides: steps.map((step, axis) => step * attrs.strides[axis]),
      });
    case "reduce": {
      const nodes: Node[] = [{
        kind: "load",
        input: 0,
        view: { offset: 0, strides: steps },
        dtype: operand.dtype,
      }];
      return {
        space: operand.shape,
        inputs,
        nodes,
        stores: [],
        reduce: {
          axes: attrs.axes.toSorted((a, b) => a - b),
          reductions: [{ fn: attrs.fn, node: 0, dtype: operand.dtype }],
          epilogue: [{ kind: "reduced", index: 0, dtype: operand.dtype }],
          stores: [{ node: 0, output }],
        },
      };
    }
    default:
      if (isView(op)) return pointwise(program.values, inputs, output);
      throw new Error(`${op} is not an op of kernels`);
  }
}
