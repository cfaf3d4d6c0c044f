import { at } from "../../base/at.ts";
import type { Aval } from "../../trace/dtype.ts";
import type { OpAttrs, OpOperands, StructuredOp } from "../../trace/ops.ts";
import type { InstructionOf, ValueId } from "../../trace/program.ts";
import { argmax } from "./argmax.ts";
import { conv, convFilterGrad, convInputGrad } from "./conv.ts";
import { gather } from "./gather.ts";
import { matmul } from "./matmul.ts";
import { concat, pad } from "./move.ts";
import { avgPool, maxPool, maxPoolPick } from "./pool.ts";
import { avgPoolGrad } from "./pool_grad.ts";
import { maxPoolGrad } from "./pool_max_grad.ts";
import { resize, resizeGrad } from "./resize.ts";
import type { Launch, Launches } from "./routine.ts";
import { inF32, type Port } from "./in_f32.ts";
import { scatterAdd } from "./scatter.ts";

type Lowering<N extends StructuredOp> = (
  inputs: OpOperands<Port>[N],
  result: Port,
  attrs: OpAttrs[N],
) => Launches;

/** The launches of each structured op. */
const lowerings: { readonly [N in StructuredOp]: Lowering<N> } = {
  matmul([a, b], c, attrs) {
    const [n = 1, m = 1, batch = 1] = c.shape.toReversed();
    const k = at(a.shape, a.shape.length - (attrs.transposeA ? 2 : 1));
    return matmul({ batch, m, n, k, ...attrs }, a.place, b.place, c.place);
  },
  conv([image, filter], y, attrs) {
    const shapes = { image: image.shape, filter: filter.shape, y: y.shape };
    return conv(shapes, attrs, image.place, filter.place, y.place);
  },
  convInputGrad([dy, filter], dx, attrs) {
    const shapes = { image: attrs.inputShape, filter: filter.shape, y: dy.shape };
    return convInputGrad(shapes, attrs, dy.place, filter.place, dx.place);
  },
  convFilterGrad([image, dy], dw, attrs) {
    const shapes = { image: image.shape, filter: attrs.filterShape, y: dy.shape };
    return convFilterGrad(shapes, attrs, image.place, dy.place, dw.place);
  },
  maxPool([image], y, attrs) {
    return alone(maxPool({ image: image.shape, y: y.shape }, attrs, image.place, y.place));
  },
  maxPoolGrad([image, dy], dx, attrs) {
    const shapes = { image: image.shape, y: dy.shape };
    return maxPoolGrad(shapes, attrs, image.place, dy.place, dx.place);
  },
  maxPoolPick([image, v], y, attrs) {
    const shapes = { image: image.shape, y: y.shape };
    return alone(maxPoolPick(shapes, attrs, image.place, v.place, y.place));
  },
  avgPool([image], y, attrs) {
    return alone(avgPool({ image: image.shape, y: y.shape }, attrs, image.place, y.place));
  },
  avgPoolGrad([dy], dx, attrs) {
    return alone(avgPoolGrad({ image: dx.shape, y: dy.shape }, attrs, dy.place, dx.place));
  },
  resize([image], y, { alignCorners }) {
    return alone(resize(image.shape, y.shape, alignCorners, image.place, y.place));
  },
  resizeGrad([dy], dx, { alignCorners }) {
    return alone(resizeGrad(dy.shape, dx.shape, alignCorners, dy.place, dx.place));
  },
  gather([operand, indices], result) {
    return alone(gather(operand, indices, operand.place, indices.place, result.place));
  },
  scatterAdd([updates, indices], result) {
    return scatterAdd(result, indices, updates.place, indices.place, result.place);
  },
  pad([operand], result, attrs) {
    return pad(operand, result, attrs, operand.place, result.place);
  },
  concat(operands, result, attrs) {
    return concat(operands, result, attrs, operands.map(({ place }) => place), result.place);
  },
  argmax([operand], result, { axis }) {
    return argmax(operand, axis, operand.place, result.place);
  },
};

/** Ops that move elements of any size. The others compute with f32. */
const moves: ReadonlySet<StructuredOp> = new Set(["gather", "pad", "concat"]);

/** The launches of a structured op. */
export function structured<N extends StructuredOp>(
  { op, attrs, inputs, output }: InstructionOf<N>,
  values: readonly Aval[],
): Launches {
  const port = (value: ValueId): Port => ({ ...at(values, value), place: { value } });
  const lower = (inputs: readonly Port[], output: Port): Launches =>
    lowerings[op](inputs as unknown as OpOperands<Port>[N], output, attrs); // as many as the instruction has
  const operands = inputs.map(port);
  return moves.has(op) ? lower(operands, port(output)) : inF32(operands, port(output), lower);
}

const alone = (launch: Launch): Launches => ({ launches: [launch], workspace: 0 });
