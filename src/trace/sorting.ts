import { at } from "../base/at.ts";
import { expectOptions, expectWhole } from "../base/expect.ts";
import { formatAval, isFloat, type Shape, sizeOf } from "./dtype.ts";
import { iota, where } from "./functions.ts";
import { expectAxisOf } from "./shape_arguments.ts";
import { constantLike, expectTensor, type Tensor } from "./tensor.ts";

/** Options of {@link sort}. */
export interface SortOptions {
  /** Largest first; default false. */
  descending?: boolean;
}

/** Elements in order, and where they were. */
export interface Sorted {
  /** The elements, of the operand's dtype. */
  readonly values: Tensor;
  /** The index of each along the axis, i32. */
  readonly indices: Tensor;
}

/**
 * Sorts along an axis. Equal elements keep their order, also in descending order; a NaN is greater than any number, as
 * in PyTorch. The gradient goes to where each element came from.
 *
 * It counts for each element those that go before it, so the work grows with the square of the axis's extent; the
 * memory is linear.
 *
 * @param x f32, bf16, i32 or u32.
 * @param axis Default: the last.
 * @returns `values` and `indices`, both of the shape of `x`.
 * @throws {LocalgradError} if there is no such axis, or it is too long: 2³¹ pairs of elements are compared at most.
 *
 * @example
 * ```ts
 * import { devices, jit, sort, type Tensor } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * await using device = await devices.open("reference");
 * const f = jit((x: Tensor) => ({ ...sort(x) }), { device });
 * const { values, indices } = f(device.array([3, 1, 2, 1]));
 * assertEquals([...await values.read()], [1, 1, 2, 3]);
 * assertEquals([...await indices.read()], [1, 3, 2, 0]);
 * values.dispose();
 * indices.dispose();
 * ```
 */
export function sort(x: Tensor, axis: number = -1, options: SortOptions = {}): Sorted {
  expectTensor("sort", x);
  expectOptions("sort", options, { descending: "boolean?" });
  return sorted("sort", x, expectAxisOf("sort", x, axis), options.descending ?? false);
}

/**
 * The largest elements along an axis, largest first; of equal ones the first. A NaN is greater than any number, as in
 * PyTorch.
 *
 * @param x f32, bf16, i32 or u32.
 * @param k The number of elements, from 0 to the axis's extent.
 * @param axis Default: the last.
 * @returns `values` and `indices`, with `k` in place of the axis's extent.
 * @throws {LocalgradError} if there is no such axis, or it has fewer elements.
 */
export function topK(x: Tensor, k: number, axis: number = -1): Sorted {
  expectTensor("topK", x);
  const along = expectAxisOf("topK", x, axis);
  expectWhole("topK: k", k, 0, at(x.shape, along));
  const { values, indices } = sorted("topK", x, along, true);
  const first = (t: Tensor) => t.slice(x.shape.map(() => 0), x.shape.with(along, k));
  return { values: first(values), indices: first(indices) };
}

/** The most pairs of elements to compare: no kernel covers more points. */
const MOST_PAIRS = 2 ** 31 - 1;

function sorted(who: string, x: Tensor, axis: number, descending: boolean): Sorted {
  const { shape } = x;
  if (x.size === 0) return { values: x, indices: constantLike(0, x).cast("i32") };
  const length = at(shape, axis);
  if (x.size * length > MOST_PAIRS) {
    x.trace.fail(
      `${who}(${formatAval(x)}): compares ${x.size * length} pairs of elements, at most ${MOST_PAIRS}`,
    );
  }
  const table = x.reshape(sizeOf(shape.slice(0, axis)), length, sizeOf(shape.slice(axis + 1)));
  const keys = table.dtype === "bf16" ? table.cast("f32") : table;
  const { order, ranks } = counted(keys, descending);
  const values = permuted(table, order, ranks);
  return { values: values.reshape(...shape), indices: order.reshape(...shape) };
}

/** The order of the elements along axis 1 of `[rows, length, columns]`. */
interface Order {
  /** The index of the element at each place, i32. */
  readonly order: Tensor;
  /** The place of each element, i32: the inverse. */
  readonly ranks: Tensor;
}

/** Tests whether a goes strictly before b. A NaN is greater than any number. */
function precedes(a: Tensor, b: Tensor, descending: boolean): Tensor {
  if (descending) return precedes(b, a, false);
  return isFloat(a.dtype) ? a.lt(b).or(b.ne(b).and(a.eq(a))) : a.lt(b);
}

/** The order by counting for each element those that go before it. */
function counted(x: Tensor, descending: boolean): Order {
  const [rows = 0, length = 0, columns = 0] = x.shape;
  const pairs = [rows, length, length, columns];
  const own = x.reshape(rows, length, 1, columns).broadcastTo(pairs);
  const other = x.reshape(rows, 1, length, columns).broadcastTo(pairs);
  // Of equal elements the earlier goes first.
  const isEarlier = iota(pairs, 2).lt(iota(pairs, 1));
  const goesBefore = isEarlier.and(precedes(own, other, descending).not())
    .or(isEarlier.not().and(precedes(other, own, descending)));
  const ranks = goesBefore.cast("i32").sum(2);
  const isHere = ranks.reshape(rows, 1, length, columns).broadcastTo(pairs).eq(iota(pairs, 1));
  return { order: where(isHere, iota(pairs, 2), 0).sum(2), ranks };
}

/**
 * The elements of `[rows, length, columns]` in an order along axis 1. The gradient is moved back by the inverse: unlike
 * the sum of a gather's gradient, this searches for nothing.
 */
function permuted(x: Tensor, order: Tensor, inverse: Tensor): Tensor {
  const { trace, shape } = x;
  const start = trace.builder.instructions.length;
  const y = x.reshape(x.size).gather(flatIndices(order, shape));
  const rule = ([ct]: readonly (Tensor | undefined)[]) => [ct && permuted(ct, inverse, order)];
  trace.regions.push({ start, end: trace.builder.instructions.length, inputs: [x], outputs: [y], rule });
  return y;
}

/** Indices along axis 1 of `[rows, length, columns]` as indices of its elements. */
function flatIndices(indices: Tensor, shape: Shape): Tensor {
  const [, length = 0, columns = 0] = shape;
  return iota(shape, 0).mul(length).add(indices).mul(columns).add(iota(shape, 2));
}
