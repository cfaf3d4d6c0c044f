import { Memo } from "./memo.ts";

/**
 * The most iterations that all loops of one invocation may add up to, nested loops included. Mesa's software adapter
 * silently ends a loop after 65,535 (LP_MAX_TGSI_LOOP_ITERATIONS in gallivm's lp_bld_limits.h), and a card's driver stops
 * a kernel that takes seconds. Longer work is split over more invocations, and further dispatches fold their results.
 */
export const MAX_ITERATIONS = 2 ** 15;

/** The most terms of a sum that one invocation adds; the other half of the iterations is for the loops around it. */
export const MAX_RUN = MAX_ITERATIONS / 2;

interface Block {
  /** The iterations of a loop; undefined for a block that is not a loop. */
  readonly iterations: number | undefined;
  /** The function whose body this is, if any. */
  readonly name: string | undefined;
  /** The block around this one; undefined for the whole shader. */
  readonly outer: Block | undefined;
  /** The iterations of the loops and calls inside. */
  inside: number;
}

/**
 * The most iterations of one invocation of a shader. The line that opens a loop states the bound on its iterations:
 * `for (…) { // at most 9`, or `// at most 30 / 4`, which is rounded up. Every function is defined before its uses.
 */
export function iterationsOf(code: string): number {
  return counted.of(code, () => count(code));
}

const counted = new Memo<number>();

function count(code: string): number {
  const functions = new Map<string, number>();
  let block: Block = { iterations: undefined, name: undefined, outer: undefined, inside: 0 };
  let name: string | undefined, iterations: number | undefined;
  for (const line of code.split("\n")) {
    const [text = "", comment = ""] = line.split("//");
    for (const [token, defined, called] of text.matchAll(/\bfn (\w+)|\b(?:for|while|loop)\b|(\w+)\(|[{}]/g)) {
      if (defined !== undefined) name = defined;
      else if (called !== undefined) block.inside += functions.get(called) ?? 0;
      else if (token === "{") {
        block = { iterations, name, outer: block, inside: 0 };
        iterations = name = undefined;
      } else if (token === "}") {
        const { iterations, name, outer, inside }: Block = block;
        if (outer === undefined) throw new Error("webgpu: a shader closes more braces than it opens");
        const total = iterations === undefined ? inside : iterations * (1 + inside);
        if (name === undefined) outer.inside += total;
        else functions.set(name, total);
        block = outer;
      } else {
        const bound = /at most (\d+)(?: \/ (\d+))?/.exec(comment);
        if (bound === null) {
          throw new Error(`webgpu: a loop states no bound on its iterations (// at most N): ${line.trim()}`);
        }
        iterations = Math.ceil(Number(bound[1]) / Number(bound[2] ?? 1));
      }
    }
  }
  return functions.get("main") ?? 0;
}
