import { evaluate } from "../src/backends/reference/evaluate.ts";
import { applyOp, type Value } from "../src/backends/reference/ops.ts";
import { type Shape, sizeOf } from "../src/trace/dtype.ts";
import { HostArray } from "../src/trace/host_array.ts";
import type { Program } from "../src/trace/program.ts";
import { Tensor } from "../src/trace/tensor.ts";
import { Trace, withTrace } from "../src/trace/trace.ts";
import { type Tree, treeFlatten, treeUnflatten } from "../src/trace/tree.ts";

/** Float64 elements with their shape. */
export interface Values {
  readonly shape: Shape;
  readonly data: Float64Array;
}

/**
 * Traces `f` and evaluates it in float64 by the reference loops, without compiler or device. Arguments are trees of
 * host arrays or numbers; returns a flat record from path to elements (`""` for a single result).
 */
export function run(f: (...args: never[]) => unknown, ...args: unknown[]): Record<string, Values> {
  return evaluateTraced(evaluate, f, args);
}

/** As {@link run}, with the result of every op rounded to float32. */
export function runRounded(f: (...args: never[]) => unknown, ...args: unknown[]): Record<string, Values> {
  return evaluateTraced(evaluateRounded, f, args);
}

function evaluateTraced(
  evaluate: (program: Program, inputs: readonly ArrayLike<number>[]) => Float64Array[],
  f: (...args: never[]) => unknown,
  args: readonly unknown[],
): Record<string, Values> {
  const { program, inputs, record } = traced(f, args);
  return record(evaluate(program, inputs));
}

/** The program of a function, the elements of its arguments, and a record of results from path to elements. */
export function traced(f: (...args: never[]) => unknown, args: readonly unknown[]) {
  const given = treeFlatten<HostArray | number>(args as Tree<HostArray | number>);
  const trace = new Trace();
  const inputs = given.leaves.map((leaf) => leaf instanceof HostArray ? leaf : host(leaf));
  const tensors = inputs.map(({ shape, dtype }, i) =>
    new Tensor(trace, trace.builder.input({ shape, dtype }, given.paths[i]))
  );
  const result = withTrace(trace, () => f(...treeUnflatten(given.structure, tensors) as never[]));
  const { leaves, paths } = treeFlatten<Tensor>(result as Tree<Tensor>);
  const program = trace.builder.finish("test", leaves.map(({ id }, i) => ({ value: id, name: paths[i] })));
  return {
    program,
    inputs: inputs.map(({ data }) => data),
    record: (values: readonly Float64Array[]): Record<string, Values> =>
      Object.fromEntries(leaves.map(({ shape }, i) => [paths[i], { shape, data: values[i] }])),
  };
}

function evaluateRounded(program: Program, inputs: readonly ArrayLike<number>[]): Float64Array[] {
  const values: Value[] = [];
  program.inputs.forEach(({ value }, i) => {
    values[value] = { ...program.values[value], data: Float64Array.from(inputs[i]) };
  });
  for (const { op, inputs, output, attrs } of program.instructions) {
    const aval = program.values[output];
    values[output] = { ...aval, data: new Float64Array(sizeOf(aval.shape)) };
    applyOp(op, values[output], inputs.map((input) => values[input]), attrs);
    values[output].data.forEach((value, i, data) => data[i] = Math.fround(value));
  }
  return program.outputs.map(({ value }) => values[value].data);
}

/** A float32 host array from numbers: a scalar from a number, one axis unless a shape is given. */
export function host(values: number | readonly number[], shape?: Shape): HostArray {
  const list = typeof values === "number" ? [values] : values;
  return new HostArray(Float32Array.from(list), shape ?? (typeof values === "number" ? [] : [list.length]));
}

/** An int32 host array, of one axis unless a shape is given. */
export function integers(values: readonly number[], shape: Shape = [values.length]): HostArray {
  return new HostArray(Int32Array.from(values), shape);
}

/** Pseudo-random numbers in (−1, 1) that depend only on `name`. */
export function noise(name: string, shape: Shape): HostArray {
  let state = [...name].reduce((hash, c) => Math.imul(hash ^ c.charCodeAt(0), 0x01000193), 0x811c9dc5);
  const size = shape.reduce((a, b) => a * b, 1);
  return host(
    Array.from({ length: size }, () => {
      state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9 | 0;
      return ((state ^ (state >>> 13)) >>> 0) / 2 ** 31 - 1;
    }),
    shape,
  );
}
