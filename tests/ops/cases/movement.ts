import type { DType } from "../../../src/trace/dtype.ts";
import { type Case, opCase } from "../check.ts";
import { aval, type Random } from "../random.ts";

const STORED: readonly DType[] = ["f32", "i32", "u32", "bool"];

/** Padding around and between elements, every dtype. */
export function padCases(random: Random): Case[] {
  return Array.from({ length: 24 }, (_, i) => {
    const operand = aval(STORED[i % 4], random.shape(1 + i % 5, [1, 2, 3, 5]));
    const amounts = (most: number) => operand.shape.map(() => random.int(0, most));
    const attrs = { low: amounts(2), high: amounts(2), interior: amounts(random.chance(0.5) ? 2 : 0) };
    return opCase("pad", [operand], attrs, [random.elements(operand)]);
  });
}

/** One to five operands joined along every axis, every dtype. */
export function concatCases(random: Random): Case[] {
  return Array.from({ length: 24 }, (_, i) => {
    const shape = random.shape(1 + i % 4, [1, 2, 3, 5, 8]);
    const axis = random.int(0, shape.length - 1);
    const operands = Array.from(
      { length: random.int(1, 5) },
      () => aval(STORED[i % 4], shape.with(axis, random.pick([1, 2, 4, 7]))),
    );
    return opCase("concat", operands, { axis }, operands.map((operand) => random.elements(operand)));
  });
}

/** Axes of extent 1 repeated, in every pattern of four axes. */
export function broadcastCases(random: Random): Case[] {
  const cases = Array.from({ length: 16 }, (_, pattern) => {
    const shape = random.shape(4, [2, 3, 5]);
    const operand = aval(
      STORED[pattern % 4],
      shape.map((extent, axis) => (pattern >> axis) & 1 ? 1 : extent),
    );
    return opCase("broadcast", [operand], { shape }, [random.elements(operand)]);
  });
  return [
    ...cases,
    opCase("broadcast", [aval("f32", [])], { shape: [] }, [random.floats(1)]),
    opCase("broadcast", [aval("f32", [1])], { shape: [70_001] }, [random.floats(1)]),
  ];
}

/** Every permutation of three axes and some of two, four and five. */
export function transposeCases(random: Random): Case[] {
  const three = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
  const more = [2, 2, 4, 4, 4, 5, 5].map((rank) => random.shuffle(Array.from({ length: rank }, (_, i) => i)));
  return [...three, ...more].map((permutation, i) => {
    const operand = aval(STORED[i % 4], random.shape(permutation.length, [1, 2, 3, 5, 8]));
    return opCase("transpose", [operand], { permutation }, [random.elements(operand)]);
  });
}

/** Slices with every stride. */
export function sliceCases(random: Random): Case[] {
  return Array.from({ length: 24 }, (_, i) => {
    const operand = aval(STORED[i % 4], random.shape(1 + i % 4, [1, 3, 5, 8, 17]));
    const starts = operand.shape.map((extent) => random.int(0, extent - 1));
    const limits = operand.shape.map((extent, axis) => random.int(starts[axis] + 1, extent));
    const strides = operand.shape.map(() => random.int(1, 3));
    return opCase("slice", [operand], { starts, limits, strides }, [random.elements(operand)]);
  });
}

/** Views: the same elements under another shape or name. */
export function viewCases(random: Random): Case[] {
  const shapes = [[[6], [2, 3]], [[2, 3, 4], [4, 6]], [[1], []], [[], [1, 1]], [[2, 1, 5], [1, 10]]];
  return shapes.flatMap(([from, shape], i) => {
    const operand = aval(STORED[i % 4], from);
    return [
      opCase("reshape", [operand], { shape }, [random.elements(operand)]),
      opCase("stopGradient", [operand], {}, [random.elements(operand)]),
      opCase("barrier", [operand], {}, [random.elements(operand)]),
    ];
  });
}
