import { expectOptions, expectWhole } from "../base/expect.ts";
import { scope } from "../trace/trace.ts";
import { relu } from "./activation.ts";
import { conv } from "./conv.ts";
import { type Layer, layer, sequential } from "./layer.ts";

/** Options of {@link squeezeExcitation}. */
export interface SqueezeExcitationSpec {
  /** Channels of the input. */
  channels: number;
  /** Channels between the two layers; default a quarter, at least 1. */
  squeezed?: number;
}

/**
 * Squeeze-and-excitation (Hu et al., 2018, arXiv 1709.01507): multiplies each channel of an image by a number in (0, 1), which
 * two layers with ReLU and sigmoid compute from the means of all channels. Parameters have torchvision's names and shapes:
 * `fc1` and `fc2` are 1×1 convolutions with bias.
 *
 * @example
 * ```ts
 * import { nn } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const block = nn.sequential({ conv: nn.conv({ in: 3, out: 32 }), se: nn.squeezeExcitation({ channels: 32 }) });
 * assertEquals(nn.shapeAfter(block, [8, 8, 3]), [6, 6, 32]);
 * assertEquals(Object.keys(nn.squeezeExcitation({ channels: 32 }).params), ["fc1", "fc2"]);
 * ```
 */
export function squeezeExcitation(spec: SqueezeExcitationSpec): Layer {
  expectOptions("squeezeExcitation", spec, { channels: "number", squeezed: "number?" });
  const { channels, squeezed = Math.max(1, Math.floor(channels / 4)) } = spec;
  expectWhole("squeezeExcitation: channels", channels);
  expectWhole("squeezeExcitation: squeezed", squeezed);
  const scale = sequential({
    fc1: conv({ in: channels, out: squeezed, window: 1, bias: true }),
    activation: relu(),
    fc2: conv({ in: squeezed, out: channels, window: 1, bias: true }),
  });
  return layer({
    params: scale.params,
    apply(params, state, x, mode) {
      const { y } = scope("scale", () => scale.apply(params, {}, x.mean([1, 2], { keepDims: true }), mode));
      return { y: x.mul(y.sigmoid()), state };
    },
  });
}
