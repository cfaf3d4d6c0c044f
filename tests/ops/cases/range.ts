/**
 * The whole range of f32, through functions of one operand and their gradients, against formulas in float64.
 *
 * @module
 */
import { clamp, gelu, silu } from "../../../src/trace/activations.ts";
import { unary } from "../../../src/trace/elementwise.ts";
import type { Tensor } from "../../../src/trace/tensor.ts";
import { derivative, type Differentiable, record } from "../../gradients.ts";
import type { HostData } from "../../../src/trace/dtype.ts";
import type { Case } from "../check.ts";
import type { Random } from "../random.ts";
import type { Bounded } from "../bounds.ts";

/** Half the distance between neighbouring f32 values, relative to them. */
const EPS = 2 ** -24;
/** Below this, f32 is denormal, which WebGPU may flush to zero on input and output. */
const TINY = 2 ** -126;
/** From here on, f32 rounds to infinity. */
const OVERFLOW = (2 - 2 ** -24) * 2 ** 127;

/** A function or its derivative in float64, and the errors it may have: relative and absolute, in units of 2⁻²⁴. */
interface Formula {
  readonly f: (x: number) => number;
  readonly relative: number | ((x: number) => number);
  readonly absolute: number;
}

/** A function of the library, with formulas for its value and its derivative. */
interface Ranged {
  readonly f: Differentiable;
  readonly value: Formula;
  readonly slope: Formula;
}

const formula = (
  f: (x: number) => number,
  relative: Formula["relative"] = 0,
  absolute = 0,
): Formula => ({ f, relative, absolute });

/** The error of eˣ: x itself is rounded while its range is reduced. */
const power = (x: number): number => 12 + 2 * Math.min(Math.abs(x), 104);

const erf = unary("erf", "f32");
const logistic = (x: number): number => x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x));

/** Every unary function of real numbers, and functions composed of them. */
const ranged: Readonly<Record<string, Ranged>> = {
  neg: { f: (x) => x.neg(), value: formula((x) => -x), slope: formula(() => -1) },
  abs: { f: (x) => x.abs(), value: formula(Math.abs), slope: formula(Math.sign) },
  sign: { f: (x) => x.sign(), value: formula(Math.sign), slope: formula(() => 0) },
  floor: { f: (x) => x.floor(), value: formula(Math.floor), slope: formula(() => 0) },
  exp: { f: (x) => x.exp(), value: formula(Math.exp, power), slope: formula(Math.exp, power) },
  log: { f: (x) => x.log(), value: formula(Math.log, 8, 4), slope: formula((x) => 1 / x, 5) },
  sqrt: { f: (x) => x.sqrt(), value: formula(Math.sqrt, 4), slope: formula((x) => 0.5 / Math.sqrt(x), 10) },
  rsqrt: {
    f: (x) => x.rsqrt(),
    value: formula((x) => 1 / Math.sqrt(x), 4),
    slope: formula((x) => -0.5 * (1 / Math.sqrt(x)) ** 3, 16),
  },
  sin: { f: (x) => x.sin(), value: formula(Math.sin, 8, 4), slope: formula(Math.cos, 8, 4) },
  cos: { f: (x) => x.cos(), value: formula(Math.cos, 8, 4), slope: formula((x) => -Math.sin(x), 8, 4) },
  // 1 − tanh² is computed from the result, so near ±1 it is only as accurate as that.
  tanh: {
    f: (x) => x.tanh(),
    value: formula(Math.tanh, 16, 4),
    slope: formula((x) => 1 / Math.cosh(x) ** 2, 16, 40),
  },
  isFinite: {
    f: (x) => x.isFinite().cast("f32"),
    value: formula((x) => Number.isFinite(x) ? 1 : 0),
    slope: formula(() => 0),
  },
  square: { f: (x) => x.square(), value: formula((x) => x * x, 1), slope: formula((x) => 2 * x, 1) },
  relu: { f: (x) => x.relu(), value: formula((x) => Math.max(x, 0)), slope: formula((x) => x <= 0 ? 0 : 1) },
  clamp: {
    f: (x) => x.maximum(-2).minimum(3),
    value: formula((x) => Math.min(3, Math.max(-2, x))),
    slope: formula((x) => x <= -2 || x >= 3 ? 0 : 1),
  },
  erf: {
    f: (x) => x.erf(),
    value: formula(erf, 8),
    slope: formula((x) => 2 / Math.sqrt(Math.PI) * Math.exp(-x * x), (x) => 12 + 4 * Math.min(x * x, 104)),
  },
  // 1 + erf cancels for negative x, as in PyTorch.
  gelu: {
    f: (x) => gelu(x),
    value: formula((x) => x * 0.5 * (1 + erf(x * Math.SQRT1_2)), 16, 24),
    slope: formula(
      (x) => 0.5 * (1 + erf(x * Math.SQRT1_2)) + x * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI),
      16,
      40,
    ),
  },
  silu: {
    f: silu,
    value: formula((x) => x * logistic(x), power, 4),
    slope: formula((x) => logistic(x) + x * logistic(x) * logistic(-x), power, 24),
  },
  "clamp at its limits": {
    f: (x) => clamp(x, { min: -2, max: 3 }),
    value: formula((x) => Math.min(3, Math.max(-2, x))),
    slope: formula((x) => x <= -2 || x >= 3 ? 0 : 1),
  },
  "maximum of −0": {
    f: (x) => x.maximum(-0),
    value: formula((x) => Math.max(x, -0)),
    slope: formula((x) => x <= 0 ? 0 : 1),
  },
  "minimum of 0": {
    f: (x) => x.minimum(0),
    value: formula((x) => Math.min(x, 0)),
    slope: formula((x) => x >= 0 ? 0 : 1),
  },
  "minimum of −0": {
    f: (x) => x.minimum(-0),
    value: formula((x) => Math.min(x, -0)),
    slope: formula((x) => x >= 0 ? 0 : 1),
  },
  "maximum of x and −x": {
    f: (x) => x.maximum(x.neg()),
    value: formula(Math.abs),
    slope: formula((x) => x > 0 ? 1 : x <= 0 ? -1 : 0),
  },
  "minimum of x and −x": {
    f: (x) => x.minimum(x.neg()),
    value: formula((x) => Math.min(x, -x)),
    slope: formula((x) => x < 0 ? 1 : x >= 0 ? -1 : 0),
  },
  "times −0": { f: (x) => x.mul(-0), value: formula((x) => x * -0), slope: formula(() => -0) },
  "plus 0": { f: (x) => x.add(0), value: formula((x) => x + 0), slope: formula(() => 1) },
  "minus 0": { f: (x) => x.sub(0), value: formula((x) => x - 0), slope: formula(() => 1) },
  "pow 3": {
    f: (x) => x.pow(3),
    value: formula((x) => x ** 3, 500),
    slope: formula((x) => 3 * x ** 2, 1000),
  },
  sigmoid: {
    f: (x) => x.sigmoid(),
    value: formula((x) => 1 / (1 + Math.exp(-x)), power),
    slope: formula((x) => Math.exp(-Math.abs(x)) / (1 + Math.exp(-Math.abs(x))) ** 2, (x) => 2 * power(x)),
  },
  "pow 0": { f: (x) => x.pow(0), value: formula(() => 1), slope: formula(() => 0) },
  "1 to the power": { f: (x) => one(x).pow(x), value: formula(() => 1), slope: formula(() => 0) },
  "pow 1.5": {
    f: (x) => x.pow(1.5),
    value: formula((x) => x ** 1.5, 500),
    slope: formula((x) => 1.5 * x ** 0.5, 500),
  },
  "pow −1": {
    f: (x) => x.pow(-1),
    value: formula((x) => x ** -1, 500),
    slope: formula((x) => -(x ** -2), 1000),
  },
  "division by 0": { f: (x) => x.div(0), value: formula((x) => x / 0), slope: formula(() => Infinity) },
  "division of 1": {
    f: (x) => one(x).div(x),
    value: formula((x) => 1 / x, 5),
    slope: formula((x) => -1 / x / x, 10),
  },
  "rem 3": { f: (x) => x.rem(3), value: formula((x) => x % 3), slope: formula(() => 1) },
  "rem 0.1": {
    f: (x) => x.rem(Math.fround(0.1)),
    value: formula((x) => x % Math.fround(0.1)),
    slope: formula(() => 1),
  },
  "rem ∞": { f: (x) => x.rem(Infinity), value: formula((x) => x % Infinity), slope: formula(() => 1) },
};

/** A 1 that the compiler cannot fold. */
function one(x: Tensor): Tensor {
  return x.eq(x).or(x.ne(x)).cast("f32");
}

const SIZES = [
  ...[
    0,
    2 ** -149,
    1e-40,
    2 ** -126,
    1e-30,
    1e-20,
    1e-8,
    1e-4,
    0.1,
    0.5,
    1 - EPS,
    1,
    1 + 2 * EPS,
    1.5,
    Math.PI / 2,
  ],
  ...[
    2,
    3,
    Math.PI,
    10,
    15,
    16,
    17,
    18,
    20,
    30,
    40,
    60,
    80,
    86,
    87,
    88,
    88.7,
    88.72283935546875, // the first whose exponential overflows
    89,
    95,
    103,
    104,
    110,
    1000,
    8191,
    8192,
  ],
  ...[16384, 1e6, 2 ** 24, 2 ** 25, 1e9, 1e10, 1e20, 1e30, 16367173 * 2 ** 72, 3e38, OVERFLOW, Infinity, NaN],
];

/** A case with one result, and its expected values. */
export interface RangeCase extends Case {
  /** The expected value for each argument. */
  readonly want: Bounded;
  /** The expected values if denormal arguments are flushed to zero. */
  readonly flushed: Bounded;
}

/** Values and gradients of every function. Where a function is undefined, its gradient may be anything. */
export function rangeCases(random: Random): RangeCase[] {
  const drawn = Array.from(
    { length: 80 },
    () => 2 ** (random.unit() * 276 - 148) * (random.chance(0.5) ? -1 : 1),
  );
  const x = Float32Array.from([...SIZES, ...SIZES.map((size) => -size), ...drawn]);
  const ones = new Float32Array(x.length).fill(1);
  const flushed = x.map((x) => Math.abs(x) < TINY ? 0 * x : x);
  return Object.entries(ranged).flatMap(([name, { f, value, slope }]): RangeCase[] => [
    {
      label: name,
      program: record(f, [[x.length]]),
      inputs: [x],
      want: bounded(x, value, value),
      flushed: bounded(flushed, value, value, TINY),
    },
    {
      label: `the gradient of ${name}`,
      program: record(derivative(f), [[x.length], [x.length]]),
      inputs: [x, ones],
      want: bounded(x, slope, value),
      flushed: bounded(flushed, slope, value, TINY),
    },
  ]);
}

/** The least f32 above 0. */
const LEAST = 2 ** -149;

/** A formula evaluated at each argument, with the allowed error. */
function bounded(
  x: Float32Array,
  { f, relative, absolute }: Formula,
  value: Formula,
  tiny: number = 4 * LEAST,
): Bounded {
  const data = Float64Array.from(x, (x) => {
    const y = f(x);
    return Math.abs(y) >= OVERFLOW ? Math.sign(y) * Infinity : y;
  });
  const error = data.map((y, i) => {
    if (Number.isNaN(value.f(x[i])) && !Number.isNaN(x[i]) && value.f !== f) return Infinity;
    const units = typeof relative === "number" ? relative : relative(x[i]);
    const exact = relative === 0 && Math.fround(y) === y;
    // A denormal result has fewer digits.
    return (exact && tiny < TINY) || !Number.isFinite(y) ? 0 : EPS * (units * Math.abs(y) + absolute) + tiny;
  });
  return { data, error };
}

/** The value that a result is compared with: the nearer one if denormals may be flushed to zero. */
export function wanted({ want, flushed }: RangeCase, got: HostData, flushes: boolean): Bounded {
  if (!flushes) return want;
  const choose = (i: number): Bounded =>
    Math.abs(got[i] - flushed.data[i]) <= flushed.error[i] || Object.is(got[i], flushed.data[i])
      ? flushed
      : want;
  return {
    data: want.data.map((_, i) => choose(i).data[i]),
    error: want.data.map((_, i) => choose(i).error[i]),
  };
}
