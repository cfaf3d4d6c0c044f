import { at } from "../base/at.ts";
import { iota, where } from "./functions.ts";
import { inF32 } from "./in_f32.ts";
import { expectAxisOf } from "./shape_arguments.ts";
import { expectTensor, type Tensor } from "./tensor.ts";

/** The elements that are summed at once: each level of a scan leaves this fraction of the elements to the next. */
const BLOCK = 32;

/**
 * Cumulative sums along an axis: element i is the sum of the elements up to and including i. Blocks of 32 are summed
 * first, then the blocks' sums, so that errors hardly grow with the length, and a NaN or an infinity affects only the
 * sums that include it. The work is 32 additions per element, the memory linear.
 *
 * @param x f32, bf16 (computed in f32 and rounded once), i32 or u32, which wrap around.
 * @param axis Default: the last.
 * @returns The shape and dtype of `x`.
 * @throws {LocalgradError} if there is no such axis.
 *
 * @example
 * ```ts
 * import { cumsum, devices, jit, type Tensor } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * await using device = await devices.open("reference");
 * using x = device.array([1, 2, 3, 4]);
 * using y = jit((x: Tensor) => cumsum(x), { device })(x);
 * assertEquals([...await y.read()], [1, 3, 6, 10]);
 * ```
 */
export function cumsum(x: Tensor, axis: number = -1): Tensor {
  expectTensor("cumsum", x);
  const along = expectAxisOf("cumsum", x, axis);
  if (x.size === 0) return x;
  const product = (extents: readonly number[]) => extents.reduce((count, extent) => count * extent, 1);
  const rows = product(x.shape.slice(0, along));
  const columns = product(x.shape.slice(along + 1));
  return inF32(x, (x) => scan(x.reshape(rows, at(x.shape, along), columns)).reshape(...x.shape));
}

/** Cumulative sums along axis 1 of `[rows, length, columns]`. */
function scan(x: Tensor): Tensor {
  const [rows = 0, length = 0, columns = 0] = x.shape;
  if (length <= BLOCK) return withinBlocks(x.reshape(rows, 1, length, columns)).reshape(...x.shape);
  const blocks = Math.ceil(length / BLOCK);
  const missing = blocks * BLOCK - length;
  const whole = missing === 0 ? x : x.pad([0, 0, 0], [0, missing, 0]);
  const blocked = whole.reshape(rows, blocks, BLOCK, columns);
  const totals = blocked.sum(2).slice([0, 0, 0], [rows, blocks - 1, columns]);
  const earlier = scan(totals).pad([0, 1, 0], [0, 0, 0]).reshape(rows, blocks, 1, columns);
  const sums = withinBlocks(blocked).add(earlier).reshape(...whole.shape);
  return missing === 0 ? sums : sums.slice([0, 0, 0], x.shape);
}

/** Cumulative sums along axis 2. Elements are selected: multiplied by 0, a later NaN would reach the earlier sums. */
function withinBlocks(x: Tensor): Tensor {
  const [rows = 0, blocks = 0, length = 0, columns = 0] = x.shape;
  const pairs = [rows, blocks, length, length, columns];
  const isIncluded = iota(pairs, 3).le(iota(pairs, 2));
  return where(isIncluded, x.reshape(rows, blocks, 1, length, columns), 0).sum(3);
}
