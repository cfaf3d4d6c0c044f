import { at } from "../../base/at.ts";
import type { Reduction } from "./fused_nest.ts";
import { fold, identity } from "./fused_ops.ts";
import { FAN } from "./long_sum.ts";
import { SIGN, type VectorMath } from "./math.ts";
import { i32, int } from "./wasm/scalars.ts";
import { f32x4, v128 } from "./wasm/vectors.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";

type Lanes = Local<"v128">;

/** The point in nested loops where sums are carried one level up: after `every` rounds of one of the loops. */
export interface Cascade {
  /** The loop, counted from the outermost. */
  readonly loop: number;
  /** Its rounds between two carries. */
  readonly every: number;
  /** The number of levels above the first. */
  readonly levels: number;
}

/**
 * The cascade for loops of `rounds` rounds each, outermost first; undefined if the terms are few, or no reduction rounds.
 */
export function cascadeOf(reductions: readonly Reduction[], rounds: readonly number[]): Cascade | undefined {
  if (!reductions.some(isRounded)) return undefined;
  let terms = 1; // of one round of the current loop
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

/** Tests whether a reduction rounds. The order of its terms matters only then. */
function isRounded({ fn, dtype }: Reduction): boolean {
  return fn === "sum" && dtype === "f32";
}

/**
 * A maximum or minimum of floats in progress. `f32x4.max` and `min` take about eight instructions each, most for NaN and
 * the signs of zeros; `pmax` and `pmin` take one, and four in all suffice with these beside them.
 */
interface Extreme {
  /** All ones if there was a NaN. */
  readonly missing: Lanes;
  /**
   * The conjunction of all terms for a maximum, the disjunction for a minimum, of which only the sign matters: it is the
   * sign of the result. A maximum is negative if all terms are, and zeros count by their sign.
   */
  readonly signs: Lanes;
}

/** Accumulators of the reductions of a nest, several vectors each. */
export class Accumulators {
  /** The accumulators that terms are added to, `[reduction][vector]`; at the end, the results. */
  readonly values: readonly (readonly Lanes[])[];
  /** The rest of those that are extremes of floats, `[reduction][vector]`. */
  readonly #extremes: readonly (readonly Extreme[])[];
  /** The accumulators of rounded sums. */
  readonly #summed: readonly Lanes[];
  /** The sums that those are carried to, lowest level first. */
  readonly #above: readonly (readonly Lanes[])[];
  /** The number of carries. */
  readonly #times: Local<"i32"> | undefined;
  readonly #f: FunctionBuilder;
  readonly #math: VectorMath;
  readonly #reductions: readonly Reduction[];

  /** Writes code that sets them to the identity elements of the reductions. */
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
    this.#math = math;
    this.#reductions = reductions;
    this.values = reductions.map(start);
    this.#extremes = reductions.map(({ fn, dtype }) =>
      Array.from({ length: dtype === "f32" && fn !== "sum" ? vectors : 0 }, () => ({
        missing: f.local("v128", math.integer(0)),
        signs: f.local("v128", math.integer(fn === "max" ? -1 : 0)),
      }))
    );
    this.#summed = this.values.filter((_, i) => isRounded(reductions[i])).flat();
    this.#above = Array.from(
      { length: cascade?.levels ?? 0 },
      () => this.#summed.map(() => f.local("v128", f32x4.constant(0))),
    );
    this.#times = (cascade?.levels ?? 0) > 1 ? f.int(0) : undefined;
  }

  /** Adds a term to one vector of each reduction. */
  add(vector: number, termOf: (reduction: Reduction) => Lanes): void {
    const f = this.#f;
    for (const [i, reduction] of this.#reductions.entries()) {
      const { fn, dtype } = reduction;
      const [value, term] = [at(at(this.values, i), vector), termOf(reduction)];
      const extreme = this.#extremes[i]?.[vector];
      if (extreme === undefined) {
        f.set(value, fold(this.#math, fn, dtype, value, term));
        continue;
      }
      const { missing, signs } = extreme;
      f.set(value, fn === "max" ? f32x4.pmax(value, term) : f32x4.pmin(value, term));
      f.set(signs, fn === "max" ? v128.and(signs, term) : v128.or(signs, term));
      f.set(missing, v128.or(missing, f32x4.ne(term, term)));
    }
  }

  /** Carries sums one level up, and from there further up each time {@link FAN} of them have been added. */
  carry(): void {
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

  /** Completes {@link values}: adds the upper levels to sums, and NaN and signs to extremes. */
  finish(): void {
    for (const [i, extremes] of this.#extremes.entries()) {
      for (const [vector, { missing, signs }] of extremes.entries()) {
        const value = at(at(this.values, i), vector);
        const signed = v128.bitselect(signs, value, this.#math.integer(SIGN));
        this.#f.set(value, v128.or(signed, missing)); // all ones is a NaN
      }
    }
    for (const level of this.#above) {
      this.#summed.forEach((sum, i) => this.#f.set(sum, f32x4.add(sum, level[i])));
    }
  }
}
