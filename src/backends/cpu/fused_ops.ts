import { type DType, isFloat } from "../../trace/dtype.ts";
import type { Node } from "../../compile/kernel.ts";
import type { BinaryFn, CompareFn, ReduceFn, UnaryFn } from "../../trace/ops.ts";
import type { BinaryFnOf, UnaryFnOf } from "../../trace/op_dtypes.ts";
import type { I32, V128 } from "./wasm/expressions.ts";
import { i32 } from "./wasm/scalars.ts";
import { f32x4, i32x4, v128 } from "./wasm/vectors.ts";
import type { Local } from "./wasm/function.ts";
import { SIGN, type VectorMath } from "./math.ts";

// The element-wise functions on four lanes. In computations a bool is a mask: all ones for true.

type Lanes = Local<"v128">;
type Unary = (m: VectorMath, x: Lanes) => V128;
type Binary = (m: VectorMath, a: Lanes, b: Lanes) => V128;

const simple = (fn: (x: V128) => V128): Unary => (_, x) => fn(x);
const pair = (fn: (a: V128, b: V128) => V128): Binary => (_, a, b) => fn(a, b);

const floatUnary: { readonly [F in UnaryFnOf<"f32">]: Unary } = {
  neg: simple(f32x4.neg),
  abs: simple(f32x4.abs),
  sign(m, x) { // ±1 with the sign of x; zeros and NaN are themselves
    const one = v128.or(v128.and(x, m.integer(SIGN)), m.float(1));
    return m.select(f32x4.gt(f32x4.abs(x), m.float(0)), one, x);
  },
  floor: simple(f32x4.floor),
  exp: (m, x) => m.exp(x),
  log: (m, x) => m.log(x),
  sqrt: simple(f32x4.sqrt),
  rsqrt: (m, x) => f32x4.div(m.float(1), f32x4.sqrt(x)),
  sin: (m, x) => m.sin(x),
  cos: (m, x) => m.cos(x),
  tanh: (m, x) => m.tanh(x),
  erf: (m, x) => m.erf(x),
  isFinite: (m, x) => f32x4.lt(f32x4.abs(x), m.float(Infinity)),
};

const integerUnary: { readonly [F in UnaryFnOf<"i32">]: Unary } = {
  neg: simple(i32x4.neg),
  abs: simple(i32x4.abs),
  sign: (m, x) => v128.or(i32x4.shrS(x, 31), v128.and(i32x4.gtS(x, m.integer(0)), m.integer(1))),
  not: simple(v128.not),
};

/** The rule of a function. Shape rules reject the dtypes that have none. */
function ruleOf<F extends string, R>(rules: { readonly [G in F]?: R }, fn: F, dtype: DType): R {
  const rule = rules[fn];
  if (rule === undefined) throw new Error(`${fn} is not defined on ${dtype}`);
  return rule;
}

/** A unary function of `dtype`. */
export function unary(m: VectorMath, fn: UnaryFn, dtype: DType, x: Lanes): V128 {
  const rules: { readonly [F in UnaryFn]?: Unary } = isFloat(dtype) ? floatUnary : integerUnary;
  return ruleOf(rules, fn, dtype)(m, x);
}

/** Divides lane by lane: WebAssembly has no integer division of vectors, and its scalar division traps on zero. */
function byLane(divide: (a: I32, b: I32) => I32): Binary {
  return (m, a, b) => {
    const result = m.keep(a);
    for (let lane = 0; lane < 4; lane++) {
      const divisor = m.f.int(i32x4.lane(b, lane));
      m.f.set(divisor, i32.select(1, divisor, i32.eqz(divisor)));
      m.f.set(result, i32x4.withLane(result, lane, divide(i32x4.lane(a, lane), divisor)));
    }
    return result;
  };
}

/** Signed division. −2³¹ ÷ −1 traps, so a division by −1 is a negation. */
const quotient = (a: I32, b: I32): I32 => {
  const minusOne = i32.eq(b, -1);
  return i32.select(i32.sub(0, a), i32.divS(a, i32.select(1, b, minusOne)), minusOne);
};

function shift(shiftLane: (a: I32, b: I32) => I32): Binary {
  return (m, a, b) => {
    const result = m.keep(a);
    for (let lane = 0; lane < 4; lane++) {
      m.f.set(result, i32x4.withLane(result, lane, shiftLane(i32x4.lane(a, lane), i32x4.lane(b, lane))));
    }
    return result;
  };
}

const floatBinary: { readonly [F in BinaryFnOf<"f32">]: Binary } = {
  add: pair(f32x4.add),
  sub: pair(f32x4.sub),
  mul: pair(f32x4.mul),
  div: pair(f32x4.div),
  pow: (m, a, b) => m.pow(a, b),
  max: pair(f32x4.max),
  min: pair(f32x4.min),
  rem: (m, a, b) => m.rem(a, b),
};

const integerBinary = {
  add: pair(i32x4.add),
  sub: pair(i32x4.sub),
  mul: pair(i32x4.mul),
  and: pair(v128.and),
  or: pair(v128.or),
  xor: pair(v128.xor),
  shl: shift(i32.shl),
} satisfies { readonly [F in BinaryFn]?: Binary };

const signedBinary: { readonly [F in BinaryFnOf<"i32">]: Binary } = {
  ...integerBinary,
  max: pair(i32x4.maxS),
  min: pair(i32x4.minS),
  div: byLane(quotient),
  rem: byLane((a, b) => i32.remS(a, b)), // −2³¹ rem −1 is 0, without a trap
  shr: shift(i32.shrS),
};

const unsignedBinary: { readonly [F in BinaryFnOf<"u32">]: Binary } = {
  ...integerBinary,
  max: pair(i32x4.maxU),
  min: pair(i32x4.minU),
  div: byLane(i32.divU),
  rem: byLane(i32.remU),
  shr: shift(i32.shrU),
};

/**
 * `max` or `min` with a constant that is not NaN: one or two instructions instead of the eight or so that propagate a NaN
 * of either operand. ReLU is one of these.
 */
export function boundedBy(m: VectorMath, fn: "max" | "min", x: Lanes, bound: number): V128 {
  const [max, constant] = [fn === "max", m.float(bound)];
  const value = max ? f32x4.pmax(x, constant) : f32x4.pmin(x, constant); // returns a NaN of the first
  // They also return a zero of the first, but −0 is less than +0.
  if (max && Object.is(bound, 0)) return v128.and(value, m.integer(~SIGN));
  if (!max && Object.is(bound, -0)) return v128.or(value, m.integer(SIGN));
  return value;
}

/** A binary function of two operands of `dtype`. */
export function binary(m: VectorMath, fn: BinaryFn, dtype: DType, a: Lanes, b: Lanes): V128 {
  const rules: { readonly [F in BinaryFn]?: Binary } = isFloat(dtype)
    ? floatBinary
    : dtype === "i32"
    ? signedBinary
    : unsignedBinary;
  return ruleOf(rules, fn, dtype)(m, a, b);
}

const comparisons: {
  readonly [F in CompareFn]: { readonly f32: Binary; readonly i32: Binary; readonly u32: Binary };
} = {
  eq: { f32: pair(f32x4.eq), i32: pair(i32x4.eq), u32: pair(i32x4.eq) },
  ne: { f32: pair(f32x4.ne), i32: pair(i32x4.ne), u32: pair(i32x4.ne) },
  lt: { f32: pair(f32x4.lt), i32: pair(i32x4.ltS), u32: pair(i32x4.ltU) },
  le: { f32: pair(f32x4.le), i32: pair(i32x4.leS), u32: pair(i32x4.leU) },
  gt: { f32: pair(f32x4.gt), i32: pair(i32x4.gtS), u32: pair(i32x4.gtU) },
  ge: { f32: pair(f32x4.ge), i32: pair(i32x4.geS), u32: pair(i32x4.geU) },
};

/** A comparison of two operands of `dtype`; the result is a mask. */
export function compare(m: VectorMath, fn: CompareFn, dtype: DType, a: Lanes, b: Lanes): V128 {
  if (isFloat(dtype)) return comparisons[fn].f32(m, a, b);
  if (dtype === "i32") return comparisons[fn].i32(m, a, b);
  return comparisons[fn].u32(m, a, b); // the mask for true is also the larger unsigned number
}

/** A conversion; to bf16 without the rounding. */
export function cast(m: VectorMath, from: DType, to: DType, x: Lanes): V128 {
  if (from === to || (isFloat(from) && isFloat(to))) return x;
  if (to === "bool") return isFloat(from) ? f32x4.ne(x, m.float(0)) : i32x4.ne(x, m.integer(0));
  if (from === "bool") return v128.and(x, isFloat(to) ? m.float(1) : m.integer(1));
  if (isFloat(to)) return from === "i32" ? f32x4.fromI32(x) : f32x4.fromU32(x);
  if (isFloat(from)) return to === "i32" ? i32x4.truncS(x) : i32x4.truncU(x);
  return x;
}

/** Functions of bf16 whose result is a bf16 in any case. */
const exact: ReadonlySet<UnaryFn | BinaryFn> = new Set(["neg", "abs", "sign", "floor", "max", "min", "rem"]);

/** Tests whether the result of a node has to be rounded to bf16; `from` is the dtype of its first operand. */
export function isRounded(node: Node, from: DType | undefined): boolean {
  if (node.dtype !== "bf16") return false;
  if (node.kind === "unary" || node.kind === "binary") return !exact.has(node.fn);
  return node.kind === "cast" && from !== "bool";
}

/** The identity element of a reduction. */
export function identity(m: VectorMath, fn: ReduceFn, dtype: DType): Lanes {
  if (fn === "sum") return m.integer(0); // +0 as well
  if (dtype === "f32") return m.float(fn === "max" ? -Infinity : Infinity);
  if (dtype === "i32") return m.integer(fn === "max" ? -0x80000000 | 0 : 0x7fffffff);
  return m.integer(fn === "max" ? 0 : -1);
}

/** One step of a reduction: `a` combined with `b`. */
export function fold(m: VectorMath, fn: ReduceFn, dtype: DType, a: Lanes, b: Lanes): V128 {
  return binary(m, fn === "sum" ? "add" : fn, dtype, a, b);
}
