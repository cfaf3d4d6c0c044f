import type { Kernel } from "../../compile/kernel.ts";
import { fold, reductionStart } from "./expressions.ts";
import type { Functions, Width } from "./functions.ts";

/** The reductions of a kernel. */
export type Reductions = NonNullable<Kernel["reduce"]>["reductions"];

/**
 * Terms added one after the other before their sum goes into that of so many such sums, and so on: rounding errors grow
 * with the longest row of additions.
 */
const CHUNK = 32;

/** A loop over terms that are folded into the accumulators `a0`, `a1` …. */
export interface Loop {
  readonly reductions: Reductions;
  readonly width: Width;
  readonly functions: Functions;
  /** How many terms there are: an expression, and the most it comes to. */
  readonly count: string;
  readonly most: number;
  /** Lines that make term `n`, each reduction's of which is `term(r)`. */
  readonly body: readonly string[];
  readonly term: (reduction: number) => string;
}

/** The lines of a loop, nested where it is long and sums. */
export function accumulate(loop: Loop): string[] {
  const { reductions, width, functions, count, most, body, term } = loop;
  const sums = reductions.some(({ fn }) => fn === "sum");
  const depth = !sums || most <= 2 * CHUNK ? 0 : most <= 2 * CHUNK ** 2 ? 1 : 2;
  const start = (prefix: string): string[] =>
    reductions.map(({ fn, dtype }, r) => `var ${prefix}${r} = ${reductionStart(fn, dtype, width)};`);
  const take = (prefix: string, value: (r: number) => string): string[] =>
    reductions.map(({ fn, dtype }, r) => {
      const sum = fold(fn, `${prefix}${r}`, value(r), dtype, { width, functions });
      return `${prefix}${r} = ${sum};`;
    });
  /** Terms from `first` on below `end`, of which there are at most `laps`. */
  const nest = (level: number, prefix: string, first: string, end: string, laps: number): string[] => {
    if (level === 0) {
      return [
        `for (var n = ${first}; n < ${end}; n++) { // at most ${laps}`,
        ...body,
        ...take(prefix, term),
        "}",
      ];
    }
    const [name, inner, size] = [`n${level}`, `${prefix}${level}_`, CHUNK ** level];
    return [
      `for (var ${name} = ${first}; ${name} < ${end}; ${name} += ${size}u) { // at most ${laps} / ${size}`,
      ...start(inner),
      ...nest(level - 1, inner, name, `min(${name} + ${size}u, ${end})`, Math.min(laps, size)),
      ...take(prefix, (r) => `${inner}${r}`),
      "}",
    ];
  };
  return [...start("a"), ...nest(depth, "a", "0u", count, most)];
}

/** Parts folded by one invocation at most. */
export const FOLD = 128;

/** How many partial results are left before each pass that folds them: `parts`, then as few as that takes. */
export function levelsOf(parts: number): number[] {
  return parts <= 1 ? [] : parts <= FOLD ? [parts] : [parts, ...levelsOf(Math.ceil(parts / FOLD))];
}
