import type { Step } from "../../compile/plan.ts";
import type { Aval } from "../../trace/dtype.ts";
import type { OpAttrs, StructuredOp } from "../../trace/ops.ts";
import type { InstructionOf, ValueId } from "../../trace/program.ts";
import * as conv from "./conv.ts";
import { fused } from "./fused.ts";
import { gather } from "./gather.ts";
import { matrixProduct } from "./gemm.ts";
import { argmax, concat, pad } from "./move.ts";
import * as pool from "./pool.ts";
import * as poolGrad from "./pool_grad.ts";
import { resize, resizeGrad } from "./resize.ts";
import type { Launch, Lowered, Operand } from "./routine.ts";
import { scatterAdd } from "./scatter.ts";

/** Operands and result of an instruction. */
interface Ports {
  readonly inputs: readonly Aval[];
  readonly result: Aval;
  /** Where each operand lies, and the result. */
  readonly from: readonly Operand[];
  readonly to: Operand;
}

type Lowering<N extends StructuredOp> = (ports: Ports, attrs: OpAttrs[N]) => Lowered;

const alone = (launch: Launch): Lowered => ({ launches: [launch], workspace: 0 });

/** What each structured op becomes. */
const lowerings: { readonly [N in StructuredOp]: Lowering<N> } = {
  matmul({ inputs: [a], result, from, to }, attrs) {
    const rank = a.shape.length;
    const [m, n] = result.shape.slice(-2);
    const k = a.shape[attrs.transposeA ? rank - 2 : rank - 1];
    return matrixProduct({ batch: rank === 3 ? a.shape[0] : 1, m, n, k, ...attrs }, from[0], from[1], to);
  },
  conv({ inputs: [image, filter], result, from, to }, attrs) {
    const shapes = { image: image.shape, filter: filter.shape, y: result.shape };
    return conv.forward(shapes, attrs, from[0], from[1], to);
  },
  convInputGrad({ inputs: [dy, filter], from, to }, attrs) {
    const shapes = { image: attrs.inputShape, filter: filter.shape, y: dy.shape };
    return conv.inputGrad(shapes, attrs, from[0], from[1], to);
  },
  convFilterGrad({ inputs: [image, dy], from, to }, attrs) {
    const shapes = { image: image.shape, filter: attrs.filterShape, y: dy.shape };
    return conv.filterGrad(shapes, attrs, from[0], from[1], to);
  },
  maxPool({ inputs: [image], result, from, to }, attrs) {
    return alone(pool.maxPool({ image: image.shape, y: result.shape }, attrs, from[0], to));
  },
  maxPoolGrad({ inputs: [image, dy], from, to }, attrs) {
    return poolGrad.maxPoolGrad({ image: image.shape, y: dy.shape }, attrs, from[0], from[1], to);
  },
  maxPoolPick({ inputs: [image], result, from, to }, attrs) {
    return alone(pool.maxPoolPick({ image: image.shape, y: result.shape }, attrs, from[0], from[1], to));
  },
  avgPool({ inputs: [image], result, from, to }, attrs) {
    return alone(pool.avgPool({ image: image.shape, y: result.shape }, attrs, from[0], to));
  },
  avgPoolGrad({ inputs: [dy], result, from, to }, attrs) {
    return alone(poolGrad.avgPoolGrad({ image: result.shape, y: dy.shape }, attrs, from[0], to));
  },
  resize({ inputs: [image], result, from, to }, { alignCorners }) {
    return alone(resize(image.shape, result.shape, alignCorners, from[0], to));
  },
  resizeGrad({ inputs: [dy], result, from, to }, { alignCorners }) {
    return alone(resizeGrad(dy.shape, result.shape, alignCorners, from[0], to));
  },
  gather({ inputs: [operand, indices], from, to }) {
    return alone(gather(operand, indices, from[0], from[1], to));
  },
  scatterAdd({ inputs: [, indices], result, from, to }) {
    return scatterAdd(result, indices, from[0], from[1], to);
  },
  pad({ inputs: [operand], result, from, to }, attrs) {
    return pad(operand, result, attrs, from[0], to);
  },
  concat({ inputs, result, from, to }, attrs) {
    return concat(inputs, result, attrs, from, to);
  },
  argmax({ inputs: [operand], from, to }, { axis }) {
    return argmax(operand, axis, from[0], to);
  },
};

/** What steps became: a step is asked about when it is planned, and again when its plan is compiled. */
const known = new WeakMap<object, Lowered>();

/** The launches a step becomes, and the workspace they need. */
export function lowerStep(step: Step, values: readonly Aval[]): Lowered {
  const key = step.kind === "kernel" ? step.kernel : step.instruction;
  let lowered = known.get(key);
  if (lowered === undefined) known.set(key, lowered = lower(step, values));
  return lowered;
}

function lower(step: Step, values: readonly Aval[]): Lowered {
  return step.kind === "kernel" ? fused(step.kernel, values) : structured(step.instruction, values);
}

function structured<N extends StructuredOp>(
  { op, attrs, inputs, output }: InstructionOf<N>,
  values: readonly Aval[],
): Lowered {
  const at = (value: ValueId): Operand => ({ value });
  const ports = {
    inputs: inputs.map((value) => values[value]),
    result: values[output],
    from: inputs.map(at),
    to: at(output),
  };
  return lowerings[op](ports, attrs);
}
