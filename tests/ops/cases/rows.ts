import { sizeOf } from "../../../src/trace/dtype.ts";
import { type Case, opCase } from "../check.ts";
import { aval, f32, type Random } from "../random.ts";

/** Matrix products: every transposition, batched or not, with extents around the sizes of tiles. */
export function matmulCases(random: Random): Case[] {
  const extents = [1, 2, 3, 4, 5, 7, 8, 16, 17, 33];
  const sizes = [
    [1, 1, 1],
    [1, 64, 10],
    [64, 1, 10],
    [10, 64, 1],
    [65, 67, 66],
    [3, 1025, 5],
    [128, 128, 128],
    ...Array.from({ length: 24 }, () => [random.pick(extents), random.pick(extents), random.pick(extents)]),
  ];
  return sizes.flatMap(([m, k, n], i) => {
    const batch = i % 3 === 2 ? [random.int(1, 3)] : [];
    const transposeA = random.chance(0.5);
    const transposeB = random.chance(0.5);
    const a = f32(...batch, ...(transposeA ? [k, m] : [m, k]));
    const b = f32(...batch, ...(transposeB ? [n, k] : [k, n]));
    return opCase("matmul", [a, b], { transposeA, transposeB }, [random.elements(a), random.elements(b)]);
  });
}

/** Rows selected by index, of every dtype, u8 included; indices out of range are clamped. */
export function gatherCases(random: Random): Case[] {
  return (["f32", "i32", "u32", "bool", "u8"] as const).flatMap((dtype) =>
    Array.from({ length: 8 }, (_, i) => {
      const operand = aval(dtype, [random.int(1, 20), ...random.shape(i % 4)]);
      const indices = aval(random.pick(["i32", "u32"]), random.shape(i % 3, [1, 3, 8, 17]));
      const low = indices.dtype === "i32" ? -3 : 0;
      const picked = random.ints(sizeOf(indices.shape), low, operand.shape[0] + 2);
      const data = indices.dtype === "i32" ? Int32Array.from(picked) : Uint32Array.from(picked);
      return opCase("gather", [operand, indices], {}, [random.elements(operand), data]);
    })
  );
}

/** Rows added by index; most indices are repeated. */
export function scatterAddCases(random: Random): Case[] {
  return Array.from({ length: 16 }, (_, i) => {
    const rows = random.int(1, i < 8 ? 4 : 40);
    const indices = aval(random.pick(["i32", "u32"]), random.shape(i % 3, [1, 5, 9, 30]));
    const updates = f32(...indices.shape, ...random.shape(i % 4, [1, 3, 4, 10]));
    const picked = random.ints(sizeOf(indices.shape), 0, rows);
    const data = indices.dtype === "i32" ? Int32Array.from(picked) : Uint32Array.from(picked);
    return opCase("scatterAdd", [updates, indices], { rows }, [random.elements(updates), data]);
  });
}

/** The first maximum along every axis, with ties, of every number dtype; and rows with NaN and infinities. */
export function argmaxCases(random: Random): Case[] {
  const lines = [
    [NaN, NaN, NaN, NaN, NaN],
    [1, NaN, 3, NaN, Infinity],
    [NaN, 1, 2, 3, 4],
    [0, 1, 2, 3, NaN],
    [-Infinity, -Infinity, -Infinity, -Infinity, -Infinity],
    [0, Infinity, 2, Infinity, 1],
    [-Infinity, -3, -Infinity, -2, -Infinity],
  ];
  const odd = [0, 1].map((axis) =>
    opCase("argmax", [f32(7, 5)], { axis }, [Float32Array.from(lines.flat())])
  );
  return [...odd, ...argmaxOfAll(random)];
}

function argmaxOfAll(random: Random): Case[] {
  return (["f32", "i32", "u32"] as const).flatMap((dtype) =>
    Array.from({ length: 12 }, (_, i) => {
      const operand = aval(dtype, random.shape(1 + i % 4, [1, 3, 5, 10, 33]));
      const axis = random.int(0, operand.shape.length - 1);
      const size = sizeOf(operand.shape);
      const data = i % 2 === 0
        ? random.elements(operand)
        : dtype === "f32"
        ? Float32Array.from(random.ints(size, -2, 2))
        : dtype === "i32"
        ? Int32Array.from(random.ints(size, -2, 2))
        : Uint32Array.from(random.ints(size, 0, 3));
      return opCase("argmax", [operand], { axis }, [data]);
    })
  );
}
