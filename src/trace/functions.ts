import { LocalgradError } from "../base/errors.ts";
import { expectKind, expectOptions } from "../base/expect.ts";
import { type DType, requireShape, type Shape, sizeOf } from "./dtype.ts";
import type { Pair } from "./ops.ts";
import { broadcastShape, constantLike, expectTensor, type Operand, type Tensor } from "./tensor.ts";
import { currentTrace } from "./trace.ts";

/** Padding of a window: pixels on every side, or `[[top, bottom], [left, right]]`. */
export type Padding = number | readonly [Pair, Pair];

/** One number for both axes, or `[height, width]`. */
export type Both = number | Pair;

/** Options of {@link conv2d}. */
export interface Conv2dOptions {
  /** Steps between windows; default 1. */
  strides?: Both;
  /** Zeros around the image; default 0. */
  padding?: Padding;
  /** Distance between taps; default 1. */
  dilation?: Both;
  /** Channel groups; default 1. */
  groups?: number;
}

/** Options of {@link maxPool} and {@link avgPool}. */
export interface PoolOptions {
  /** Window height and width. */
  window: Both;
  /** Steps between windows; default: the window. */
  strides?: Both;
  /** Padding; default 0. */
  padding?: Padding;
}

function both(value: Both): Pair {
  if (typeof value !== "number") expectKind("a pair of numbers", value, "array");
  return typeof value === "number" ? [value, value] : value;
}

function sides(padding: Padding): readonly [Pair, Pair] {
  if (typeof padding !== "number") expectKind("padding", padding, "array");
  return typeof padding === "number" ? [[padding, padding], [padding, padding]] : padding;
}

/** Cross-correlation of an NHWC image with a filter `[out, height, width, in / groups]`. */
export function conv2d(image: Tensor, filter: Tensor, options: Conv2dOptions = {}): Tensor {
  expectTensor("conv2d", image, filter);
  expectOptions("conv2d", options, { strides: "any?", padding: "any?", dilation: "any?", groups: "number?" });
  const { strides = 1, padding = 0, dilation = 1, groups = 1 } = options;
  const attrs = { strides: both(strides), padding: sides(padding), dilation: both(dilation), groups };
  return image.trace.emit("conv", [image, filter], attrs);
}

function poolAttrs(options: PoolOptions) {
  expectOptions("a pooling", options, { window: "any", strides: "any?", padding: "any?" });
  const { window, strides = window, padding = 0 } = options;
  return { window: both(window), strides: both(strides), padding: sides(padding) };
}

/** Largest of each window of an NHWC image; NaN where the window holds one. */
export function maxPool(image: Tensor, options: PoolOptions): Tensor {
  expectTensor("maxPool", image);
  return image.trace.emit("maxPool", [image], poolAttrs(options));
}

/** Mean of each window of an NHWC image; padding counts as zeros. */
export function avgPool(image: Tensor, options: PoolOptions): Tensor {
  expectTensor("avgPool", image);
  return image.trace.emit("avgPool", [image], poolAttrs(options));
}

/** Bilinear resize of an NHWC image; `alignCorners` (default false) as PyTorch's `interpolate`. */
export function resizeBilinear(
  image: Tensor,
  size: Both,
  options: { alignCorners?: boolean } = {},
): Tensor {
  expectTensor("resizeBilinear", image);
  expectOptions("resizeBilinear", options, { alignCorners: "boolean?" });
  const [height, width] = both(size);
  return image.trace.emit("resize", [image], { height, width, alignCorners: options.alignCorners ?? false });
}

/** `condition ? a : b`, element-wise, with broadcasting; at least one of a and b is a tensor. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  const like = typeof a === "number" ? b : a;
  if (typeof like === "number") throw new LocalgradError("where: at least one branch must be a tensor");
  expectTensor("where", condition, like, typeof b === "number" ? like : b);
  const x = typeof a === "number" ? constantLike(a, like) : a;
  const y = typeof b === "number" ? constantLike(b, like) : b;
  const shape = [x, y].reduce<Shape | undefined>(
    (shape, t) => shape && broadcastShape(shape, t.shape),
    condition.shape,
  );
  if (shape === undefined) return condition.trace.emit("select", [condition, x, y], {});
  return condition.trace.emit("select", [condition, x, y].map((t) => t.broadcastTo(shape)), {});
}

/** Joins tensors along an axis. */
export function concat(tensors: readonly Tensor[], axis: number = 0): Tensor {
  expectKind("concat: what is joined", tensors, "array");
  if (tensors.length === 0) throw new LocalgradError("concat: needs at least one tensor");
  expectTensor("concat", ...tensors);
  return tensors[0].trace.emit("concat", tensors, { axis: axis < 0 ? axis + tensors[0].rank : axis });
}

/** Joins tensors of one shape along a new axis. */
export function stack(tensors: readonly Tensor[], axis: number = 0): Tensor {
  expectKind("stack: what is joined", tensors, "array");
  if (tensors.length === 0) throw new LocalgradError("stack: needs at least one tensor");
  expectTensor("stack", ...tensors);
  const at = axis < 0 ? axis + tensors[0].rank + 1 : axis;
  return concat(tensors.map((t) => t.reshape(...t.shape.slice(0, at), 1, ...t.shape.slice(at))), at);
}

/**
 * Adds rows `updates` at `indices` (clamped into range) of `rows` rows of zeros, in an order that depends on shapes
 * alone, so that sums have the same bits every time. On a GPU each row looks through all indices for its own: the work is `rows` × updates.
 */
export function scatterAdd(updates: Tensor, indices: Tensor, rows: number): Tensor {
  expectTensor("scatterAdd", updates, indices);
  return updates.trace.emit("scatterAdd", [updates, indices], { rows });
}

/** A tensor filled with one value. */
export function full(shape: Shape, value: number, dtype: DType = "f32"): Tensor {
  return currentTrace("full").emit("constant", [], { shape, dtype, values: [value] });
}

/** A literal tensor of at most 1024 elements, row-major. */
export function literal(
  values: readonly number[],
  shape?: Shape,
  dtype: DType = "f32",
): Tensor {
  expectKind("literal: the values", values, "array");
  shape ??= [values.length];
  requireShape(shape, "literal");
  if (values.length !== sizeOf(shape)) {
    throw new LocalgradError(`literal: ${values.length} values do not fill [${shape.join(",")}]`);
  }
  return currentTrace("literal").emit("constant", [], { shape, dtype, values });
}

/** A tensor whose elements are their own index along an axis. */
export function iota(shape: Shape, axis: number = 0, dtype: "f32" | "i32" | "u32" = "i32"): Tensor {
  return currentTrace("iota").emit("iota", [], { shape, dtype, axis });
}

/** 1 at each index and 0 elsewhere: integer `[…]` → f32 `[…, classes]`. */
export function oneHot(indices: Tensor, classes: number): Tensor {
  expectTensor("oneHot", indices);
  const shape = [...indices.shape, classes];
  const dtype = indices.dtype === "u32" ? "u32" : "i32";
  return indices.reshape(...indices.shape, 1).broadcastTo(shape).eq(iota(shape, shape.length - 1, dtype))
    .cast("f32");
}

/** Stops gradients; see {@link Tensor.stopGradient}. */
export function stopGradient(x: Tensor): Tensor {
  expectTensor("stopGradient", x);
  return x.stopGradient();
}
