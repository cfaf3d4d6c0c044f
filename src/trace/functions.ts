import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectKind, expectOptions, expectWhole, isWhole, pairFrom } from "../base/expect.ts";
import { type DType, formatAval, requireShape, type Shape, sizeOf } from "./dtype.ts";
import type { Pair } from "./ops.ts";
import { type Both, expectPoolOptions, type Padding, type PoolOptions } from "./pool_options.ts";
import { broadcastShape, expectAxisOf, expectNumbers } from "./shape_arguments.ts";
import { constantLike, expectTensor, type Operand, type Tensor } from "./tensor.ts";
import { currentTrace } from "./trace.ts";

export type { Both, Padding, PoolOptions } from "./pool_options.ts";

/** Options of {@link conv2d}. */
export interface Conv2dOptions {
  /** Step of the kernel, in pixels; default 1. */
  strides?: Both;
  /** Zeros around the image; default 0. */
  padding?: Padding;
  /** Distance between the taps of the kernel, in pixels; default 1. */
  dilation?: Both;
  /** Channel groups; default 1. */
  groups?: number;
}

function sides(who: string, padding: Padding): readonly [Pair, Pair] {
  if (typeof padding === "number") return [[padding, padding], [padding, padding]];
  expectKind(`${who}: padding`, padding, "array");
  if (padding.length === 2 && padding.every((ends) => Array.isArray(ends) && ends.length === 2)) {
    return padding;
  }
  throw new LocalgradError(`${who}: padding must be a whole number, or [[top, bottom], [left, right]]`);
}

/**
 * 2-D convolution, which is cross-correlation as in PyTorch.
 *
 * @param image NHWC, f32 or bf16.
 * @param filter `[out, height, width, in / groups]`, of the same dtype.
 * @returns `[N, height, width, out]`, of the same dtype.
 */
export function conv2d(image: Tensor, filter: Tensor, options: Conv2dOptions = {}): Tensor {
  expectTensor("conv2d", image, filter);
  expectOptions("conv2d", options, { strides: "any?", padding: "any?", dilation: "any?", groups: "number?" });
  const { strides = 1, padding = 0, dilation = 1, groups = 1 } = options;
  const attrs = {
    strides: pairFrom("conv2d: strides", strides),
    padding: sides("conv2d", padding),
    dilation: pairFrom("conv2d: dilation", dilation),
    groups,
  };
  return image.trace.emit("conv", [image, filter], attrs);
}

function poolAttrs(who: string, options: PoolOptions) {
  expectPoolOptions(who, options);
  const { window, strides = window, padding = 0 } = options;
  return {
    window: pairFrom(`${who}: window`, window),
    strides: pairFrom(`${who}: strides`, strides),
    padding: sides(who, padding),
  };
}

/**
 * Maximum of each window of an NHWC image, f32 or bf16; NaN if the window contains one. Padding counts as −∞.
 */
export function maxPool(image: Tensor, options: PoolOptions): Tensor {
  expectTensor("maxPool", image);
  return image.trace.emit("maxPool", [image], poolAttrs("maxPool", options));
}

/** Mean of each window of an NHWC image, f32 or bf16. Padding counts as zeros. */
export function avgPool(image: Tensor, options: PoolOptions): Tensor {
  expectTensor("avgPool", image);
  return image.trace.emit("avgPool", [image], poolAttrs("avgPool", options));
}

/**
 * Bilinear resize of an NHWC image, f32 or bf16, as PyTorch's `interpolate(mode="bilinear")`.
 *
 * @param size Height and width of the result, in pixels.
 * @param options `alignCorners` (default false) aligns the centres of the corner pixels, as in PyTorch.
 */
export function resizeBilinear(
  image: Tensor,
  size: Both,
  options: { alignCorners?: boolean } = {},
): Tensor {
  expectTensor("resizeBilinear", image);
  expectOptions("resizeBilinear", options, { alignCorners: "boolean?" });
  const [height, width] = pairFrom("resizeBilinear: size", size);
  return image.trace.emit("resize", [image], { height, width, alignCorners: options.alignCorners ?? false });
}

/**
 * Element-wise `condition ? a : b`, with broadcasting. A condition of JavaScript cannot do this: a tensor is always true.
 * The plugin `@localgrad/localgrad/lint` for `deno lint` finds those.
 *
 * @param condition bool.
 * @param a A tensor, or a number of the dtype of `b`.
 * @param b A tensor, or a number of the dtype of `a`; at least one of both is a tensor.
 */
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

/** The first of a list of tensors, which must not be empty; `who` begins the message. */
function firstOf(who: string, tensors: readonly Tensor[]): Tensor {
  expectKind(`${who}: the tensors`, tensors, "array");
  const [first] = tensors;
  if (first === undefined) throw new LocalgradError(`${who}: needs at least one tensor`);
  expectTensor(who, ...tensors);
  return first;
}

/** Joins tensors along an existing axis, the only one along which their shapes may differ. */
export function concat(tensors: readonly Tensor[], axis: number = 0): Tensor {
  const { trace, rank } = firstOf("concat", tensors);
  return trace.emit("concat", tensors, { axis: axis < 0 ? axis + rank : axis });
}

/** Joins tensors of one shape along a new axis. */
export function stack(tensors: readonly Tensor[], axis: number = 0): Tensor {
  const { rank } = firstOf("stack", tensors);
  const at = axis < 0 ? axis + rank + 1 : axis;
  return concat(tensors.map((t) => t.reshape(...t.shape.slice(0, at), 1, ...t.shape.slice(at))), at);
}

/**
 * Cuts a tensor along an axis: the inverse of {@link concat}.
 *
 * @param parts The number of parts, all of one extent, as in NumPy and JAX (PyTorch's number is an extent); or the
 * extent of each part.
 * @param axis Default 0.
 * @throws {LocalgradError} if there is no such axis, or the parts do not fill it.
 *
 * @example
 * ```ts
 * import { devices, jit, split, type Tensor } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * await using device = await devices.open("reference");
 * const [head, tail] = jit((x: Tensor) => split(x, [1, 3]), { device })(device.array([1, 2, 3, 4]));
 * assertEquals([...await tail!.read()], [2, 3, 4]);
 * head!.dispose();
 * tail!.dispose();
 * ```
 */
export function split(x: Tensor, parts: number | readonly number[], axis: number = 0): Tensor[] {
  expectTensor("split", x);
  const along = expectAxisOf("split", x, axis);
  const extent = at(x.shape, along);
  if (typeof parts === "number") expectWhole("split: the number of parts", parts);
  else expectNumbers("split: the extents", parts);
  const extents = typeof parts === "number" ? new Array<number>(parts).fill(extent / parts) : parts;
  if (!extents.every((each) => isWhole(each, 0)) || extents.reduce((sum, each) => sum + each, 0) !== extent) {
    const wrong = typeof parts === "number" ? `${parts} equal parts` : `parts of ${parts.join(", ")}`;
    x.trace.fail(`split(${formatAval(x)}): ${wrong} do not fill axis ${axis}, of extent ${extent}`);
  }
  let end = 0;
  return extents.map((each) => {
    const start = end;
    end += each;
    return x.slice(x.shape.map(() => 0).with(along, start), x.shape.with(along, end));
  });
}

/**
 * Adds rows to zeros at the given indices (PyTorch's `index_add`): the gradient of {@link Tensor.gather}. The order of
 * addition depends on shapes alone, so sums are the same bits every time. On a GPU each row of the result searches all
 * indices for its own, so the work is `rows` × the number of updates.
 *
 * @param updates f32 `[…I, …R]`.
 * @param indices Row numbers, i32 or u32 `[…I]`, clamped into range.
 * @param rows Extent of axis 0 of the result, `[rows, …R]`.
 */
export function scatterAdd(updates: Tensor, indices: Tensor, rows: number): Tensor {
  expectTensor("scatterAdd", updates, indices);
  return updates.trace.emit("scatterAdd", [updates, indices], { rows });
}

/**
 * A tensor filled with one value.
 *
 * @param dtype Default f32.
 * @throws {LocalgradError} if the value does not fit the dtype, or outside of a traced function.
 */
export function full(shape: Shape, value: number, dtype: DType = "f32"): Tensor {
  return currentTrace("full").emit("constant", [], { shape, dtype, values: [value] });
}

/**
 * A literal tensor of at most 1024 elements; pass larger ones as arguments.
 *
 * @param values Elements, row-major.
 * @param shape Default: one axis of all elements.
 * @param dtype Default f32.
 * @throws {LocalgradError} if the values do not fill the shape or fit the dtype, or outside of a traced function.
 */
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

/**
 * A tensor whose elements are their own index along an axis.
 *
 * @param axis Default 0.
 * @param dtype Default i32.
 * @throws {LocalgradError} if the shape has no such axis, or outside of a traced function.
 */
export function iota(shape: Shape, axis: number = 0, dtype: "f32" | "i32" | "u32" = "i32"): Tensor {
  return currentTrace("iota").emit("iota", [], { shape, dtype, axis });
}

/**
 * One-hot encoding: 1 at each index, 0 elsewhere.
 *
 * @param indices Classes from 0, i32 or u32 `[…]`.
 * @returns f32 `[…, classes]`.
 */
export function oneHot(indices: Tensor, classes: number): Tensor {
  expectTensor("oneHot", indices);
  const shape = [...indices.shape, classes];
  const dtype = indices.dtype === "u32" ? "u32" : "i32";
  return indices.reshape(...indices.shape, 1).broadcastTo(shape).eq(iota(shape, shape.length - 1, dtype))
    .cast("f32");
}

/** Zeros of the shape and dtype of a tensor. */
export function zerosLike(tensor: Tensor): Tensor {
  expectTensor("zerosLike", tensor);
  return full(tensor.shape, 0, tensor.dtype);
}

/** The same value, treated as a constant by gradients; see {@link Tensor.stopGradient}. */
export function stopGradient(x: Tensor): Tensor {
  expectTensor("stopGradient", x);
  return x.stopGradient();
}
