import type { Aval, DType, HostData } from "../../../src/trace/dtype.ts";
import type { BinaryFn, CompareFn, UnaryFn } from "../../../src/trace/ops.ts";
import { type Case, opCase } from "../check.ts";
import { aval, type Random } from "../random.ts";

const COUNT = 203;
const SPECIAL = [0, -0, 1, -1, 0.5, -1.5, 2 ** -100, -3e38, 3e38, Infinity, -Infinity, NaN];
/** Angles of every size; the last is the f32 nearest to a multiple of a quarter turn. */
const ANGLES = [
  0,
  -0,
  1,
  Math.PI,
  -Math.PI,
  Math.PI / 2,
  100,
  -1000,
  12345.678,
  2 ** 13,
  -1e6,
  1e9,
  1e10,
  1e30,
];
/** Angles too large for range reduction in few words, and values that are not angles. */
const LARGE = [-3.4e38, 16367173 * 2 ** 72, 1e-20, NaN, Infinity, -Infinity];
const INTEGERS = [0, 1, -1, 2, 3, -7, 31, 65535, 65536, 2 ** 31 - 1, -(2 ** 31), -(2 ** 31) + 1];

/** Extra operands of a unary function, besides numbers of every size; `undefined` for dtypes that it does not take. */
const unaryInputs: { readonly [F in UnaryFn]: Partial<Record<DType, readonly number[]>> } = {
  neg: { f32: SPECIAL, i32: INTEGERS },
  abs: { f32: SPECIAL, i32: INTEGERS },
  sign: { f32: SPECIAL, i32: INTEGERS },
  floor: { f32: [...SPECIAL, 0.999, -0.001, 2.5, -2.5, 8388609, 1e30] },
  exp: { f32: [...SPECIAL, 88, 88.72, -87, 89, -110, 1000, -1000, 1e-20, 10, -10] },
  log: { f32: [...SPECIAL, 1e-30, 1e30, 0.9999999, 1.0000001, 2, 10] },
  sqrt: { f32: [...SPECIAL, 1e-30, 1e30, 2, 4, 9] },
  rsqrt: { f32: [...SPECIAL, 1e-30, 1e30, 2, 4, 9] },
  sin: { f32: [...ANGLES, ...LARGE] },
  cos: { f32: [...ANGLES, ...LARGE] },
  tanh: { f32: [...SPECIAL, 5, -9, 15, -20, 50, 89, -100, 1000, 1e-4, 1e-20] },
  erf: { f32: [...SPECIAL, 0.84, 0.85, -0.9, 2, -3, 3.9, 4, 5, -9, 20, 1000, 1e-4, 1e-20] },
  not: { bool: [0, 1], i32: INTEGERS, u32: INTEGERS },
  isFinite: { f32: SPECIAL },
};

/** Numbers of every size that occurs in an ordinary computation. */
function ordinary(random: Random, dtype: DType, count: number): number[] {
  if (dtype !== "f32") return [...random.elements(aval(dtype, [count]))];
  return Array.from({ length: count }, () => (random.unit() * 2 - 1) * 10 ** random.int(-3, 1));
}

function array(dtype: DType, values: readonly number[]): HostData {
  switch (dtype) {
    case "f32":
      return Float32Array.from(values);
    case "i32":
      return Int32Array.from(values);
    case "u8":
      return Uint8Array.from(values);
    default:
      return Uint32Array.from(values);
  }
}

/** Every unary function over every dtype it takes. */
export function unaryCases(random: Random): Case[] {
  return Object.entries(unaryInputs).flatMap(([fn, byDtype]) =>
    Object.entries(byDtype).map(([name, special]) => {
      const dtype = name as DType;
      const values = [...special, ...ordinary(random, dtype, COUNT - special.length)];
      return opCase("unary", [aval(dtype, [COUNT])], { fn: fn as UnaryFn }, [array(dtype, values)]);
    })
  );
}

/** Pairs of operands, special ones first. */
function pairs(dtype: DType, random: Random): [number[], number[]] {
  const special = dtype === "f32" ? SPECIAL : dtype === "bool" ? [0, 1] : INTEGERS;
  const [a, b]: [number[], number[]] = [[], []];
  for (const x of special) {
    for (const y of special) {
      a.push(x);
      b.push(y);
    }
  }
  a.push(...ordinary(random, dtype, COUNT));
  b.push(...ordinary(random, dtype, COUNT));
  return [a, b];
}

const binaryDtypes: { readonly [F in BinaryFn]: readonly DType[] } = {
  add: ["f32", "i32", "u32"],
  sub: ["f32", "i32", "u32"],
  mul: ["f32", "i32", "u32"],
  div: ["f32", "i32", "u32"],
  pow: ["f32"],
  max: ["f32", "i32", "u32"],
  min: ["f32", "i32", "u32"],
  rem: ["f32", "i32", "u32"],
  and: ["bool", "i32", "u32"],
  or: ["bool", "i32", "u32"],
  xor: ["bool", "i32", "u32"],
  shl: ["i32", "u32"],
  shr: ["i32", "u32"],
};

/** Every binary function over every dtype it takes; infinities, NaN and integers that wrap around included. */
export function binaryCases(random: Random): Case[] {
  return Object.entries(binaryDtypes).flatMap(([name, dtypes]) =>
    dtypes.map((dtype) => {
      const fn = name as BinaryFn;
      let [a, b] = pairs(dtype, random);
      if (fn === "rem" && dtype === "f32") {
        a = [...a, 5, -5, 1e10, 1e8, 33554432, 3e38, -1e-40, 1e30, 16777217, 3];
        b = [...b, Infinity, -Infinity, 3, 0.1, 3, 1e-45, 1e-45, -7, 2 ** -20, -3];
      }
      if (fn === "pow") {
        a = [...a, ...random.floats(40, 0, 10), ...random.ints(40, -9, 9)];
        b = [...b, ...random.floats(40, -4, 4), ...random.ints(40, 0, 5)];
      }
      const operand = aval(dtype, [a.length]);
      return opCase("binary", [operand, operand], { fn }, [array(dtype, a), array(dtype, b)]);
    })
  );
}

/** Every comparison over every dtype, with equal operands, infinities and NaN among them. */
export function compareCases(random: Random): Case[] {
  const fns: readonly CompareFn[] = ["eq", "ne", "lt", "le", "gt", "ge"];
  const dtypes: readonly DType[] = ["f32", "i32", "u32", "bool"];
  return fns.flatMap((fn) =>
    dtypes.map((dtype) => {
      const [a, b] = pairs(dtype, random);
      const operand = aval(dtype, [a.length]);
      return opCase("compare", [operand, operand], { fn }, [array(dtype, a), array(dtype, b)]);
    })
  );
}

/** Selection, also between infinities and NaN: the operand that is not selected must have no effect. */
export function selectCases(random: Random): Case[] {
  return (["f32", "i32", "u32", "bool"] as const).map((dtype) => {
    const [a, b] = pairs(dtype, random);
    const operand = aval(dtype, [a.length]);
    const condition = aval("bool", [a.length]);
    const operands: Aval[] = [condition, operand, operand];
    return opCase("select", operands, {}, [random.elements(condition), array(dtype, a), array(dtype, b)]);
  });
}

/** Conversions between all dtypes. */
export function castCases(random: Random): Case[] {
  const from: readonly DType[] = ["f32", "i32", "u32", "bool", "u8"];
  const to: readonly DType[] = ["f32", "i32", "u32", "bool"];
  return from.flatMap((source) =>
    to.map((dtype) => {
      const special = source === "f32"
        ? [...SPECIAL, 0.99, 1.99, 1e6 + 0.5, 2 ** 30, 3e9, -3e9, 2 ** 31, -(2 ** 31), 2 ** 32, 4294967040]
        : [0, 1, 2, 255];
      const values = [...special, ...ordinary(random, source, COUNT - special.length)];
      const data = source === "bool" ? random.elements(aval("bool", [COUNT])) : array(source, values);
      return opCase("cast", [aval(source, [COUNT])], { dtype }, [data]);
    })
  );
}

/** Literals, one or many, also those that WGSL cannot express; indices; random bits. */
export function generatorCases(random: Random): Case[] {
  const literals: [DType, number[]][] = [
    ["f32", [0, -0, 0.1, -1e-30, 3.4e38, Infinity, -Infinity, NaN, 1 / 3, 16777217, 1e20, -9.3e18]],
    ["i32", [0, -1, 2 ** 31 - 1, -(2 ** 31)]],
    ["u32", [0, 1, 2 ** 31, 2 ** 32 - 1]],
    ["bool", [0, 1, 1, 0]],
  ];
  const cases: Case[] = literals.flatMap(([dtype, values]) => [
    opCase("constant", [], { shape: [values.length], dtype, values }, []),
    ...values.map((value) => opCase("constant", [], { shape: [3, 5], dtype, values: [value] }, [])),
  ]);
  const many = [...random.floats(35)];
  cases.push(opCase("constant", [], { shape: [5, 7], dtype: "f32", values: many }, []));
  for (const dtype of ["f32", "i32", "u32"] as const) {
    for (const axis of [0, 1, 2]) cases.push(opCase("iota", [], { shape: random.shape(3), dtype, axis }, []));
  }
  for (const shape of [[], [1], [7], [3, 5], [2, 3, 4, 5], [4099]]) {
    const key = aval("u32", [2]);
    for (const word of [0, 1] as const) {
      cases.push(opCase("randomBits", [key], { shape, word }, [random.elements(key)]));
    }
  }
  return cases;
}
