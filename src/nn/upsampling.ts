import { expectOptions, pairFrom } from "../base/expect.ts";
import { type Both, resizeBilinear } from "../trace/functions.ts";
import { type Layer, stateless } from "./layer.ts";

/** Options of {@link upsampling}. */
export interface UpsamplingSpec {
  /** Height and width of the result, in pixels; one number where they are equal. */
  size: Both;
  /** Aligns the centres of the corner pixels; default false. */
  alignCorners?: boolean;
}

/**
 * Bilinear resizing of NHWC images to a given size, as PyTorch's `Upsample(mode="bilinear")`, such as of logits to the size
 * of the labels. It has no parameters.
 *
 * @example
 * ```ts
 * import { nn } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(nn.shapeAfter(nn.upsampling({ size: [512, 1024] }), [64, 128, 19]), [512, 1024, 19]);
 * ```
 */
export function upsampling(spec: UpsamplingSpec): Layer {
  expectOptions("upsampling", spec, { size: "any", alignCorners: "boolean?" });
  const { size, alignCorners = false } = spec;
  const [height, width] = pairFrom("upsampling: size", size, 1);
  return stateless((x) => {
    const [, rows, columns] = x.shape;
    return rows === height && columns === width ? x : resizeBilinear(x, [height, width], { alignCorners });
  });
}
