import { LocalgradError } from "../base/errors.ts";
import { expectOptions, expectWhole, pairFrom } from "../base/expect.ts";
import { formatAval } from "../trace/dtype.ts";
import type { Both } from "../trace/functions.ts";
import type { Tensor } from "../trace/tensor.ts";
import { uniformInitial } from "./initial.ts";
import { type Layer, layer } from "./layer.ts";

/** Options of {@link convTranspose}. */
export interface ConvTransposeSpec {
  /** Channels of the input. */
  in: number;
  /** Channels of the result. */
  out: number;
  /** Height and width of the filter, one number where they are equal; default 3. */
  window?: Both;
  /** Pixels of the result between those of neighbouring inputs; default 1. */
  strides?: Both;
  /** Rows and columns cut off at each side of the result; default 0. */
  padding?: Both;
  /** Rows and columns added at the bottom and right, fewer than `strides`; default 0. */
  outputPadding?: Both;
  /** Distance between the taps of the filter, in pixels; default 1. */
  dilation?: Both;
  /** Channel groups; default 1. */
  groups?: number;
  /** Adds a learned value per output channel; default true. */
  bias?: boolean;
}

/**
 * Transposed 2-D convolution, as PyTorch's `ConvTranspose2d`: the gradient of a convolution to its image, which makes images
 * larger. A side of n pixels becomes (n − 1) · stride − 2 · padding + dilation · (window − 1) + outputPadding + 1.
 * `weight` is `[in, height, width, out / groups]`, and starts as PyTorch's, uniform within
 * ±1/√(out / groups · height · width), as does `bias`.
 *
 * @throws {LocalgradError} if the groups do not divide the channels, an option is out of range, or, when applied, nothing
 * is left of the result.
 *
 * @example
 * ```ts
 * import { nn } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const twice = nn.convTranspose({ in: 8, out: 3, window: 4, strides: 2, padding: 1 });
 * assertEquals(nn.shapeAfter(twice, [16, 10, 8]), [32, 20, 3]);
 * ```
 */
export function convTranspose(spec: ConvTransposeSpec): Layer {
  expectOptions("convTranspose", spec, {
    in: "number",
    out: "number",
    window: "any?",
    strides: "any?",
    padding: "any?",
    outputPadding: "any?",
    dilation: "any?",
    groups: "number?",
    bias: "boolean?",
  });
  const { in: inputs, out, groups = 1, bias = true } = spec;
  for (const [name, value] of Object.entries({ in: inputs, out, groups })) {
    expectWhole(`convTranspose: ${name}`, value);
  }
  if (inputs % groups !== 0 || out % groups !== 0) {
    throw new LocalgradError(
      `convTranspose: ${inputs} → ${out} channels cannot be divided into ${groups} groups`,
    );
  }
  const pairOf = (name: string, value: Both, least: number) =>
    pairFrom(`convTranspose: ${name}`, value, least);
  const window = pairOf("window", spec.window ?? 3, 1);
  const strides = pairOf("strides", spec.strides ?? 1, 1);
  const padding = pairOf("padding", spec.padding ?? 0, 0);
  const dilation = pairOf("dilation", spec.dilation ?? 1, 1);
  const extra = pairOf("outputPadding", spec.outputPadding ?? 0, 0);
  if (extra[0] >= strides[0] || extra[1] >= strides[1]) {
    throw new LocalgradError(`convTranspose: outputPadding [${extra}] must be below strides [${strides}]`);
  }
  const bound = 1 / Math.sqrt(out / groups * window[0] * window[1]);
  const weight = uniformInitial(bound, [inputs, ...window, out / groups]);
  const enlarged = (x: Tensor, weight: Tensor): Tensor => {
    if (x.rank !== 4 || x.shape[3] !== inputs) {
      throw new LocalgradError(
        `convTranspose: needs [batch, height, width, ${inputs}], not ${formatAval(x)}`,
      );
    }
    const [batch = 1, rows = 1, columns = 1] = x.shape;
    const side = (extent: number, axis: 0 | 1) =>
      (extent - 1) * strides[axis] - 2 * padding[axis] + dilation[axis] * (window[axis] - 1) + extra[axis] +
      1;
    const [height, width] = [side(rows, 0), side(columns, 1)];
    if (height < 1 || width < 1) {
      throw new LocalgradError(`convTranspose: a padding of [${padding}] leaves nothing of ${formatAval(x)}`);
    }
    const [top, left] = padding;
    return x.trace.emit("convInputGrad", [x, weight.cast(x.dtype)], {
      strides,
      padding: [[top, top], [left, left]],
      dilation,
      groups,
      inputShape: [batch, height, width, out],
    });
  };
  if (!bias) {
    return layer({
      params: { weight },
      apply: ({ weight }, state, x) => ({ y: enlarged(x, weight), state }),
    });
  }
  return layer({
    params: { weight, bias: uniformInitial(bound, [out]) },
    apply: ({ weight, bias }, state, x) => ({ y: enlarged(x, weight).add(bias.cast(x.dtype)), state }),
  });
}
