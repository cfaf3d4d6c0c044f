import type { OpName } from "../trace/ops.ts";

/**
 * Ops that a fused kernel evaluates point by point, so that their results need no memory of their own. `reduce` ends
 * a kernel and is not among them; every other op is a step by itself.
 */
export const fusableOps: ReadonlySet<OpName> = new Set<OpName>([
  "unary",
  "binary",
  "compare",
  "select",
  "cast",
  "constant",
  "iota",
  "randomBits",
  "broadcast",
  "reshape",
  "transpose",
  "slice",
]);
