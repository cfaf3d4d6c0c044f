/**
 * The op suite's structured groups on a card: `suite.ts GROUP PRECISION [MOST]` runs a group, or about MOST cases of it,
 * and prints one line of JSON, or fails with the cases that differ.
 */
import { inBf16 } from "../../tests/ops/bf16.ts";
import { checkCases } from "../../tests/ops/check.ts";
import { Random } from "../../tests/ops/random.ts";
import { groups, verified } from "../../tests/ops/suite.ts";
import { onCard, type Opener, say } from "./opener.ts";
import type { Row } from "./row.ts";

/** Groups with kernels or library calls of their own, those of libraries first. */
export const structured = [
  "convolution and its gradients",
  "matmul",
  "pooling and its gradients",
  "reductions",
  "long reductions",
  "argmax",
  "gather",
  "scatterAdd",
  "resize and its gradient",
  "transpose",
] as const;

/** Checks about `most` cases of a group, evenly chosen; returns their number. */
export async function check(
  open: Opener,
  group: string,
  precision: Row["precision"],
  most: number = Infinity,
): Promise<number> {
  const all = groups[group]!(new Random(1));
  const step = Math.max(1, Math.floor(all.length / most));
  const cases = all.filter((_, i) => i % step === 0);
  const backend = await open({ engines: "heuristic", ...(precision === "bf16" ? {} : { precision }) });
  try {
    if (precision === "bf16") await checkCases(backend, cases.map(inBf16), verified);
    else await checkCases(backend, cases, verified, precision);
  } finally {
    await backend.close();
  }
  return cases.length;
}

if (import.meta.main) {
  const [group = "", precision = "f32", most = "Infinity"] = Deno.args;
  const start = performance.now();
  const cases = await check(onCard, group, precision as Row["precision"], Number(most));
  say({ cases, seconds: (performance.now() - start) / 1000 });
}
