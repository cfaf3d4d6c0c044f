import { Memo } from "./memo.ts";

/**
 * The most iterations that all loops of an invocation come to, nested ones together. Mesa's software adapter ends them
 * without a word after 65,535 (LP_MAX_TGSI_LOOP_ITERATIONS in gallivm's lp_bld_limits.h), and a card's driver stops a
 * kernel that takes seconds. What is longer is done by more invocations, whose partial results further dispatches fold.
 */
export const MAX_ITERATIONS = 2 ** 15;

/** The terms of a sum that one invocation adds at most: the other half is for the loops around them. */
export const MAX_RUN = MAX_ITERATIONS / 2;

interface Block {
  /** How often a loop's body runs; undefined for a block that is not a loop's. */
  readonly laps: number | undefined;
  /** The function that this is the body of. */
  readonly name: string | undefined;
  /** Iterations within. */
  within: number;
}

/**
 * The most iterations that an invocation of a shader comes to. The line that opens a loop says how often its body runs
 * at most: `for (…) { // at most 9`, or `// at most 30 / 4`, which is rounded up. Every function comes before its uses.
 */
export function iterationsOf(code: string): number {
  return counted.of(code, () => count(code));
}

const counted = new Memo<number>();

function count(code: string): number {
  const functions = new Map<string, number>();
  const open: Block[] = [{ laps: undefined, name: undefined, within: 0 }];
  let name: string | undefined, laps: number | undefined;
  for (const line of code.split("\n")) {
    const [text, comment = ""] = line.split("//");
    for (const [token, defined, called] of text.matchAll(/\bfn (\w+)|\b(?:for|while|loop)\b|(\w+)\(|[{}]/g)) {
      const block = open[open.length - 1];
      if (defined !== undefined) name = defined;
      else if (called !== undefined) block.within += functions.get(called) ?? 0;
      else if (token === "{") {
        open.push({ laps, name, within: 0 });
        laps = name = undefined;
      } else if (token === "}") {
        open.pop();
        const total = block.laps === undefined ? block.within : block.laps * (1 + block.within);
        open[open.length - 1].within += block.name === undefined ? total : 0;
        if (block.name !== undefined) functions.set(block.name, total);
      } else {
        const bound = /at most (\d+)(?: \/ (\d+))?/.exec(comment);
        if (bound === null) {
          throw new Error(`webgpu: a loop does not say how long it is at most: ${line.trim()}`);
        }
        laps = Math.ceil(Number(bound[1]) / Number(bound[2] ?? 1));
      }
    }
  }
  return functions.get("main") ?? 0;
}
