import type { ReduceFn } from "../../../src/trace/ops.ts";
import { type Case, opCase } from "../check.ts";
import { aval, f32, type Random } from "../random.ts";

const FNS: readonly ReduceFn[] = ["sum", "max", "min"];

/** Every subset of four axes, every function, every number dtype; and rows with a NaN, infinities, or both. */
export function reduceCases(random: Random): Case[] {
  const [rows, columns] = [9, 37];
  const odd = random.floats(rows * columns);
  const put = (row: number, column: number, value: number) => odd[row * columns + column] = value;
  for (const [row, column] of [[1, 0], [2, 36], [3, 17], [4, 17], [4, 18]]) put(row, column, NaN);
  odd.fill(NaN, 5 * columns, 6 * columns);
  put(6, 5, Infinity), put(6, 30, NaN), put(7, 5, -Infinity), put(8, 30, Infinity);
  const special = FNS.flatMap((fn) =>
    [0, 1].map((axis) => opCase("reduce", [f32(rows, columns)], { fn, axes: [axis] }, [odd]))
  );
  return [...special, ...allAxes(random)];
}

function allAxes(random: Random): Case[] {
  return Array.from({ length: 16 }, (_, subset) => {
    const axes = random.shuffle([0, 1, 2, 3].filter((axis) => (subset >> axis) & 1));
    return FNS.map((fn, i) => {
      const dtype = (["f32", "i32", "u32"] as const)[(subset + i) % 3];
      const operand = aval(dtype, random.shape(4, [1, 2, 3, 5, 8]));
      return opCase("reduce", [operand], { fn, axes }, [random.elements(operand)]);
    });
  }).flat();
}

/**
 * Reductions too long for one thread to add in f32, along the fast axis, the slow one, both, and around a kept one. All
 * summands are positive, so that partial sums grow.
 */
export function longReduceCases(random: Random): Case[] {
  const layouts: [number[], number[]][] = [
    [[100_003], [0]],
    [[3, 40_000], [1]],
    [[40_001, 3], [0]],
    [[8192, 16], [0]],
    [[350, 300], [0, 1]],
    [[50, 17, 130], [0, 2]],
    [[2, 33, 33, 64], [0, 1, 2]],
    [[70_000, 2], [1]], // many short ones
  ];
  const cases = layouts.flatMap(([shape, axes]) =>
    FNS.map((fn) => {
      const data = random.floats(shape.reduce((a, b) => a * b, 1), 0.1, 0.9);
      return opCase("reduce", [f32(...shape)], { fn, axes }, [data]);
    })
  );
  const equal = new Float32Array(100_003).fill(0.1); // every addition rounds the same way
  return [...cases, opCase("reduce", [f32(equal.length)], { fn: "sum", axes: [0] }, [equal])];
}
