import { LocalgradError } from "../base/errors.ts";
import { expectOptions, pairFrom } from "../base/expect.ts";
import { type Both, conv2d, type Conv2dOptions } from "../trace/functions.ts";
import { constantInitial, normalInitial, uniformInitial } from "./initial.ts";
import { type Layer, layer } from "./layer.ts";

/** Options of {@link conv}. */
export interface ConvSpec extends Conv2dOptions {
  /** Channels of the input. */
  in: number;
  /** Channels of the result. */
  out: number;
  /** Kernel size: height and width of the filter, one number where they are equal; default 3. */
  window?: Both;
  /** Adds a learned value per output channel; default false. */
  bias?: boolean;
  /** Standard deviation of the starting weight, with a bias of 0; default see {@link conv}. */
  std?: number;
}

/**
 * 2-D convolution of NHWC images. `weight` is `[out, height, width, in / groups]` and starts normal with standard
 * deviation √(2 / (height · width · out)) (He et al., 2015, arXiv 1502.01852, eq. 14), as in CIFAR ResNets. `bias`, if
 * any, starts uniform within ±1/√(in / groups · height · width), as PyTorch's, or at 0 if `std` is given.
 *
 * @example
 * ```ts
 * import { nn } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const layer = nn.conv({ in: 3, out: 8, window: [3, 5], strides: 2, padding: 1 });
 * assertEquals(nn.shapeAfter(layer, [32, 32, 3]), [16, 15, 8]);
 * ```
 */
export function conv(spec: ConvSpec): Layer {
  expectOptions("conv", spec, {
    in: "number",
    out: "number",
    window: "any?",
    bias: "boolean?",
    strides: "any?",
    padding: "any?",
    dilation: "any?",
    groups: "number?",
    std: "number?",
  });
  const { in: inputs, out, window = 3, bias = false, std, ...geometry } = spec;
  const [height, width] = pairFrom("conv: window", window, 1);
  for (const name of ["strides", "dilation"] as const) pairFrom(`conv: ${name}`, spec[name] ?? 1, 1);
  const { groups = 1 } = spec;
  if (inputs % groups !== 0 || out % groups !== 0) {
    throw new LocalgradError(`conv: ${inputs} → ${out} channels cannot be divided into ${groups} groups`);
  }
  const depth = inputs / groups;
  const weight = normalInitial(std ?? Math.sqrt(2 / (height * width * out)), [out, height, width, depth]);
  if (!bias) {
    return layer({
      params: { weight },
      apply: ({ weight }, state, x) => ({ y: conv2d(x, weight.cast(x.dtype), geometry), state }),
    });
  }
  return layer({
    params: {
      weight,
      bias: std === undefined
        ? uniformInitial(1 / Math.sqrt(height * width * depth), [out])
        : constantInitial(0, [out]),
    },
    apply: ({ weight, bias }, state, x) => ({
      y: conv2d(x, weight.cast(x.dtype), geometry).add(bias.cast(x.dtype)),
      state,
    }),
  });
}
