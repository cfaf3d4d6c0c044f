/** Convolutions with their gradients, and products, of given shapes. */
import type { Shape } from "../../../src/trace/dtype.ts";
import type { ConvAttrs } from "../../../src/trace/ops.ts";
import { shapeRules } from "../../../src/trace/shape_rules.ts";
import { type Case, opCase } from "../check.ts";
import { f32, type Random } from "../random.ts";

/** A convolution with its gradients. */
export function convolutions(
  random: Random,
  image: Shape,
  filter: Shape,
  attrs: Partial<ConvAttrs> = {},
): Case[] {
  const whole: ConvAttrs = {
    strides: [1, 1],
    padding: [[1, 1], [1, 1]],
    dilation: [1, 1],
    groups: 1,
    ...attrs,
  };
  const [x, w] = [f32(...image), f32(...filter)];
  const dy = shapeRules.conv([x, w], whole);
  const [a, b, c] = [x, w, dy].map((aval) => random.elements(aval));
  return [
    opCase("conv", [x, w], whole, [a, b]),
    opCase("convInputGrad", [dy, w], { ...whole, inputShape: image }, [c, b]),
    opCase("convFilterGrad", [x, dy], { ...whole, filterShape: filter }, [a, c]),
  ];
}

/** A product of `m × k` and `k × n`. */
export function product(
  random: Random,
  [m, k, n]: [number, number, number],
  transposeA: boolean,
  transposeB: boolean,
): Case {
  const a = f32(...(transposeA ? [k, m] : [m, k])), b = f32(...(transposeB ? [n, k] : [k, n]));
  return opCase("matmul", [a, b], { transposeA, transposeB }, [random.elements(a), random.elements(b)]);
}
