import type { Kernel } from "../../compile/kernel.ts";
import type { Aval } from "../../trace/dtype.ts";
import { cutNest } from "./fused_cut.ts";
import { NestWriter } from "./fused_loops.ts";
import { type Nest, nestOf } from "./fused_nest.ts";
import { rowsInside } from "./fused_rows.ts";
import { splitReduction } from "./fused_split.ts";
import { nestText } from "./fused_text.ts";
import type { Launch, Launches } from "./routine.ts";

/**
 * The launches of a fused kernel: one loop nest, or for a large reduction a nest of partial results and one that folds
 * them.
 */
export function fused(kernel: Kernel, values: readonly Aval[]): Launches {
  const { nests, workspace } = splitReduction(nestOf(kernel, values));
  return { launches: nests.map(launchOf), workspace };
}

/** The routine of one nest. */
export function launchOf(given: Nest): Launch {
  const nest = rowsInside(given);
  const plan = cutNest(nest);
  return {
    operands: nest.operands,
    routine: {
      key: nestText(nest),
      tasks: Math.ceil(plan.rows / plan.taskRows) * plan.pieces,
      operands: nest.operands.length,
      scratch: 0,
      build: (context) => new NestWriter(nest, plan, context).write(),
    },
  };
}
