import type { Aval } from "../../trace/dtype.ts";
import type { StructuredOp } from "../../trace/ops.ts";
import type { InstructionOf } from "../../trace/program.ts";
import { argmax, argmaxWorkspace } from "./argmax.ts";
import type { Call } from "./call.ts";
import { conv, convFilterGrad, convInputGrad, convWorkspace } from "./conv.ts";
import { gather } from "./gather.ts";
import { matmul, matmulWorkspace } from "./matmul.ts";
import { concat, pad } from "./move.ts";
import { type Operation, operationOf } from "./operation.ts";
import { pool, poolGrad, poolGradWorkspace, poolWorkspace } from "./pool.ts";
import { resize, resizeWorkspace } from "./resize.ts";
import { scatterAdd, scatterWorkspace } from "./scatter.ts";
import type { Variant } from "./variant.ts";

type Rule<N extends StructuredOp, R> = (operation: Operation<N>, variant: Variant) => R;

/** The implementation of an op. */
interface Implementation<N extends StructuredOp> {
  /** The dispatches that compute it. */
  readonly calls: Rule<N, Call[]>;
  /** Bytes of workspace that they use; none by default. */
  readonly workspace?: Rule<N, number>;
}

/** The implementation of each structured op. */
const implementations: { readonly [N in StructuredOp]: Implementation<N> } = {
  conv: { calls: conv, workspace: convWorkspace },
  convInputGrad: { calls: convInputGrad, workspace: convWorkspace },
  convFilterGrad: { calls: convFilterGrad, workspace: convWorkspace },
  matmul: { calls: matmul, workspace: matmulWorkspace },
  maxPool: { calls: pool, workspace: poolWorkspace },
  maxPoolPick: { calls: pool, workspace: poolWorkspace },
  avgPool: { calls: pool, workspace: poolWorkspace },
  maxPoolGrad: { calls: poolGrad, workspace: poolGradWorkspace },
  avgPoolGrad: { calls: poolGrad, workspace: poolGradWorkspace },
  resize: { calls: resize, workspace: resizeWorkspace },
  resizeGrad: { calls: resize, workspace: resizeWorkspace },
  scatterAdd: { calls: scatterAdd, workspace: scatterWorkspace },
  argmax: { calls: argmax, workspace: argmaxWorkspace },
  gather: { calls: gather },
  concat: { calls: concat },
  pad: { calls: pad },
};

/** The dispatches of a structured op. */
export function structured<N extends StructuredOp>(
  instruction: InstructionOf<N>,
  values: readonly Aval[],
  variant: Variant,
): Call[] {
  return implementations[instruction.op].calls(operationOf(instruction, values), variant);
}

/** Bytes of workspace of a structured op. */
export function structuredWorkspace<N extends StructuredOp>(
  instruction: InstructionOf<N>,
  values: readonly Aval[],
  variant: Variant,
): number {
  return implementations[instruction.op].workspace?.(operationOf(instruction, values), variant) ?? 0;
}
