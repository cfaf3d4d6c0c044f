import type { ConvAttrs } from "../../trace/ops.ts";
import type { Shape } from "../../trace/dtype.ts";
import { sizeOf } from "../../trace/dtype.ts";
import { type Correlation, forwardCorrelation, inputGradCorrelation } from "./conv_geometry.ts";
import { filterGrad as directFilterGrad } from "./conv_filter_grad.ts";
import { correlate } from "./conv_correlate.ts";
import { matmul } from "./matmul.ts";
import { packedBytes, packForward, packInputGrad } from "./conv_pack_filter.ts";
import type { Launches, Operand, Routine } from "./routine.ts";
import { winogradPays } from "./conv_winograd.ts";
import { winogradCorrelate } from "./conv_winograd_correlate.ts";
import { winogradFilterGrad } from "./conv_winograd_filter_grad.ts";

/** Tests whether a convolution is a product of matrices: a 1 × 1 filter, stride 1, no padding, one group. */
export function isPointwise(filter: Shape, { strides, padding, groups }: ConvAttrs): boolean {
  return filter[1] === 1 && filter[2] === 1 && groups === 1 && strides[0] === 1 && strides[1] === 1 &&
    padding.flat().every((pixels) => pixels === 0);
}

/** Shapes of a convolution: image, filter and result. */
export interface ConvShapes {
  readonly image: Shape;
  readonly filter: Shape;
  readonly y: Shape;
}

function correlated(
  correlation: Correlation,
  pack: Routine,
  source: Operand,
  filter: Operand,
  target: Operand,
): Launches {
  if (winogradPays(correlation)) return winogradCorrelate(correlation, pack, source, filter, target);
  const packed: Operand = { workspace: 0 };
  return {
    launches: [
      { routine: pack, operands: [filter, packed] },
      { routine: correlate(correlation), operands: [source, packed, target] },
    ],
    workspace: packedBytes(correlation),
  };
}

/** `y = conv(image, filter)`. */
export function conv(
  shapes: ConvShapes,
  attrs: ConvAttrs,
  image: Operand,
  filter: Operand,
  y: Operand,
): Launches {
  if (sizeOf(shapes.y) === 0) return { launches: [], workspace: 0 };
  if (isPointwise(shapes.filter, attrs)) {
    const [k, , , c] = shapes.filter;
    const pixels = sizeOf(shapes.y) / k;
    const product = { batch: 1, m: pixels, n: k, k: c, transposeA: false, transposeB: true };
    return matmul(product, image, filter, y);
  }
  const correlation = forwardCorrelation(shapes.image, shapes.filter, shapes.y, attrs);
  return correlated(correlation, packForward(correlation), image, filter, y);
}

/** `dx = convInputGrad(dy, filter)`. */
export function convInputGrad(
  shapes: ConvShapes,
  attrs: ConvAttrs,
  dy: Operand,
  filter: Operand,
  dx: Operand,
): Launches {
  if (sizeOf(shapes.image) === 0) return { launches: [], workspace: 0 };
  if (isPointwise(shapes.filter, attrs)) {
    const [k, , , c] = shapes.filter;
    const pixels = sizeOf(shapes.y) / k;
    const product = { batch: 1, m: pixels, n: c, k, transposeA: false, transposeB: false };
    return matmul(product, dy, filter, dx);
  }
  const correlation = inputGradCorrelation(shapes.y, shapes.filter, shapes.image, attrs);
  const pack = packInputGrad(correlation, shapes.filter[1], shapes.filter[2]);
  return correlated(correlation, pack, dy, filter, dx);
}

/** `dw = convFilterGrad(image, dy)`. */
export function convFilterGrad(
  shapes: ConvShapes,
  attrs: ConvAttrs,
  image: Operand,
  dy: Operand,
  dw: Operand,
): Launches {
  if (sizeOf(shapes.filter) === 0) return { launches: [], workspace: 0 };
  if (isPointwise(shapes.filter, attrs)) {
    const [m, , , n] = shapes.filter;
    const product = { batch: 1, m, n, k: sizeOf(shapes.y) / m, transposeA: true, transposeB: false };
    return matmul(product, dy, image, dw);
  }
  const correlation = forwardCorrelation(shapes.image, shapes.filter, shapes.y, attrs);
  const lower = winogradPays(correlation) ? winogradFilterGrad : directFilterGrad;
  return lower(correlation, image, dy, dw);
}
