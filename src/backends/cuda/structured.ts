import { at } from "../../base/at.ts";
import { sizeOf } from "../../trace/dtype.ts";
import type { StructuredOp } from "../../trace/ops.ts";
import type { InstructionOf, StructuredInstruction, ValueId } from "../../trace/program.ts";
import { argmax } from "./argmax.ts";
import { placeKey, placeOf } from "../place.ts";
import type { Call } from "./call.ts";
import type { ConvInstruction } from "./conv.ts";
import { epilogueOf } from "./epilogues.ts";
import { fused } from "./fused.ts";
import { gather } from "./gather.ts";
import { kernelLaunches, type Launch, type StepContext } from "./launch.ts";
import { matmulSpecOf } from "./matmul.ts";
import { concat, pad } from "./move.ts";
import { pool } from "./pool.ts";
import { resize } from "./resize.ts";
import { scatterAdd } from "./scatter.ts";
import type { Values } from "./template.ts";
import { isThin, thinKernel } from "./thin.ts";

type Lowering<N extends StructuredOp> = (instruction: InstructionOf<N>, context: StepContext) => Launch[];

/** The launches of each structured op. */
const lowerings: { readonly [N in StructuredOp]: Lowering<N> } = {
  conv,
  convInputGrad: conv,
  convFilterGrad: conv,
  matmul,
  maxPool: kernels(pool),
  maxPoolGrad: kernels(pool),
  maxPoolPick: kernels(pool),
  avgPool: kernels(pool),
  avgPoolGrad: kernels(pool),
  resize: kernels(resize),
  resizeGrad: kernels(resize),
  gather: kernels(gather),
  scatterAdd: kernels(scatterAdd),
  argmax: kernels(argmax),
  concat: kernels(concat),
  pad: kernels(pad),
};

/** The launches of a structured op; none if its result has no elements. */
export function structured<N extends StructuredOp>(
  instruction: InstructionOf<N>,
  context: StepContext,
): Launch[] {
  if (sizeOf(at(context.plan.values, instruction.output).shape) === 0) return [];
  return lowerings[instruction.op](instruction, context);
}

/** An op that is computed by kernels of ours. */
function kernels<N extends StructuredOp>(
  callsOf: (instruction: InstructionOf<N>, values: Values) => Call[],
): Lowering<N> {
  return (instruction, { plan, step }) => kernelLaunches(callsOf(instruction, plan.values), step);
}

/** A convolution or one of its gradients, through cuDNN. */
function conv(instruction: ConvInstruction, { plan, step, index, spare, fuses }: StepContext): Launch[] {
  if (sumsNothing(instruction, plan.values)) return [{ kind: "zeros", value: instruction.output, step }];
  const own = step.workspace;
  const scratch = own !== undefined && own.bytes > spare.bytes ? own : spare;
  const epilogue = instruction.op === "conv" ? epilogueOf(plan, index, scratch) : undefined;
  return epilogue !== undefined && fuses(instruction, epilogue, scratch.bytes)
    ? [{ kind: "conv", instruction, step, scratch, epilogue }]
    : [{ kind: "conv", instruction, step, scratch }];
}

/** A product of matrices, through cuBLASLt unless an extent is 1. */
function matmul(instruction: InstructionOf<"matmul">, { plan, step, index, fuses }: StepContext): Launch[] {
  const { values } = plan;
  if (sumsNothing(instruction, values)) return [{ kind: "zeros", value: instruction.output, step }];
  const isBatch = at(values, instruction.output).shape.length === 3;
  const found = isBatch ? undefined : epilogueOf(plan, index);
  if (isThin(matmulSpecOf(instruction, values, "f32"))) {
    const kernel = thinKernel(instruction, values, found);
    const place = (value: ValueId) => placeKey(placeOf(plan, step, value));
    const call = fused([kernel], values, place, step.workspace !== undefined);
    return kernelLaunches([call], step, found);
  }
  return found !== undefined && fuses(instruction, found, step.workspace?.bytes ?? 0)
    ? [{ kind: "matmul", instruction, step, epilogue: found }]
    : [{ kind: "matmul", instruction, step }];
}

/** Tests whether an operand has no elements, so that each element of the result is a sum of no terms. */
function sumsNothing({ inputs }: StructuredInstruction, values: Values): boolean {
  return inputs.some((input) => sizeOf(at(values, input).shape) === 0);
}
