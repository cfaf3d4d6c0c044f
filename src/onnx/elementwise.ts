import { at } from "../base/at.ts";
import { type DType, isFloat } from "../trace/dtype.ts";
import type { BinaryFn, CompareFn, UnaryFn } from "../trace/ops.ts";
import { type Dim, fixed, grows } from "./dim.ts";
import { type Constant, inOrder, type Operand, orderOf } from "./operand.ts";
import type { SymbolicAval } from "./record.ts";
import { computed, converted, type Lowering, type Rules, wrapped } from "./rule.ts";

/** Computes an element-wise function of values in the graph; `dtype` is that of its first operand. */
type Emit = (to: Lowering, dtype: DType, ...names: string[]) => string;

const operator = (op: string): Emit => ({ graph }, _, ...names) => graph.node(op, names);

const unaryFns: { readonly [F in UnaryFn]: Emit } = {
  neg: operator("Neg"),
  abs: operator("Abs"),
  sign: ({ graph }, dtype, x) => {
    const sign = graph.node("Sign", [x]);
    return isFloat(dtype) ? graph.node("Where", [graph.node("IsNaN", [x]), x, sign]) : sign;
  },
  floor: operator("Floor"),
  exp: operator("Exp"),
  log: operator("Log"),
  sqrt: operator("Sqrt"),
  rsqrt: ({ graph }, _, x) => graph.node("Reciprocal", [graph.node("Sqrt", [x])]),
  sin: operator("Sin"),
  cos: operator("Cos"),
  tanh: operator("Tanh"),
  erf: operator("Erf"),
  not: ({ graph }, dtype, x) =>
    dtype === "bool" ? graph.node("Not", [x]) : graph.node("Sub", [graph.scalar(-1, "INT64"), x]),
  isFinite: ({ graph }, _, x) => graph.node("Less", [graph.node("Abs", [x]), graph.scalar(Infinity)]),
};

/** Integer division by 0 gives the dividend, and remainder 0: the divisor becomes 1, by which both are that. */
function divisor({ graph }: Lowering, dtype: DType, b: string): string {
  if (isFloat(dtype)) return b;
  const isZero = graph.node("Equal", [b, graph.scalar(0, "INT64")]);
  return graph.node("Where", [isZero, graph.scalar(1, "INT64"), b]);
}

const logical = (onBool: string, onBits: string): Emit => ({ graph }, dtype, a, b) =>
  graph.node(dtype === "bool" ? onBool : onBits, [a, b]);

/** Shifts by a count modulo 32, within 64 bits that repeat the sign: so the lower 32 are those of either shift. */
const shift = (direction: "LEFT" | "RIGHT"): Emit => ({ graph }, _, a, count) => {
  const within = graph.node("BitwiseAnd", [count, graph.scalar(31, "INT64")]);
  const words = [a, within].map((name) => converted(graph, name, "UINT64"));
  return converted(graph, graph.node("BitShift", words, { direction }), "INT64");
};

const binaryFns: { readonly [F in BinaryFn]: Emit } = {
  add: operator("Add"),
  sub: operator("Sub"),
  mul: operator("Mul"),
  div: (to, dtype, a, b) => to.graph.node("Div", [a, divisor(to, dtype, b)]),
  pow: operator("Pow"),
  max: operator("Max"),
  min: operator("Min"),
  rem: (to, dtype, a, b) => to.graph.node("Mod", [a, divisor(to, dtype, b)], { fmod: 1 }),
  and: logical("And", "BitwiseAnd"),
  or: logical("Or", "BitwiseOr"),
  xor: logical("Xor", "BitwiseXor"),
  shl: shift("LEFT"),
  shr: shift("RIGHT"),
};

/** Operands of a comparison; bools are compared as numbers. */
const ordered = (op: string): Emit => ({ graph }, dtype, ...names) =>
  graph.node(op, dtype === "bool" ? names.map((name) => converted(graph, name, "INT64")) : names);

const compareFns: { readonly [F in CompareFn]: Emit } = {
  eq: operator("Equal"),
  ne: ({ graph }, _, a, b) => graph.node("Not", [graph.node("Equal", [a, b])]),
  lt: ordered("Less"),
  le: ordered("LessOrEqual"),
  gt: ordered("Greater"),
  ge: ordered("GreaterOrEqual"),
};

/** Applies an element-wise function. The axes of all operands are put in the order of the largest one. */
function apply(to: Lowering, operands: readonly Operand[], out: SymbolicAval, emit: Emit): Operand {
  const axes = (operand: Operand) => operand.extents.filter((extent) => extent !== 1).length;
  const inGraph = operands.filter(({ kind }) => kind === "computed");
  const [largest] = inGraph.toSorted((a, b) => axes(b) - axes(a));
  const order = largest === undefined ? inOrder(out) : orderOf(largest);
  const names = operands.map((operand) =>
    largest === undefined ? to.reader.whole(operand) : to.reader.broadcastable(operand, order)
  );
  const name = emit(to, at(operands, 0).dtype, ...names);
  if (largest === undefined) return computed(name, out, order);
  return { ...computed(name, out, order), extents: together(operands) };
}

/** The extents of operands that are broadcast against each other. */
export function together(operands: readonly Operand[]): readonly Dim[] {
  return at(operands, 0).extents.map((_, axis) =>
    operands.map(({ extents }) => at(extents, axis)).find((extent) => extent !== 1) ?? 1
  );
}

/** The number that all elements of a constant are; undefined for any other value. */
function single(operand: Operand): number | undefined {
  if (operand.kind !== "constant") return undefined;
  return operand.data.length === 1 ? operand.data[0] : undefined;
}

/** A choice between bools, for which ONNX Runtime has no Where. */
const chosen: Emit = ({ graph }, _, condition, a, b) => {
  const first = graph.node("And", [condition, a]);
  return graph.node("Or", [first, graph.node("And", [graph.node("Not", [condition]), b])]);
};

/** Rules of the element-wise ops. */
export const elementwiseRules: Rules<
  "unary" | "binary" | "compare" | "select" | "cast" | "constant" | "iota"
> = {
  unary: (to, operands, { fn }, out) =>
    apply(to, operands, out, (to, ...rest) => wrapped(to, unaryFns[fn](to, ...rest), out.dtype)),
  binary(to, operands, { fn }, out) {
    const [a, b] = operands;
    const [producer, number] = [to.graph.producer(a.kind === "computed" ? a.name : ""), single(b)];
    if (fn === "max" && number === 0 && isFloat(out.dtype)) return apply(to, [a], out, operator("Relu"));
    if (
      fn === "mul" && number !== undefined && producer?.op === "ReduceSum" && producer.count !== undefined &&
      Math.abs(producer.count * number - 1) < 1e-7
    ) {
      return apply(
        to,
        [a],
        out,
        ({ graph }) => graph.node("ReduceMean", producer.inputs, producer.attributes),
      );
    }
    return apply(to, operands, out, (to, ...rest) => wrapped(to, binaryFns[fn](to, ...rest), out.dtype));
  },
  compare: (to, operands, { fn }, out) => apply(to, operands, out, compareFns[fn]),
  select: (to, operands, _, out) =>
    apply(to, operands, out, out.dtype === "bool" ? chosen : operator("Where")),
  cast: (to, operands, { dtype }, out) => apply(to, operands, out, (to, from, x) => cast(to, from, dtype, x)),
  constant(_, __, attrs, out) {
    const { values } = fixed<{ values: readonly number[] }>("constant", { values: attrs.values });
    const shape = values.length === 1
      ? out.shape.map(() => 1)
      : fixed<readonly number[]>("constant", out.shape);
    return constantOf("constant", out, shape, values);
  },
  iota({ graph, reader }, _, attrs, out) {
    const axis = fixed<number>("iota", attrs.axis);
    const along = at(out.shape, axis);
    const extents = out.shape.map((_, i) => i === axis ? along : 1);
    if (!grows(along)) {
      return constantOf("indices", out, fixed<readonly number[]>("iota", extents), [
        ...new Array(along).keys(),
      ]);
    }
    const limit = graph.node("Squeeze", [reader.extentTensor(along)]);
    const range = graph.node("Range", [graph.scalar(0, "INT64"), limit, graph.scalar(1, "INT64")]);
    const shaped = graph.node("Reshape", [range, reader.reshapeTensor(extents)]);
    const name = isFloat(out.dtype) ? converted(graph, shaped, "FLOAT") : shaped;
    return { ...computed(name, out, inOrder(out)), extents };
  },
};

function constantOf(
  name: string,
  out: SymbolicAval,
  extents: readonly number[],
  data: ArrayLike<number>,
): Constant {
  return { kind: "constant", name, ...out, extents, data };
}

/** Converts as the op `cast` does: ONNX leaves open what becomes of NaN and of numbers that do not fit. */
function cast(to: Lowering, from: DType, dtype: DType, x: string): string {
  const { graph } = to;
  if (isFloat(dtype)) return isFloat(from) ? x : converted(graph, x, "FLOAT");
  if (dtype === "bool") return from === "bool" ? x : converted(graph, x, "BOOL");
  if (from === "bool") return converted(graph, x, "INT64");
  if (!isFloat(from)) return wrapped(to, x, dtype);
  const number = graph.node("Where", [graph.node("IsNaN", [x]), graph.scalar(0), x]);
  const small = graph.node("Clip", [number, graph.scalar(-(2 ** 33)), graph.scalar(2 ** 33)]);
  const [low, high] = dtype === "i32" ? [-(2 ** 31), 2 ** 31 - 1] : [0, 2 ** 32 - 1];
  const limits = [graph.scalar(low, "INT64"), graph.scalar(high, "INT64")];
  return graph.node("Clip", [converted(graph, small, "INT64"), ...limits]);
}
