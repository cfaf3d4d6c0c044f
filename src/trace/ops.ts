import type { DType, Shape } from "./dtype.ts";

/** Element-wise functions of one operand. `isFinite` returns bool; `not` is logical on bool, bitwise on integers. */
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
  | "erf"
  | "not"
  | "isFinite";

/**
 * Element-wise functions of two operands of the same shape and dtype. Integer arithmetic wraps; `div` truncates, and
 * `rem` takes the sign of the dividend. As in WGSL, an integer divided by 0 is itself, with remainder 0.
 * `and`/`or`/`xor` are logical on bool and bitwise on integers. Shifts of integers are by the count modulo 32 (`shr` is
 * arithmetic on i32, logical on u32). `max` and `min` are NaN where either operand is; so is `sign` of a NaN.
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

/** Element-wise comparisons of two operands of the same shape and dtype; the result is bool. */
export type CompareFn = "eq" | "ne" | "lt" | "le" | "gt" | "ge";

/** Associative reductions. `max` and `min` are NaN where any element is. */
export type ReduceFn = "sum" | "max" | "min";

/** Reductions over the processes of a group; the result of `max` and `min` is unspecified where an element is NaN. */
export type AllReduceFn = ReduceFn;

/** `[before, after]` along one axis. */
export type Pair = readonly [number, number];

/** Geometry of a 2-D convolution, in pixels. Pairs are `[height, width]`; padding is `[[top, bottom], [left, right]]`. */
export interface ConvAttrs {
  /** Step of the kernel. */
  readonly strides: Pair;
  /** Zero rows and columns around the image. */
  readonly padding: readonly [Pair, Pair];
  /** Distance between the taps of the kernel; 1 for an ordinary convolution. */
  readonly dilation: Pair;
  /** Channel groups; the last axis of the filter has `channels / groups` elements. */
  readonly groups: number;
}

/** Geometry of 2-D pooling, in pixels. Pairs are `[height, width]`; padding is `[[top, bottom], [left, right]]`. */
export interface PoolAttrs {
  /** Size of the window. */
  readonly window: Pair;
  /** Step of the window. */
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
  /**
   * Conversion. To bf16 it rounds to nearest even; from floating point to an integer it truncates toward zero, saturates,
   * and turns NaN into 0; to bool it tests for ≠ 0. It reads u8 but does not produce it.
   */
  cast: { readonly dtype: DType };
  /** A literal: one value for all elements of `shape`, or one for each (at most 1024, row-major). */
  constant: { readonly shape: Shape; readonly dtype: DType; readonly values: readonly number[] };
  /** The index of each element along `axis`. */
  iota: { readonly shape: Shape; readonly dtype: "f32" | "i32" | "u32"; readonly axis: number };
  /** `randomBits(key: u32[2])`: element i (row-major) is one of the two words of Threefry-2×32-20(key, (i, 0)). */
  randomBits: { readonly shape: Shape; readonly word: 0 | 1 };
  /** Repeats axes of extent 1 to `shape`, which has the same rank. */
  broadcast: { readonly shape: Shape };
  /** The same elements, row-major, in another shape. A view: it needs no memory of its own. */
  reshape: { readonly shape: Shape };
  /** Axis i of the result is axis `permutation[i]` of the operand. */
  transpose: { readonly permutation: readonly number[] };
  /** Elements `starts, starts + strides, … < limits` of each axis. */
  slice: { readonly starts: Shape; readonly limits: Shape; readonly strides: Shape };
  /** Adds zeros before (`low`), after (`high`) and between (`interior`) the elements of each axis. */
  pad: { readonly low: Shape; readonly high: Shape; readonly interior: Shape };
  /** Joins operands along `axis`. */
  concat: { readonly axis: number };
  /** Reduces `axes`, which are removed. */
  reduce: { readonly fn: ReduceFn; readonly axes: readonly number[] };
  /** Index (i32) of the first maximum along `axis`, which is removed; of the first NaN if there is one. */
  argmax: { readonly axis: number };
  /** `[…, M, K] × […, K, N]` with at most one batch axis; the transposes swap the last two axes of an operand first. */
  matmul: { readonly transposeA: boolean; readonly transposeB: boolean };
  /** `conv(image NHWC, filter KRSC)`: cross-correlation. */
  conv: ConvAttrs;
  /** `convInputGrad(dy NPQK, filter KRSC)`: the gradient of `conv` to an image of `inputShape`. */
  convInputGrad: ConvAttrs & { readonly inputShape: Shape };
  /** `convFilterGrad(image NHWC, dy NPQK)`: the gradient of `conv` to a filter of `filterShape`. */
  convFilterGrad: ConvAttrs & { readonly filterShape: Shape };
  /** `maxPool(image NHWC)`. A NaN is the maximum of its window, here and in the next two ops. */
  maxPool: PoolAttrs;
  /** `maxPoolGrad(image, dy)`: dy added at the first maximum of each window. */
  maxPoolGrad: PoolAttrs;
  /** `maxPoolPick(image, v)`: v (image-shaped) at the first maximum of each window; the gradient of `maxPoolGrad` to dy. */
  maxPoolPick: PoolAttrs;
  /** `avgPool(image NHWC)`: mean over the whole window, padding included. */
  avgPool: PoolAttrs;
  /** `avgPoolGrad(dy)`: the gradient of `avgPool` to an image of `inputShape`. */
  avgPoolGrad: PoolAttrs & { readonly inputShape: Shape };
  /** Bilinear resize of an NHWC image, as PyTorch's `interpolate(mode="bilinear")`. */
  resize: { readonly height: number; readonly width: number; readonly alignCorners: boolean };
  /** `resizeGrad(dy)`: the gradient of `resize` to an image of `height` × `width`. */
  resizeGrad: { readonly height: number; readonly width: number; readonly alignCorners: boolean };
  /** `gather(operand, indices: i32 | u32)`: rows of axis 0 (PyTorch's `index_select`), indices clamped into range; a u8 operand gives f32. */
  gather: Record<never, never>;
  /** `scatterAdd(updates, indices)`: the gradient of `gather` to `rows` rows. Adds in a fixed order, so sums are reproducible. */
  scatterAdd: { readonly rows: number };
  /** Identity whose gradient is zero. A view. */
  stopGradient: Record<never, never>;
  /** Identity that no pass merges or looks through: it keeps a recomputation apart from the original. A view. */
  barrier: Record<never, never>;
  /** Each element's sum, maximum or minimum over all processes of `group`, on every one of them. */
  allReduce: { readonly group: string; readonly fn: AllReduceFn };
  /** The operand of the process `root` of `group`, on every process of it. */
  broadcastFrom: { readonly group: string; readonly root: number };
  /**
   * Sends the operand to the process `to` of `group`; the result is empty. The value is copied to one of `depth` slots, so
   * that the sender goes on; it waits only while all of them are still on their way.
   */
  send: { readonly group: string; readonly to: number; readonly tag: number; readonly depth: number };
  /** A value of `shape` and `dtype` from the process `from` of `group`. */
  receive: {
    readonly shape: Shape;
    readonly dtype: DType;
    readonly group: string;
    readonly from: number;
    readonly tag: number;
  };
}

/** The operands of each op, each a `T`; `concat` takes any number. */
export type OpOperands<T> = {
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
  allReduce: readonly [T];
  broadcastFrom: readonly [T];
  send: readonly [T];
  receive: readonly [];
};

/** The name of a primitive op. */
export type OpName = keyof OpAttrs;

/** Ops that a fused kernel evaluates point by point, so that their results need no memory of their own. */
export type FusableOp =
  | "unary"
  | "binary"
  | "compare"
  | "select"
  | "cast"
  | "constant"
  | "iota"
  | "randomBits"
  | "broadcast"
  | "reshape"
  | "transpose"
  | "slice";

/** Ops whose result can be their operand's memory under another name. */
export type ViewOp = "reshape" | "stopGradient" | "barrier";

/**
 * Ops by which processes exchange data: effects in a fixed order. They are never removed, merged, repeated or exchanged
 * with each other, because the other processes wait for each.
 */
export type CollectiveOp = "allReduce" | "broadcastFrom" | "send" | "receive";

/** Ops that are a step of their own in a plan: every backend implements each. */
export type StructuredOp = Exclude<OpName, FusableOp | ViewOp | CollectiveOp | "reduce">;

/**
 * The compiler's way to compute an op:
 *
 * - `pointwise`: within a fused kernel, point by point.
 * - `view`: not at all.
 * - `pointwise view`: either, depending on the kernel around it.
 * - `reduction`: at the end of a fused kernel.
 * - `structured`: as a step of its own.
 * - `collective`: as a step of its own, together with other processes.
 */
type OpKind<N extends OpName> = N extends FusableOp & ViewOp ? "pointwise view"
  : N extends FusableOp ? "pointwise"
  : N extends ViewOp ? "view"
  : N extends StructuredOp ? "structured"
  : N extends CollectiveOp ? "collective"
  : "reduction";

/** The kind of each op. */
const kinds: { readonly [N in OpName]: OpKind<N> } = {
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
  allReduce: "collective",
  broadcastFrom: "collective",
  send: "collective",
  receive: "collective",
};

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

/** Tests whether an op exchanges data with other processes. */
export function isCollective(op: OpName): op is CollectiveOp {
  return kinds[op] === "collective";
}
