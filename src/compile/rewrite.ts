import { at } from "../base/at.ts";
import { type Aval, sameShape, type Shape, sizeOf } from "../trace/dtype.ts";
import { binary, cast, compareFns, unary, wrap } from "../trace/elementwise.ts";
import { isCollective, type OpAttrs, type OpName, type OpOperands } from "../trace/ops.ts";
import type { ValueId } from "../trace/program.ts";
import { applyIdentity } from "./identities.ts";
import { foldLiterals, made, resplat, type Simplified, splat, splatOf } from "./simplified.ts";

/** Returns a simpler value for an op on `inputs`, or undefined; `result` is the shape and dtype it must have. */
type Rule<N extends OpName> = (
  s: Simplified,
  inputs: OpOperands<ValueId>[N],
  attrs: OpAttrs[N],
  result: Aval,
) => ValueId | undefined;

/**
 * Returns a simpler value that can replace an op on `inputs`, or undefined. Floating-point results keep their bits,
 * except that a sum of n equal terms becomes one product, and that literals are folded in float64.
 */
export function rewrite<N extends OpName>(
  s: Simplified,
  op: N,
  inputs: readonly ValueId[],
  attrs: OpAttrs[N],
  result: Aval,
): ValueId | undefined {
  if (op === "constant" || op === "barrier" || isCollective(op)) return undefined;
  const isEmpty = sizeOf(result.shape) === 0 ||
    (zeroIfEmpty.has(op) && inputs.some((input) => sizeOf(s.aval(input).shape) === 0));
  if (isEmpty) return splat(s, 0, result);
  // The shape rule has checked that there are as many operands as the op has.
  return rules[op]?.(s, inputs as OpOperands<ValueId>[N], attrs, result);
}

/** Ops whose result may have elements although an operand has none; all of those are zeros. */
const zeroIfEmpty: ReadonlySet<OpName> = new Set<OpName>([
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
    const inner = made(s, x, "unary");
    if (inner?.attrs.fn === fn && (fn === "neg" || fn === "not")) return inner.inputs[0];
    return foldLiterals(s, [x], result, unary(fn, s.aval(x).dtype));
  },
  binary(s, [a, b], { fn }, result) {
    const folded = foldLiterals(s, [a, b], result, binary(fn, result.dtype));
    return folded ?? applyIdentity(s, a, b, fn, result);
  },
  compare(s, inputs, { fn }, result) {
    return foldLiterals(s, inputs, result, (a, b) => Number(compareFns[fn](a, b)));
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
    // There and back is exact: every bool is a number, every bf16 an f32.
    const isExact = dtype === "bool" || (dtype === "bf16" && from === "f32");
    if (isExact && inner !== undefined && s.aval(inner.inputs[0]).dtype === dtype) return inner.inputs[0];
    return foldLiterals(s, [x], result, cast(from, dtype));
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
      return s.emit("reshape", [x], { shape: result.shape }); // only axes of extent 1 move
    }
    const inner = made(s, x, "transpose");
    if (inner === undefined) return resplat(s, x, result);
    const composed = permutation.map((axis) => at(inner.attrs.permutation, axis));
    return s.emit("transpose", inner.inputs, { permutation: composed });
  },
  slice(s, [x], { starts, limits, strides }, result) {
    if (sameShape(s.aval(x).shape, result.shape)) return x;
    const constant = resplat(s, x, result);
    if (constant !== undefined) return constant;
    const inner = made(s, x, "slice");
    if (inner === undefined) return sliceOfPart(s, x, starts, limits, strides);
    const { starts: first, strides: by } = inner.attrs;
    const compose = (index: number, axis: number) => at(first, axis) + index * at(by, axis);
    return s.emit("slice", inner.inputs, {
      starts: starts.map(compose),
      limits: limits.map((limit, axis) => compose(limit - 1, axis) + 1),
      strides: strides.map((stride, axis) => stride * at(by, axis)),
    });
  },
  pad(s, [x], { low, high, interior }, { shape }) {
    if (sameShape(s.aval(x).shape, shape)) return x;
    const inner = made(s, x, "pad");
    if (inner === undefined || [...interior, ...inner.attrs.interior].some((count) => count > 0)) {
      return undefined;
    }
    return s.emit("pad", inner.inputs, {
      low: low.map((count, axis) => count + at(inner.attrs.low, axis)),
      high: high.map((count, axis) => count + at(inner.attrs.high, axis)),
      interior,
    });
  },
  concat(s, inputs, { axis }) {
    if (inputs.length === 1) return inputs[0];
    const parts = inputs.filter((input) => at(s.aval(input).shape, axis) > 0);
    return parts.length < inputs.length ? s.emit("concat", parts, { axis }) : undefined;
  },
  reduce(s, [x], { fn, axes }, result) {
    const { shape, dtype } = s.aval(x);
    if (axes.every((axis) => shape[axis] === 1)) return s.emit("reshape", [x], { shape: result.shape });
    const repeats = (repeated: readonly number[]): number =>
      repeated.reduce((product, axis) => product * at(shape, axis), 1);
    const constant = splatOf(s, x);
    if (constant !== undefined) {
      const value = fn === "sum" ? binary("mul", dtype)(constant, repeats(axes)) : constant;
      return splat(s, value, result);
    }
    // Of equal terms, reduce one of each and multiply.
    const inner = made(s, x, "broadcast");
    if (inner === undefined) return undefined;
    const from = s.aval(inner.inputs[0]).shape;
    const repeated = axes.filter((axis) => from[axis] !== shape[axis]);
    if (repeated.length === 0) return undefined;
    const once = shape.map((extent, axis) => repeated.includes(axis) ? 1 : extent);
    const reduced = s.emit("reduce", [s.emit("broadcast", inner.inputs, { shape: once })], { fn, axes });
    return fn === "sum"
      ? s.emit("binary", [reduced, splat(s, wrap(repeats(repeated), dtype), result)], { fn: "mul" })
      : reduced;
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

function isAscending(list: readonly number[]): boolean {
  return list.every((value, i) => i === 0 || at(list, i - 1) < value);
}

/** Returns the operand of a transpose that swaps the last two axes and nothing else. */
function untransposed(s: Simplified, value: ValueId): ValueId | undefined {
  const maker = made(s, value, "transpose");
  if (maker === undefined) return undefined;
  const { permutation } = maker.attrs;
  const last = permutation.length - 1;
  const swaps = permutation.every((axis, i) => axis === (i === last ? last - 1 : i === last - 1 ? last : i));
  return swaps ? maker.inputs[0] : undefined;
}

/** Returns a slice of one operand of a concatenation, or of the operand of a padding, if the slice lies within it. */
function sliceOfPart(
  s: Simplified,
  x: ValueId,
  starts: Shape,
  limits: Shape,
  strides: Shape,
): ValueId | undefined {
  const sliceOf = (part: ValueId, offsets: readonly number[]): ValueId | undefined => {
    const { shape } = s.aval(part);
    const first = starts.map((start, axis) => start - at(offsets, axis));
    const end = limits.map((limit, axis) => limit - at(offsets, axis));
    const isOutside = first.some((start) => start < 0) || end.some((limit, axis) => limit > at(shape, axis));
    return isOutside ? undefined : s.emit("slice", [part], { starts: first, limits: end, strides });
  };
  const pad = made(s, x, "pad");
  if (pad !== undefined) {
    const { interior, low } = pad.attrs;
    return interior.every((count) => count === 0) ? sliceOf(pad.inputs[0], low) : undefined;
  }
  const concat = made(s, x, "concat");
  if (concat === undefined) return undefined;
  const { axis: joined } = concat.attrs;
  let offset = 0;
  for (const part of concat.inputs) {
    const found = sliceOf(part, starts.map((_, axis) => axis === joined ? offset : 0));
    if (found !== undefined) return found;
    offset += at(s.aval(part).shape, joined);
  }
  return undefined;
}
