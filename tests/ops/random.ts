import { toBf16 } from "../../src/trace/bf16.ts";
import { key, threefry2x32 } from "../../src/base/random.ts";
import { type Aval, type DType, type HostData, type Shape, sizeOf } from "../../src/trace/dtype.ts";

/** A seeded stream of choices for random tests. */
export class Random {
  readonly #key: Uint32Array;
  #count = 0;

  constructor(readonly seed: number) {
    this.#key = key(seed);
  }

  /** A number in [0, 1). */
  unit(): number {
    return threefry2x32(this.#key, this.#count++, 0)[0] / 2 ** 32;
  }

  /** An integer from `low` to `high`, both included. */
  int(low: number, high: number): number {
    return low + Math.floor(this.unit() * (high - low + 1));
  }

  /** True with probability `p`. */
  chance(p: number): boolean {
    return this.unit() < p;
  }

  /** A random element of a list. */
  pick<T>(list: readonly T[]): T {
    return list[this.int(0, list.length - 1)];
  }

  /** A list in random order. */
  shuffle<T>(list: readonly T[]): T[] {
    const result = [...list];
    for (let i = result.length - 1; i > 0; i--) {
      const j = this.int(0, i);
      [result[i], result[j]] = [result[j], result[i]];
    }
    return result;
  }

  /** A shape of `rank` axes with extents awkward for vectors and tiles. */
  shape(rank: number, extents: readonly number[] = [1, 2, 3, 5, 7, 17]): number[] {
    return Array.from({ length: rank }, () => this.pick(extents));
  }

  /** `count` f32 values, uniform in [low, high). */
  floats(count: number, low = -2, high = 2): Float32Array {
    return Float32Array.from({ length: count }, () => low + (high - low) * this.unit());
  }

  /** `count` integers from `low` to `high`, both included. */
  ints(count: number, low: number, high: number): number[] {
    return Array.from({ length: count }, () => this.int(low, high));
  }

  /** Elements for a shape and dtype: floats in [−2, 2), integers over their whole range, coins, bytes. */
  elements({ shape, dtype }: Aval): HostData {
    const size = sizeOf(shape);
    switch (dtype) {
      case "f32":
        return this.floats(size);
      case "bf16":
        return toBf16(this.floats(size));
      case "i32":
        return Int32Array.from(this.ints(size, -(2 ** 31), 2 ** 31 - 1));
      case "u32":
        return Uint32Array.from(this.ints(size, 0, 2 ** 32 - 1));
      case "bool":
        return Uint32Array.from(this.ints(size, 0, 1));
      case "u8":
        return Uint8Array.from(this.ints(size, 0, 255));
    }
  }
}

/** An f32 value of a shape. */
export function f32(...shape: number[]): Aval {
  return { shape, dtype: "f32" };
}

/** A value of a shape and dtype. */
export function aval(dtype: DType, shape: Shape): Aval {
  return { dtype, shape };
}
