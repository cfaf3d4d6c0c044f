import type { DType, Shape } from "./dtype.ts";

/** Element-wise functions of one operand. `isFinite` gives bool; `not` is logical on bool, bitwise on integers. */
export type UnaryFn =
  | "neg"
  | "abs"
  | "sign"
  | "floor"
  | "exp"
  | "log"
  | "sqrt"
  | "rsqrt"
  | "sin"
  | "cos"
  | "tanh"
  | "not"
  | "isFinite";

/**
 * Element-wise functions of two operands of the same shape and dtype. Integer `div` truncates; `rem` takes the sign of
 * the dividend; an integer divided by 0 is itself and leaves no rest, as in WGSL, and all that overflows wraps;
 * `and`/`or`/`xor` are logical on bool and bitwise on integers; shifts are for integers, by the count modulo 32 (`shr`
 * is arithmetic on i32, logical on u32). `max` and `min` are NaN where either operand is; so is `sign` of a NaN.
 */
export type BinaryFn =
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "pow"
  | "max"
  | "min"
  | "rem"
  | "and"
  | "or"
  | "xor"
  | "shl"
  | "shr";

/** Comparisons: two operands of the same shape and dtype, bool result. */
export type CompareFn = "eq" | "ne" | "lt" | "le" | "gt" | "ge";

/** Associative reductions. `max` and `min` are NaN where any element is. */
export type ReduceFn = "sum" | "max" | "min";

/** `[before, after]` along one axis. */
export type Pair = readonly [number, number];

/** Geometry of a 2-D convolution, each pair `[height, width]`; padding is `[[top, bottom], [left, right]]`, in pixels. */
export interface ConvAttrs {
  /** Steps between windows. */
  readonly strides: Pair;
  /** Zero rows and columns around the image. */
  readonly padding: readonly [Pair, Pair];
  /** Distance between taps; 1 is an ordinary convolution. */
  readonly dilation: Pair;
  /** Channel groups; the filter's last axis holds `channels / groups`. */
  readonly groups: number;
}

/** Geometry of a 2-D pooling window. */
export interface PoolAttrs {
  /** Window height and width. */
  readonly window: Pair;
  /** Steps between windows. */
  readonly strides: Pair;
  /** Rows and columns around the image: −∞ for max pooling; zeros, counted in the mean, for average pooling. */
  readonly padding: readonly [Pair, Pair];
}

/** The attributes of each primitive op. This interface is the list of ops: every table over ops is keyed by it. */
export interface OpAttrs {
  /** Element-wise, one operand. */
  unary: { readonly fn: UnaryFn };
  /** Element-wise, two operands of the same shape and dtype. */
  binary: { readonly fn: BinaryFn };
  /** Element-wise comparison, bool result. */
  compare: { readonly fn: CompareFn };
  /** `select(condition: bool, a, b)`, element-wise: a where true. */
  select: Record<never, never>;
  /** Converts; to bf16 rounds to nearest even; float → integer truncates toward zero, out of range to its nearest end, NaN to 0; anything ≠ 0 is true; u8 may be read, not made. */
  cast: { readonly dtype: DType };
  /** A literal: one value for all of `shape`, or one per element (at most 1024, row-major). */
  constant: { readonly shape: Shape; readonly dtype: DType; readonly values: readonly number[] };
  /** Each element is its own index along `axis`. */
  iota: { readonly shape: Shape; readonly dtype: "f32" | "i32" | "u32"; readonly axis: number };
  /** `randomBits(key: u32[2])`: element i (row-major) is word 0 of Threefry-2×32-20(key, (i, 0)). */
  randomBits: { readonly shape: Shape };
  /** Same rank; axes of extent 1 are repeated to `shape`. */
  broadcast: { readonly shape: Shape };
  /** Same elements, row-major, other shape. A view: takes no memory of its own. */
  reshape: { readonly shape: Shape };
  /** Axis i of the result is axis `permutation[i]` of the operand. */
  transpose: { readonly permutation: readonly number[] };
  /** Elements `starts, starts + strides, … < limits` of each axis. */
  slice: { readonly starts: Shape; readonly limits: Shape; readonly strides: Shape };
  /** Puts `low`/`high` zeros around and `interior` zeros between the elements of each axis. */
  pad: { readonly low: Shape; readonly high: Shape; readonly interior: Shape };
  /** Joins operands along `axis`. */
  concat: { readonly axis: number };
  /** Reduces `axes` away. */
  reduce: { readonly fn: ReduceFn; readonly axes: readonly number[] };
  /** Index (i32) of the first maximum along `axis`, which goes away; that of the first NaN where there is one. */
  argmax: { readonly axis: number };
  /** `[…, M, K] × […, K, N]`, at most one leading batch axis; transposes swap an operand's last two axes first. */
  matmul: { readonly transposeA: boolean; readonly transposeB: boolean };
  /** `conv(image NHWC, filter KRSC)`: cross-correlation. */
  conv: ConvAttrs;
  /** `convInputGrad(dy NPQK, filter KRSC)`: the gradient of `conv` to an image of `inputShape`. */
  convInputGrad: ConvAttrs & { readonly inputShape: Shape };
  /** `convFilterGrad(image NHWC, dy NPQK)`: the gradient of `conv` to a filter of `filterShape`. */
  convFilterGrad: ConvAttrs & { readonly filterShape: Shape };
  /** `maxPool(image NHWC)`. A NaN is a window's maximum, here and in what follows. */
  maxPool: PoolAttrs;
  /** `maxPoolGrad(image, dy)`: dy added at each window's first maximum. */
  maxPoolGrad: PoolAttrs;
  /** `maxPoolPick(image, v)`: v (image-shaped) at each window's first maximum; the gradient of `maxPoolGrad` to dy. */
  maxPoolPick: PoolAttrs;
  /** `avgPool(image NHWC)`: mean over the whole window, padding counted. */
  avgPool: PoolAttrs;
  /** `avgPoolGrad(dy)`: the gradient of `avgPool` to an image of `inputShape`. */
  avgPoolGrad: PoolAttrs & { readonly inputShape: Shape };
  /** Bilinear resize of an NHWC image, as PyTorch's `interpolate(mode="bilinear")`. */
  resize: { readonly height: number; readonly width: number; readonly alignCorners: boolean };
  /** `resizeGrad(dy)`: the gradient of `resize` to an image of `height` × `width`. */
  resizeGrad: { readonly height: number; readonly width: number; readonly alignCorners: boolean };
  /** `gather(operand, indices: i32 | u32)`: rows of axis 0, indices clamped into range; a u8 operand is read as f32. */
  gather: Record<never, never>;
  /** `scatterAdd(updates, indices)`: the gradient of `gather` to `rows` rows; adds in an order of its own, always the same. f32 only. */
  scatterAdd: { readonly rows: number };
  /** Identity whose gradient is zero. A view. */
  stopGradient: Record<never, never>;
  /** Identity that no pass merges or looks through: it keeps a recomputation apart from the original. A view. */
  barrier: Record<never, never>;
}

/** The operands of each op, each a `T`; `concat` takes any number. */
export interface OpOperands<T> {
  unary: readonly [T];
  binary: readonly [T, T];
  compare: readonly [T, T];
  select: readonly [T, T, T];
  cast: readonly [T];
  constant: readonly [];
  iota: readonly [];
  randomBits: readonly [T];
  broadcast: readonly [T];
  reshape: readonly [T];
  transpose: readonly [T];
  slice: readonly [T];
  pad: readonly [T];
  concat: readonly T[];
  reduce: readonly [T];
  argmax: readonly [T];
  matmul: readonly [T, T];
  conv: readonly [T, T];
  convInputGrad: readonly [T, T];
  convFilterGrad: readonly [T, T];
  maxPool: readonly [T];
  maxPoolGrad: readonly [T, T];
  maxPoolPick: readonly [T, T];
  avgPool: readonly [T];
  avgPoolGrad: readonly [T];
  resize: readonly [T];
  resizeGrad: readonly [T];
  gather: readonly [T, T];
  scatterAdd: readonly [T, T];
  stopGradient: readonly [T];
  barrier: readonly [T];
}

/** The name of a primitive op. */
export type OpName = keyof OpAttrs;

/**
 * How the compiler computes an op:
 *
 * - `pointwise`: within a fused kernel, point by point, so that its result needs no memory of its own.
 * - `view`: not at all; the result is the operand's memory under another name.
 * - `pointwise view`: either, as the kernel around it has it.
 * - `reduction`: at the end of a fused kernel.
 * - `structured`: as a step of its own, which every backend implements.
 */
type OpKind = "pointwise" | "view" | "pointwise view" | "reduction" | "structured";

/** The kind of each op. All types and predicates below follow from it. */
const kinds = {
  unary: "pointwise",
  binary: "pointwise",
  compare: "pointwise",
  select: "pointwise",
  cast: "pointwise",
  constant: "pointwise",
  iota: "pointwise",
  randomBits: "pointwise",
  broadcast: "pointwise",
  reshape: "pointwise view",
  transpose: "pointwise",
  slice: "pointwise",
  pad: "structured",
  concat: "structured",
  reduce: "reduction",
  argmax: "structured",
  matmul: "structured",
  conv: "structured",
  convInputGrad: "structured",
  convFilterGrad: "structured",
  maxPool: "structured",
  maxPoolGrad: "structured",
  maxPoolPick: "structured",
  avgPool: "structured",
  avgPoolGrad: "structured",
  resize: "structured",
  resizeGrad: "structured",
  gather: "structured",
  scatterAdd: "structured",
  stopGradient: "view",
  barrier: "view",
} as const satisfies { readonly [N in OpName]: OpKind };

type OpsOf<K extends OpKind> = { [N in OpName]: (typeof kinds)[N] extends K ? N : never }[OpName];

/** Ops that a fused kernel evaluates point by point, so that their results need no memory of their own. */
export type FusableOp = OpsOf<"pointwise" | "pointwise view">;

/** Ops whose result can be their operand's memory under another name. */
export type ViewOp = OpsOf<"view" | "pointwise view">;

/** Ops that are a step of their own in a plan: every backend implements each. */
export type StructuredOp = OpsOf<"structured">;

/** Tests whether a fused kernel evaluates an op point by point. */
export function isFusable(op: OpName): op is FusableOp {
  return kinds[op] === "pointwise" || kinds[op] === "pointwise view";
}

/** Tests whether an op's result can be its operand's memory under another name. */
export function isView(op: OpName): op is ViewOp {
  return kinds[op] === "view" || kinds[op] === "pointwise view";
}

/** Tests whether an op is a step of its own in a plan. */
export function isStructured(op: OpName): op is StructuredOp {
  return kinds[op] === "structured";
}
