import type { Kernel, Node } from "../../compile/kernel.ts";
import { fold, reductionStart } from "./expressions.ts";
import type { Functions, Lanes } from "./functions.ts";
import type { Variant } from "./variant.ts";

/** The reductions of a kernel. */
export type Reductions = NonNullable<Kernel["reduce"]>["reductions"];

/**
 * The terms added in sequence before their sum becomes a term of the next level: rounding errors grow with the
 * longest chain of additions.
 */
const CHUNK = 32;

/** A loop that folds terms into the accumulators `a0`, `a1` …. */
export interface Loop {
  readonly reductions: Reductions;
  readonly lanes: Lanes;
  readonly functions: Functions;
  /** The number of terms: an expression, and its upper bound. */
  readonly count: string;
  readonly most: number;
  /** Lines that compute term `n`; `term(r)` is that of reduction `r`. */
  readonly body: readonly string[];
  readonly term: (reduction: number) => string;
}

/** The lines of a loop, nested if it is long and sums. */
export function accumulate(loop: Loop): string[] {
  const { reductions, lanes, functions, count, most, body, term } = loop;
  const sums = reductions.some(({ fn }) => fn === "sum");
  const depth = !sums || most <= 2 * CHUNK ? 0 : most <= 2 * CHUNK ** 2 ? 1 : 2;
  const start = (prefix: string): string[] =>
    reductions.map(({ fn, dtype }, r) => `var ${prefix}${r} = ${reductionStart(fn, dtype, lanes)};`);
  const take = (prefix: string, value: (r: number) => string): string[] =>
    reductions.map(({ fn, dtype }, r) => {
      const sum = fold(fn, `${prefix}${r}`, value(r), dtype, { lanes, functions });
      return `${prefix}${r} = ${sum};`;
    });
  /** A loop over the terms `first` ≤ n < `end`, at most `bound` of them. */
  const nest = (level: number, prefix: string, first: string, end: string, bound: number): string[] => {
    if (level === 0) {
      return [
        `for (var n = ${first}; n < ${end}; n++) { // at most ${bound}`,
        ...body,
        ...take(prefix, term),
        "}",
      ];
    }
    const [name, inner, size] = [`n${level}`, `${prefix}${level}_`, CHUNK ** level];
    return [
      `for (var ${name} = ${first}; ${name} < ${end}; ${name} += ${size}u) { // at most ${bound} / ${size}`,
      ...start(inner),
      ...nest(level - 1, inner, name, `min(${name} + ${size}u, ${end})`, Math.min(bound, size)),
      ...take(prefix, (r) => `${inner}${r}`),
      "}",
    ];
  };
  return [...start("a"), ...nest(depth, "a", "0u", count, most)];
}

/** The most parts that one invocation folds. */
export const FOLD = 128;

/** The number of partial results before each pass that folds them: `parts`, then ever fewer. */
export function levelsOf(parts: number): number[] {
  return parts <= 1 ? [] : parts <= FOLD ? [parts] : [parts, ...levelsOf(Math.ceil(parts / FOLD))];
}

/** The most terms that one invocation loops over; fewer if each term needs loops itself. */
export function longestRun(nodes: readonly Node[], { run }: Variant): number {
  const loops = nodes.filter((node) => node.kind === "binary" && node.fn === "rem" && node.dtype === "f32");
  return Math.max(1, Math.floor(run / (1 + REM_ITERATIONS * loops.length)));
}

/** The iterations of `rem` in functions.wgsl. */
const REM_ITERATIONS = 32;
