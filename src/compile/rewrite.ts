import { type Aval, type DType, isFloat, sameShape, type Shape, sizeOf } from "../trace/dtype.ts";
import { binary, cast, compareFns, unary, wrap } from "../trace/elementwise.ts";
import type { OpAttrs, OpName } from "../trace/ops.ts";
import type { Instruction, InstructionOf, ValueId } from "../trace/program.ts";

/** The program simplified so far, and a way to add to it. */
export interface Simplified {
  /** The shape and dtype of a value. */
  aval(value: ValueId): Aval;
  /** The instruction that makes a value; undefined for an input. */
  maker(value: ValueId): Instruction | undefined;
  /** The value of an op on `inputs`: an existing one where it is the same, rewritten where that is simpler. */
  emit<N extends OpName>(op: N, inputs: readonly ValueId[], attrs: OpAttrs[N]): ValueId;
}

/** Gives a simpler value for an op on `inputs`, or undefined; `result` is the shape and dtype it must have. */
type Rule<N extends OpName> = (
  s: Simplified,
  inputs: readonly ValueId[],
  attrs: OpAttrs[N],
  result: Aval,
) => ValueId | undefined;

/**
 * A simpler value that an op may be replaced with, or undefined. Floating-point results keep their bits, except that
 * a sum of n equal terms becomes one product and literals are folded in float64.
 */
export function rewrite<N extends OpName>(
  s: Simplified,
  op: N,
  inputs: readonly ValueId[],
  attrs: OpAttrs[N],
  result: Aval,
): ValueId | undefined {
  if (op === "constant" || op === "barrier") return undefined;
  const empty = sizeOf(result.shape) === 0 ||
    (zeroOfNothing.has(op) && inputs.some((input) => sizeOf(s.aval(input).shape) === 0));
  if (empty) return splat(s, 0, result);
  return (rules[op] as Rule<N> | undefined)?.(s, inputs, attrs, result);
}

/** Ops whose result may have elements where an operand has none: all of them zeros. */
const zeroOfNothing: ReadonlySet<OpName> = new Set<OpName>([
  "reduce",
  "pad",
  "matmul",
  "conv",
  "convInputGrad",
  "convFilterGrad",
  "scatterAdd",
]);

const rules: { readonly [N in OpName]?: Rule<N> } = {
  unary(s, [x], { fn }, result) {
    if (made(s, x, "unary")?.attrs.fn === fn && (fn === "neg" || fn === "not")) {
      return made(s, x, "unary")!.inputs[0];
    }
    const f = unary(fn, s.aval(x).dtype);
    return foldElements(s, [x], result, ([a]) => f(a));
  },
  binary(s, [a, b], { fn }, result) {
    const f = binary(fn, result.dtype);
    return foldElements(s, [a, b], result, ([x, y]) => f(x, y)) ?? identity(s, a, b, fn, result);
  },
  compare(s, inputs, { fn }, result) {
    return foldElements(s, inputs, result, ([a, b]) => Number(compareFns[fn](a, b)));
  },
  select(s, [condition, a, b]) {
    if (a === b) return a;
    const constant = splatOf(s, condition);
    if (constant !== undefined) return constant !== 0 ? a : b;
    const inverse = made(s, condition, "unary");
    return inverse?.attrs.fn === "not" ? s.emit("select", [inverse.inputs[0], b, a], {}) : undefined;
  },
  cast(s, [x], { dtype }, result) {
    const from = s.aval(x).dtype;
    if (from === dtype) return x;
    const inner = made(s, x, "cast");
    // There and back: every bool is a number, every bf16 an f32.
    const exact = dtype === "bool" || (dtype === "bf16" && from === "f32");
    if (exact && inner !== undefined && s.aval(inner.inputs[0]).dtype === dtype) return inner.inputs[0];
    const f = cast(from, dtype);
    return foldElements(s, [x], result, ([a]) => f(a));
  },
  broadcast(s, [x], attrs, result) {
    if (sameShape(s.aval(x).shape, result.shape)) return x;
    const inner = made(s, x, "broadcast");
    return resplat(s, x, result) ??
      (inner === undefined ? undefined : s.emit("broadcast", inner.inputs, attrs));
  },
  reshape(s, [x], attrs, result) {
    if (sameShape(s.aval(x).shape, result.shape)) return x;
    const inner = made(s, x, "reshape");
    if (inner !== undefined) return s.emit("reshape", inner.inputs, attrs);
    const literal = made(s, x, "constant");
    return literal && s.emit("constant", [], { ...literal.attrs, shape: result.shape });
  },
  transpose(s, [x], { permutation }, result) {
    const from = s.aval(x).shape;
    if (isAscending(permutation)) return x;
    if (isAscending(permutation.filter((axis) => from[axis] !== 1))) {
      return s.emit("reshape", [x], { shape: result.shape }); // moves axes of extent 1 only
    }
    const inner = made(s, x, "transpose");
    if (inner === undefined) return resplat(s, x, result);
    const composed = permutation.map((axis) => inner.attrs.permutation[axis]);
    return s.emit("transpose", inner.inputs, { permutation: composed });
  },
  slice(s, [x], { starts, limits, strides }, result) {
    if (sameShape(s.aval(x).shape, result.shape)) return x;
    const constant = resplat(s, x, result);
    if (constant !== undefined) return constant;
    const inner = made(s, x, "slice");
    if (inner !== undefined) {
      const { starts: first, strides: by } = inner.attrs;
      return s.emit("slice", inner.inputs, {
        starts: starts.map((start, axis) => first[axis] + start * by[axis]),
        limits: limits.map((limit, axis) => first[axis] + (limit - 1) * by[axis] + 1),
        strides: strides.map((stride, axis) => stride * by[axis]),
      });
    }
    return slicePart(s, x, starts, limits, strides);
  },
  pad(s, [x], { low, high, interior }, { shape }) {
    if (sameShape(s.aval(x).shape, shape)) return x;
    const inner = made(s, x, "pad");
    if (inner === undefined || [...interior, ...inner.attrs.interior].some((count) => count > 0)) {
      return undefined;
    }
    return s.emit("pad", inner.inputs, {
      low: low.map((count, axis) => count + inner.attrs.low[axis]),
      high: high.map((count, axis) => count + inner.attrs.high[axis]),
      interior,
    });
  },
  concat(s, inputs, { axis }) {
    if (inputs.length === 1) return inputs[0];
    const parts = inputs.filter((input) => s.aval(input).shape[axis] > 0);
    return parts.length < inputs.length ? s.emit("concat", parts, { axis }) : undefined;
  },
  reduce(s, [x], { fn, axes }, result) {
    const { shape, dtype } = s.aval(x);
    if (axes.every((axis) => shape[axis] === 1)) return s.emit("reshape", [x], { shape: result.shape });
    const repeats = (repeated: readonly number[]): number =>
      repeated.reduce((product, axis) => product * shape[axis], 1);
    const constant = splatOf(s, x);
    if (constant !== undefined) {
      const value = fn === "sum" ? binary("mul", dtype)(constant, repeats(axes)) : constant;
      return splat(s, value, result);
    }
    // Equal terms: fold one of each and multiply.
    const inner = made(s, x, "broadcast");
    if (inner === undefined) return undefined;
    const from = s.aval(inner.inputs[0]).shape;
    const repeated = axes.filter((axis) => from[axis] !== shape[axis]);
    if (repeated.length === 0) return undefined;
    const once = shape.map((extent, axis) => repeated.includes(axis) ? 1 : extent);
    const folded = s.emit("reduce", [s.emit("broadcast", inner.inputs, { shape: once })], { fn, axes });
    return fn === "sum"
      ? s.emit("binary", [folded, splat(s, wrap(repeats(repeated), dtype), result)], { fn: "mul" })
      : folded;
  },
  argmax(s, [x], { axis }, result) {
    return s.aval(x).shape[axis] === 1 ? splat(s, 0, result) : undefined;
  },
  matmul(s, [a, b], { transposeA, transposeB }) {
    const [x, y] = [untransposed(s, a), untransposed(s, b)];
    if (x === undefined && y === undefined) return undefined;
    return s.emit("matmul", [x ?? a, y ?? b], {
      transposeA: transposeA !== (x !== undefined),
      transposeB: transposeB !== (y !== undefined),
    });
  },
  // To the same size, every pixel is its own source.
  resize: (s, [x], _, { shape }) => sameShape(s.aval(x).shape, shape) ? x : undefined,
  resizeGrad: (s, [x], _, { shape }) => sameShape(s.aval(x).shape, shape) ? x : undefined,
  stopGradient: (_, [x]) => x,
};

/** The instruction that makes a value, if it is this op. */
function made<N extends OpName>(s: Simplified, value: ValueId, op: N): InstructionOf<N> | undefined {
  const maker = s.maker(value);
  return maker?.op === op ? maker as InstructionOf<N> : undefined;
}

/** A literal filled with one value. */
function splat(s: Simplified, value: number, { shape, dtype }: Aval): ValueId {
  return s.emit("constant", [], { shape, dtype, values: [value] });
}

/** The one value a literal is filled with. */
function splatOf(s: Simplified, value: ValueId): number | undefined {
  const values = made(s, value, "constant")?.attrs.values;
  return values?.length === 1 ? values[0] : undefined;
}

/** The same fill in another shape. */
function resplat(s: Simplified, value: ValueId, result: Aval): ValueId | undefined {
  const constant = splatOf(s, value);
  return constant === undefined ? undefined : splat(s, constant, result);
}

/**
 * A literal computed from literals, element by element. Floats stay in float64 until a device takes them and rounds
 * once; the float64 reference then sees no rounding at all.
 */
function foldElements(
  s: Simplified,
  inputs: readonly ValueId[],
  { shape, dtype }: Aval,
  f: (args: readonly number[]) => number,
): ValueId | undefined {
  const columns: (readonly number[])[] = [];
  for (const input of inputs) {
    const literal = made(s, input, "constant");
    if (literal === undefined) return undefined;
    columns.push(literal.attrs.values.map((value) => wrap(value, s.aval(input).dtype)));
  }
  const count = Math.max(...columns.map((column) => column.length));
  const values = Array.from(
    { length: count },
    (_, i) => f(columns.map((column) => column[column.length === 1 ? 0 : i])),
  );
  return s.emit("constant", [], { shape, dtype, values });
}

/** x + 0, x × 1 and the like. */
function identity(
  s: Simplified,
  a: ValueId,
  b: ValueId,
  fn: OpAttrs["binary"]["fn"],
  result: Aval,
): ValueId | undefined {
  const [x, y] = [splatOf(s, a), splatOf(s, b)];
  const { dtype } = result;
  const negated = (value: ValueId): ValueId | undefined => {
    const maker = made(s, value, "unary");
    return maker?.attrs.fn === "neg" ? maker.inputs[0] : undefined;
  };
  switch (fn) {
    case "add": {
      if (y !== undefined && isAddedZero(s, y, a, dtype)) return a;
      if (x !== undefined && isAddedZero(s, x, b, dtype)) return b;
      const [p, q] = [negated(a), negated(b)];
      return q !== undefined
        ? s.emit("binary", [a, q], { fn: "sub" })
        : p !== undefined
        ? s.emit("binary", [b, p], { fn: "sub" })
        : undefined;
    }
    case "sub": {
      if (y !== undefined && isAddedZero(s, -y, a, dtype)) return a;
      const q = negated(b);
      return q === undefined ? undefined : s.emit("binary", [a, q], { fn: "add" });
    }
    case "mul":
      if (y === 1) return a;
      if (x === 1) return b;
      if (dtype !== "u32" && (y === -1 || x === -1)) {
        return s.emit("unary", [y === -1 ? a : b], { fn: "neg" });
      }
      return !isFloat(dtype) && (x === 0 || y === 0) ? splat(s, 0, result) : undefined;
    case "div":
      if (y === 1) return a;
      // A reciprocal is exact only of a power of two.
      return dtype === "f32" && y !== undefined && isPowerOfTwo(y)
        ? s.emit("binary", [a, splat(s, 1 / y, result)], { fn: "mul" })
        : undefined;
    case "pow": // also because WGSL has no powers of negative numbers
      if (y === 1) return a;
      if (y === 2) return s.emit("binary", [a, a], { fn: "mul" });
      return y === 3
        ? s.emit("binary", [s.emit("binary", [a, a], { fn: "mul" }), a], { fn: "mul" })
        : undefined;
    case "max":
    case "min":
    case "and":
    case "or":
      return a === b ? a : undefined;
    case "xor":
    case "shl":
    case "shr":
      return y === 0 ? a : undefined;
    case "rem":
      return undefined;
    default:
      return fn satisfies never;
  }
}

/** Whether adding `zero` leaves every bit of x: −0 always does, +0 unless x may be −0. */
function isAddedZero(s: Simplified, zero: number, x: ValueId, dtype: DType): boolean {
  if (zero !== 0) return false;
  return !isFloat(dtype) || Object.is(zero, -0) || neverMinusZero(s, x);
}

function neverMinusZero(s: Simplified, value: ValueId): boolean {
  const maker = s.maker(value);
  switch (maker?.op) {
    case "iota":
      return true;
    case "cast": // of an integer; of a float it keeps the sign
      return !isFloat(s.aval(maker.inputs[0]).dtype) || neverMinusZero(s, maker.inputs[0]);
    case "unary":
      return maker.attrs.fn === "abs" || maker.attrs.fn === "exp";
    case "reduce":
      return maker.attrs.fn === "sum"; // which starts from +0
    case "constant":
      return maker.attrs.values.every((x) => !Object.is(x, -0));
    case "broadcast":
    case "reshape":
    case "transpose":
    case "slice":
      return neverMinusZero(s, maker.inputs[0]);
    default:
      return false;
  }
}

function isPowerOfTwo(value: number): boolean {
  const exponent = Math.log2(Math.abs(value));
  return Number.isInteger(exponent) && Math.abs(exponent) < 126;
}

function isAscending(list: readonly number[]): boolean {
  return list.every((value, i) => i === 0 || list[i - 1] < value);
}

/** Whose last two axes a transpose swaps, and nothing else. */
function untransposed(s: Simplified, value: ValueId): ValueId | undefined {
  const maker = made(s, value, "transpose");
  if (maker === undefined) return undefined;
  const { permutation } = maker.attrs;
  const last = permutation.length - 1;
  const swaps = permutation.every((axis, i) => axis === (i === last ? last - 1 : i === last - 1 ? last : i));
  return swaps ? maker.inputs[0] : undefined;
}

/** A slice that lies within one operand of a concatenation, or within what a padding surrounds. */
function slicePart(
  s: Simplified,
  x: ValueId,
  starts: Shape,
  limits: Shape,
  strides: Shape,
): ValueId | undefined {
  const moved = (from: ValueId, by: readonly number[]): ValueId | undefined => {
    const { shape } = s.aval(from);
    const first = starts.map((start, axis) => start - by[axis]);
    const end = limits.map((limit, axis) => limit - by[axis]);
    if (first.some((start) => start < 0) || end.some((limit, axis) => limit > shape[axis])) return undefined;
    return s.emit("slice", [from], { starts: first, limits: end, strides });
  };
  const pad = made(s, x, "pad");
  if (pad !== undefined) {
    return pad.attrs.interior.every((count) => count === 0) ? moved(pad.inputs[0], pad.attrs.low) : undefined;
  }
  const concat = made(s, x, "concat");
  if (concat === undefined) return undefined;
  let at = 0;
  for (const part of concat.inputs) {
    const found = moved(part, starts.map((_, axis) => axis === concat.attrs.axis ? at : 0));
    if (found !== undefined) return found;
    at += s.aval(part).shape[concat.attrs.axis];
  }
  return undefined;
}
