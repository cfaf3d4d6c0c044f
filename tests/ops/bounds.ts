import type { ProductPrecision } from "../../src/compile/plan.ts";
import { applyOp, type Value } from "../../src/backends/reference/ops.ts";
import { fromBf16 } from "../../src/trace/bf16.ts";
import { type Aval, type DType, isFloat, sizeOf } from "../../src/trace/dtype.ts";
import type { BinaryFn, OpName, UnaryFn } from "../../src/trace/ops.ts";
import type { Instruction, Program } from "../../src/trace/program.ts";

/** Half the distance between neighbouring f32 values, relative to them. */
const EPS = 2 ** -24;
/** The largest relative distance between neighbouring bf16 values: a result near a tie may round either way. */
const STEP = 2 ** -7;
/** Below this, f32 is denormal, which devices may flush to zero. */
const TINY = 2 ** -126;
/** From here on, f32 rounds to infinity. */
const OVERFLOW = (2 - 2 ** -24) * 2 ** 127;

/** Results in float64, with the largest error of an f32 computation of each. */
export interface Bounded {
  /** The result. */
  readonly data: Float64Array;
  /** The largest absolute error that rounding explains; 0 where the result must be exact. */
  readonly error: Float64Array;
}

/** The way an op's result depends on its float operands, which decides how errors propagate. */
type Dependence =
  /** Only moves elements, and their errors with them. */
  | "moves"
  /** Sums of products: errors grow with the magnitude of the summands. */
  | "sums"
  /** Element-wise: errors follow from the ends of the operands' intervals. */
  | "pointwise"
  /** Increases with its operand. */
  | "monotone"
  /** Has operands that must be exact, or none. */
  | "exact";

const dependence: { readonly [N in OpName]: Dependence } = {
  unary: "pointwise",
  binary: "pointwise",
  compare: "pointwise",
  select: "pointwise",
  cast: "pointwise",
  constant: "pointwise",
  iota: "exact",
  randomBits: "exact",
  broadcast: "moves",
  reshape: "moves",
  transpose: "moves",
  slice: "moves",
  pad: "moves",
  concat: "moves",
  reduce: "sums", // for the maximum and minimum see `rule`
  argmax: "exact",
  matmul: "sums",
  conv: "sums",
  convInputGrad: "sums",
  convFilterGrad: "sums",
  maxPool: "monotone",
  maxPoolGrad: "sums",
  maxPoolPick: "moves",
  avgPool: "sums",
  avgPoolGrad: "sums",
  resize: "sums",
  resizeGrad: "sums",
  gather: "moves",
  scatterAdd: "sums",
  stopGradient: "moves",
  barrier: "moves",
  allReduce: "moves", // as in a group of one process
  broadcastFrom: "moves",
  send: "exact",
  receive: "exact",
};

/** Relative error, in units of 2⁻²⁴, that an element-wise function may add; WGSL 15.7.4 allows at least this. */
const unaryRounding: { readonly [F in UnaryFn]: number } = {
  neg: 0,
  abs: 0,
  sign: 0,
  floor: 0,
  exp: 8,
  log: 8,
  sqrt: 4,
  rsqrt: 4,
  sin: 8,
  cos: 8,
  tanh: 16,
  erf: 8,
  not: 0,
  isFinite: 0,
};

const binaryRounding: { readonly [F in BinaryFn]: number } = {
  add: 1,
  sub: 1,
  mul: 1,
  div: 5,
  pow: 64,
  max: 0,
  min: 0,
  rem: 0,
  and: 0,
  or: 0,
  xor: 0,
  shl: 0,
  shr: 0,
};

/**
 * Functions that devices with IEEE 754 arithmetic, such as those with bf16, compute in f32 to the last bit, as the
 * reference does.
 */
const exact: ReadonlySet<string> = new Set(["add", "sub", "mul"]);

/** The error that rounding inside one element-wise instruction adds to `value`, computed from operand `x`. */
function rounding(instruction: Instruction, dtype: DType, value: number, x: number): number {
  if (dtype === "bf16" && (!("fn" in instruction.attrs) || exact.has(instruction.attrs.fn))) return 0;
  switch (instruction.op) {
    case "unary": {
      const { fn } = instruction.attrs;
      let error = unaryRounding[fn] * EPS * Math.abs(value);
      if (fn === "exp") error += 2 * EPS * Math.abs(x * value); // range reduction is as accurate as x
      if (fn === "log" || fn === "tanh") error += 4 * EPS; // absolute, near zero
      if (fn === "sin" || fn === "cos") error += 4 * EPS; // absolute, near zeros
      return error;
    }
    case "binary": {
      const { fn } = instruction.attrs;
      const error = binaryRounding[fn] * EPS * Math.abs(value);
      return fn === "pow" ? error + 4 * EPS * Math.abs(value * Math.log(Math.abs(value) || 1)) : error;
    }
    case "cast":
    case "constant":
      return EPS * Math.abs(value);
    default:
      return 0;
  }
}

/** The relative error of a product in tf32, whose two operands are truncated to 10 bits. */
const TF32 = 2 * 2 ** -10;

/**
 * Runs a program in float64, rounding to bf16 where the program does, and bounds the error of each element in f32, or
 * in tf32 if products use it.
 */
export function evaluateBounded(
  program: Program,
  inputs: readonly ArrayLike<number>[],
  products: ProductPrecision = "f32",
): Bounded[] {
  const values = new Array<Value & Bounded>(program.values.length);
  program.inputs.forEach(({ value }, i) => {
    const given = inputs[i];
    const data = Float64Array.from(given instanceof Uint16Array ? fromBf16(given) : given);
    values[value] = { ...program.values[value], data, error: new Float64Array(data.length) };
  });
  for (const instruction of program.instructions) {
    const aval = program.values[instruction.output];
    const operands = instruction.inputs.map((input) => values[input]);
    const run = (dtypeOf: (aval: Aval) => DType): Apply => (from) => {
      const out = { ...aval, dtype: dtypeOf(aval), data: new Float64Array(sizeOf(aval.shape)) };
      const read = operands.map((operand, index) => (
        { ...operand, dtype: dtypeOf(operand), data: from(operand, index) }
      ));
      applyOp(instruction.op, out, read, instruction.attrs);
      return out.data;
    };
    const data = run(({ dtype }) => dtype)((operand) => operand.data);
    // Errors are smaller than the spacing of bf16, so they are computed before rounding.
    const unrounded = run(({ dtype }) => dtype === "bf16" ? "f32" : dtype);
    const error = isFloat(aval.dtype) || operands.some(({ error }) => error.some((e) => e > 0))
      ? errorOf(instruction, operands, data, aval.dtype, unrounded, products)
      : new Float64Array(data.length);
    if (isFloat(aval.dtype)) {
      data.forEach((x, i) => {
        if (Math.abs(x) >= OVERFLOW) data[i] = Math.sign(x) * Infinity;
        if (error[i] > 0) error[i] += TINY + (aval.dtype === "bf16" ? STEP * Math.abs(x) : 0);
      });
    }
    // The error of an infinity or a NaN is unknown, but the result must be one too.
    data.forEach((x, i) => {
      if (!Number.isFinite(x)) error[i] = 0;
      else if (Number.isNaN(error[i])) error[i] = Infinity;
    });
    values[instruction.output] = { ...aval, data, error };
  }
  return program.outputs.map(({ value }) => values[value]);
}

type Operand = Value & Bounded;
type Apply = (from: (operand: Operand, index: number) => Float64Array) => Float64Array;

/**
 * The factor by which a convolution's rounding errors may exceed those of its definition. A convolution with a dense 3
 * × 3 filter may be computed by minimal filtering (Lavin & Gray, CVPR 2016, arXiv 1509.09308), which sums more
 * products, some of which cancel. If signs are random, the squared error of a sum grows along each of two axes by 5/3
 * in F(2 × 2, 3 × 3), and by 2 in F(3 × 3, 2 × 2), which computes filter gradients.
 */
const FILTERING = 2;

function mayBeFiltered(instruction: Instruction, operands: readonly Operand[]): boolean {
  switch (instruction.op) {
    case "conv":
    case "convInputGrad":
    case "convFilterGrad": {
      const { attrs, op } = instruction;
      const filter = op === "convFilterGrad" ? instruction.attrs.filterShape : operands[1].shape;
      return filter[1] === 3 && filter[2] === 3 && attrs.groups === 1 &&
        [...attrs.strides, ...attrs.dilation].every((step) => step === 1);
    }
    default:
      return false;
  }
}

/** The operand that selects elements of the other, and must be exact. */
const choosers: { readonly [N in OpName]?: number } = {
  gather: 1,
  scatterAdd: 1,
  maxPoolGrad: 0,
  maxPoolPick: 0,
};

/** The ops that run on tensor cores. */
const productOps: ReadonlySet<OpName> = new Set(["matmul", "conv", "convInputGrad", "convFilterGrad"]);

function errorOf(
  instruction: Instruction,
  operands: readonly Operand[],
  data: Float64Array,
  dtype: DType,
  apply: Apply,
  products: ProductPrecision,
): Float64Array {
  /** The op with those elements replaced that select nothing. */
  const replaced = (f: (x: number, error: number) => number) =>
    apply(({ data, error }, index) =>
      index === choosers[instruction.op] ? data : data.map((x, i) => f(x, error[i]))
    );
  /** The largest distance of the op's result from `data` when its operands move to the ends of their intervals. */
  const reach = (signs: readonly (readonly number[])[]) => {
    const farthest = new Float64Array(data.length);
    if (operands.every(({ error }) => error.every((e) => e === 0))) return farthest;
    for (const sign of signs) {
      const end = apply((operand) => { // a value passed twice moves as one
        const direction = sign[operands.indexOf(operand)];
        return operand.data.map((x, i) => x + direction * operand.error[i]);
      });
      end.forEach((x, i) => farthest[i] = Math.max(farthest[i], Math.abs(x - data[i])));
    }
    return farthest;
  };
  switch (dependence[instruction.op]) {
    case "exact":
      return new Float64Array(data.length);
    case "moves":
      return replaced((_, error) => error);
    case "monotone":
      return reach([[1], [-1]]);
    case "pointwise": {
      const error = reach(CORNERS[operands.length]);
      if (!isFloat(dtype)) return error;
      const [x] = operands;
      unsteady(instruction, operands, error);
      return error.map((e, i) => e + rounding(instruction, dtype, data[i], x?.data[i]));
    }
    case "sums": {
      if (instruction.op === "reduce" && instruction.attrs.fn !== "sum") return reach([[1], [-1]]);
      const magnitude = replaced(Math.abs);
      const exact = operands.every(({ error }) => error.every((e) => e === 0));
      const widened = exact ? magnitude : replaced((x, error) => Math.abs(x) + error);
      const area = "window" in instruction.attrs
        ? instruction.attrs.window[0] * instruction.attrs.window[1]
        : 1;
      const summands = replaced(() => area);
      // Sums run in any order. The error of n summands may grow like √n up to a limit: adding 100,000 equal numbers one
      // by one is off by 1e-4 to 1e-3.
      const growth = mayBeFiltered(instruction, operands) ? FILTERING : 1;
      const relative = (n: number) => Math.min(1e-5, growth * (4 + 2 * Math.sqrt(n)) * EPS);
      const misplaced = positionError(instruction, operands);
      const cut = products === "tf32" && dtype === "f32" && productOps.has(instruction.op) ? TF32 : 0;
      return data.map((_, i) =>
        widened[i] - magnitude[i] + (relative(summands[i]) + cut) * magnitude[i] +
        misplaced * Math.max(1, summands[i])
      );
    }
  }
}

/** Widens errors where a function is not monotone between the ends of an interval. */
function unsteady(instruction: Instruction, [x, y]: readonly Operand[], error: Float64Array): void {
  if (!("fn" in instruction.attrs)) return;
  const { fn } = instruction.attrs;
  x.error.forEach((e, i) => {
    if ((fn === "sin" || fn === "cos") && e > 1) error[i] = 2;
    // A quotient may be on the other side of an integer.
    if (fn === "rem" && e + y.error[i] > 0) error[i] = Math.max(error[i], Math.abs(y.data[i]));
  });
}

/** All combinations of the ends of the operands' intervals, by the number of operands. */
const CORNERS: readonly (readonly (readonly number[])[])[] = [0, 1, 2, 3].map((operands) =>
  Array.from(
    { length: 2 ** operands },
    (_, bits) => Array.from({ length: operands }, (_, operand) => (bits >> operand) & 1 ? 1 : -1),
  )
);

/** The error that a resize's weights, computed in f32 from pixel positions, may add to each summand. */
function positionError(instruction: Instruction, [{ shape, data }]: readonly Operand[]): number {
  if (instruction.op !== "resize" && instruction.op !== "resizeGrad") return 0;
  const { height, width } = instruction.attrs;
  const largest = data.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  return 2 * EPS * (Math.max(height, shape[1]) + Math.max(width, shape[2])) * largest;
}
