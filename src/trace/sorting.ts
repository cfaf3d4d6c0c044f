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
 * Axes of up to 128 elements, and up to 2²² pairs of elements, such as one axis of 2,048, are compared to count for each
 * element those that go before it: few steps, and 4 bytes an element besides operand and results. More are sorted by a
 * bitonic network (Batcher, AFIPS 1968): ½ log₂ n (log₂ n + 1) steps for the next power of two n of the axis, 210 for a
 * million elements, and 16 bytes for each of those n. Its gradient sorts once more.
 *
 * @param x f32, bf16, i32 or u32.
 * @param axis Default: the last.
 * @returns `values` and `indices`, both of the shape of `x`.
 * @throws {LocalgradError} for another dtype, or if there is no such axis, or it has more than 2²² elements.
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
 * PyTorch. It takes the time and memory of {@link sort}.
 *
 * @param x f32, bf16, i32 or u32.
 * @param k The number of elements, from 0 to the axis's extent.
 * @param axis Default: the last.
 * @returns `values` and `indices`, with `k` in place of the axis's extent.
 * @throws {LocalgradError} if there is no such axis, or it has fewer than `k` elements, or more than 2²².
 */
export function topK(x: Tensor, k: number, axis: number = -1): Sorted {
  expectTensor("topK", x);
  const along = expectAxisOf("topK", x, axis);
  expectWhole("topK: k", k, 0, at(x.shape, along));
  const { values, indices } = sorted("topK", x, along, true);
  const first = (t: Tensor) => t.slice(x.shape.map(() => 0), x.shape.with(along, k));
  return { values: first(values), indices: first(indices) };
}

/**
 * The most pairs of elements that are compared. Counting takes two kernels, which are soon compiled; a network takes dozens
 * to save work: on two cores, of 64 × 1,024 elements, 15 of 20 ms a run, and 20 ms more in the first.
 */
const COUNTED = 2 ** 22;
/** Along axes up to this long counting is no slower either: equal on the CPU, 1.7 times as fast on WebGPU. */
const SHORT = 128;
/** The most points of a kernel. */
const MOST_POINTS = 2 ** 31 - 1;
/** The longest axis: a network of floating-point numbers has integers up to four times that among them. */
const LONGEST = 2 ** 22;

/** Sorts along an axis counted from 0; by counting or by a network, whichever is faster. */
export function sorted(
  who: string,
  x: Tensor,
  axis: number,
  descending: boolean,
  by?: "counting" | "network",
): Sorted {
  const { shape } = x;
  if (x.dtype === "bool" || x.dtype === "u8") {
    x.trace.fail(`${who}(${formatAval(x)}): needs f32, bf16, i32 or u32; cast it first`);
  }
  if (x.size === 0) return { values: x, indices: constantLike(0, x).cast("i32") };
  const length = at(shape, axis);
  if (length > LONGEST) {
    x.trace.fail(`${who}(${formatAval(x)}): axis ${axis} has more than ${LONGEST} elements`);
  }
  const table = x.reshape(sizeOf(shape.slice(0, axis)), length, sizeOf(shape.slice(axis + 1)));
  const keys = table.dtype === "bf16" ? table.cast("f32") : table;
  const pairs = x.size * length;
  const isFew = pairs <= COUNTED || (length <= SHORT && pairs <= MOST_POINTS);
  const isCounted = by === undefined ? isFew : by === "counting";
  const { order, ranks } = isCounted ? counted(keys, descending) : networked(keys, descending);
  const values = permuted(table, order, ranks);
  return { values: values.reshape(...shape), indices: order.reshape(...shape) };
}

/** The order of the elements along axis 1 of `[rows, length, columns]`. */
interface Order {
  /** The index of the element at each place, i32. */
  readonly order: Tensor;
  /** Computes the place of each element, i32: the inverse. */
  readonly ranks: () => Tensor;
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
  return { order: where(isHere, iota(pairs, 2), 0).sum(2), ranks: () => ranks };
}

/**
 * The order by a bitonic network over the next power of two. An element is a key and a number for ties, both of one dtype
 * and in one tensor `[rows, 2, size, columns]`, so that a step is one kernel with one result.
 */
function networked(x: Tensor, descending: boolean): Order {
  const [rows = 0, length = 0, columns = 0] = x.shape;
  const size = 2 ** Math.ceil(Math.log2(length));
  let pairs = pairsOf(x, size, descending);
  for (let run = 2; run <= size; run *= 2) {
    for (let distance = run / 2; distance >= 1; distance /= 2) pairs = exchanged(pairs, run, distance);
  }
  const ties = pairs.slice([0, 1, 0, 0], [rows, 2, length, columns]);
  const order = ties.reshape(rows, length, columns).cast("i32").and(size - 1);
  // Sorted itself, the order moves each element back to the place that it came from.
  return { order, ranks: () => networked(order, false).order };
}

/**
 * Keys and numbers for ties, which ascend as the elements should. No two pairs are the same: the number is an element's
 * index, from which a multiple of `size` moves NaN beyond infinity, and what fills the axis up beyond everything.
 */
function pairsOf(x: Tensor, size: number, descending: boolean): Tensor {
  const { dtype } = x;
  const [rows = 0, length = 0, columns = 0] = x.shape;
  const padded = x.pad([0, 0, 0], [0, size - length, 0]);
  const index = iota(padded.shape, 1);
  const largest = dtype === "f32" ? Infinity : dtype === "i32" ? 2 ** 31 - 1 : 2 ** 32 - 1;
  const isNaN = padded.ne(padded);
  const known = dtype === "f32" ? where(isNaN, Infinity, padded) : padded;
  const complement = dtype === "f32" ? known.neg() : known.not();
  const moved = dtype === "f32" ? where(isNaN, index.add(descending ? -size : size), index) : index;
  const isElement = index.lt(length);
  const keys = where(isElement, descending ? complement : known, largest);
  const ties = where(isElement, moved, index.add(2 * size)).cast(dtype);
  const shape = [rows, 2, size, columns];
  const spread = (t: Tensor) => t.reshape(rows, 1, size, columns).broadcastTo(shape);
  return stored(where(iota(shape, 1).eq(0), spread(keys), spread(ties)));
}

/** Compares elements `distance` apart and exchanges them, so that runs of `run` elements ascend and descend in turn. */
function exchanged(pairs: Tensor, run: number, distance: number): Tensor {
  const [rows = 0, , size = 0, columns = 0] = pairs.shape;
  const blocks = size / (2 * distance);
  const shape = [rows, 2, blocks, 2, distance, columns];
  const halves = pairs.reshape(...shape);
  /** A half of the elements, beside itself; of both numbers or one, beside itself too. */
  const part = (half: 0 | 1, which?: 0 | 1) =>
    halves.slice([0, which ?? 0, 0, half, 0, 0], [
      rows,
      (which ?? 1) + 1,
      blocks,
      half + 1,
      distance,
      columns,
    ])
      .broadcastTo(shape);
  const [keyA, keyB, tieA, tieB] = [part(0, 0), part(1, 0), part(0, 1), part(1, 1)];
  const isLater = keyA.gt(keyB).or(keyA.eq(keyB).and(tieA.gt(tieB)));
  const descends = iota(shape, 2).mul(2 * distance).and(run).ne(0);
  // The first half takes the second's element where they are exchanged, the second where they are not.
  const takesSecond = isLater.ne(descends).ne(iota(shape, 3).eq(1));
  return stored(where(takesSecond, part(1), part(0)).reshape(...pairs.shape));
}

/** Stores a step's result: computed again within the next step, it would be computed several times. */
function stored(t: Tensor): Tensor {
  return t.trace.emit("barrier", [t], {});
}

/**
 * The elements of `[rows, length, columns]` in an order along axis 1. The gradient is moved back by the inverse, which
 * is computed only then: unlike the sum of a gather's gradient, this searches for nothing.
 */
function permuted(x: Tensor, order: Tensor, inverse: () => Tensor): Tensor {
  const { trace, shape } = x;
  const start = trace.builder.instructions.length;
  const y = x.reshape(x.size).gather(flatIndices(order, shape));
  const rule = ([ct]: readonly (Tensor | undefined)[]) => [ct && permuted(ct, inverse(), () => order)];
  trace.regions.push({ start, end: trace.builder.instructions.length, inputs: [x], outputs: [y], rule });
  return y;
}

/** Indices along axis 1 of `[rows, length, columns]` as indices of its elements. */
function flatIndices(indices: Tensor, shape: Shape): Tensor {
  const [, length = 0, columns = 0] = shape;
  return iota(shape, 0).mul(length).add(indices).mul(columns).add(iota(shape, 2));
}
