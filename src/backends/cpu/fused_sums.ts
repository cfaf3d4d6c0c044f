import type { Reduction } from "./fused_nest.ts";
import { identity } from "./fused_ops.ts";
import type { VectorMath } from "./math.ts";
import { i32, int } from "./wasm/scalars.ts";
import { f32x4 } from "./wasm/vectors.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";

type Lanes = Local<"v128">;

/** So many terms are added one by one; their sum then joins others like it, and so on: errors do not grow with length. */
const FAN = 64;

/** Where in nested loops sums are put away: behind every so many rounds of one of the loops. */
export interface Cascade {
  /** The loop, counted from the outermost. */
  readonly loop: number;
  /** Rounds of it between one time and the next. */
  readonly every: number;
  /** How many sums of sums there are above the first. */
  readonly levels: number;
}

/** How to sum in loops that run round so often each, outermost first; undefined where few terms come together. */
export function cascadeOf(reductions: readonly Reduction[], rounds: readonly number[]): Cascade | undefined {
  if (!reductions.some(isRounded)) return undefined;
  let terms = 1; // of one round of the loop looked at
  for (let loop = rounds.length - 1; loop >= 0; loop--) {
    if (terms * rounds[loop] > FAN) {
      const every = Math.max(1, Math.floor(FAN / terms));
      const times = rounds.slice(0, loop + 1).reduce((a, b) => a * b) / every;
      return { loop, every, levels: times > FAN * FAN ? 3 : times > FAN ? 2 : 1 };
    }
    terms *= rounds[loop];
  }
  return undefined;
}

/** Whether a reduction rounds: what does not needs no care for the order of its terms. */
function isRounded({ fn, dtype }: Reduction): boolean {
  return fn === "sum" && dtype === "f32";
}

/** Accumulators of the reductions of a nest, several vectors each. */
export class Accumulators {
  /** What terms are added to, `[reduction][vector]`; in the end the results. */
  readonly values: readonly (readonly Lanes[])[];
  /** Those of them that are sums, and round. */
  readonly #summed: readonly Lanes[];
  /** What those are put away to, lowest level first. */
  readonly #above: readonly (readonly Lanes[])[];
  /** How often they have been. */
  readonly #times: Local<"i32"> | undefined;
  readonly #f: FunctionBuilder;

  /** Writes code that sets them to what reductions start from. */
  constructor(
    f: FunctionBuilder,
    math: VectorMath,
    reductions: readonly Reduction[],
    vectors: number,
    cascade?: Cascade,
  ) {
    const start = ({ fn, dtype }: Reduction) =>
      Array.from({ length: vectors }, () => f.local("v128", identity(math, fn, dtype)));
    this.#f = f;
    this.values = reductions.map(start);
    this.#summed = this.values.filter((_, i) => isRounded(reductions[i])).flat();
    this.#above = Array.from(
      { length: cascade?.levels ?? 0 },
      () => this.#summed.map(() => f.local("v128", f32x4.constant(0))),
    );
    this.#times = (cascade?.levels ?? 0) > 1 ? f.int(0) : undefined;
  }

  /** Puts sums away, one level up, and from there further where so many have come together. */
  putAway(): void {
    const f = this.#f;
    const up = (from: readonly Lanes[], to: readonly Lanes[]) =>
      from.forEach((sum, i) => {
        f.set(to[i], f32x4.add(to[i], sum));
        f.set(sum, f32x4.constant(0));
      });
    up(this.#summed, this.#above[0]);
    if (this.#times === undefined) return;
    f.increment(this.#times, 1);
    for (let level = 1; level < this.#above.length; level++) {
      const rest = i32.and(this.#times, FAN ** level - 1);
      f.if(i32.eq(rest, int(0)), () => up(this.#above[level - 1], this.#above[level]));
    }
  }

  /** Adds up what was put away. */
  finish(): void {
    for (const level of this.#above) {
      this.#summed.forEach((sum, i) => this.#f.set(sum, f32x4.add(sum, level[i])));
    }
  }
}
