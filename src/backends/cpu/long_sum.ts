import type { V128 } from "./wasm/expressions.ts";
import { i32 } from "./wasm/scalars.ts";
import { f32x4 } from "./wasm/vectors.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";

/**
 * The number of terms added one by one; this many such sums are then added one by one, and so on, so that errors do not
 * grow with the length.
 */
export const FAN = 64;

/** A sum in each lane whose error does not grow with the number of terms. */
export class LongSum {
  readonly #f: FunctionBuilder;
  /** The sum that terms are added to, the one that this is carried to, and so on. */
  readonly #levels: readonly Local<"v128">[];
  readonly #terms: Local<"i32"> | undefined;

  /** Writes code that sets the sum to 0. `most` is the most terms. */
  constructor(f: FunctionBuilder, most: number) {
    const count = most <= FAN ? 1 : most <= FAN ** 2 ? 2 : most <= FAN ** 3 ? 3 : 4;
    this.#f = f;
    this.#levels = Array.from({ length: count }, () => f.local("v128", f32x4.constant(0)));
    this.#terms = count > 1 ? f.int(0) : undefined;
  }

  /** Adds a term. */
  add(value: V128): void {
    const [f, levels, terms] = [this.#f, this.#levels, this.#terms];
    f.set(levels[0], f32x4.add(levels[0], value));
    if (terms === undefined) return;
    f.increment(terms, 1);
    const carry = (level: number): void => {
      if (level === levels.length) return;
      f.if(i32.eqz(i32.and(terms, FAN ** level - 1)), () => {
        f.set(levels[level], f32x4.add(levels[level], levels[level - 1]));
        f.set(levels[level - 1], f32x4.constant(0));
        carry(level + 1);
      });
    };
    carry(1);
  }

  /** The sum of all terms. */
  total(): V128 {
    return this.#levels.reduce<V128>((sum, level) => f32x4.add(sum, level), f32x4.constant(0));
  }
}
