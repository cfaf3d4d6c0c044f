import { scope } from "../trace/trace.ts";
import { batchNorm } from "./batch_norm.ts";
import { type Layer, layer, sequential } from "./layer.ts";
import { conv } from "./linear.ts";
import { relu } from "./pooling.ts";

/** What a {@link residualBlock} is. */
export interface ResidualSpec {
  /** Channels of the image. */
  in: number;
  /** Channels of the result. */
  out: number;
  /** Stride of the first convolution and of the projection; default 1. */
  stride?: number;
}

/**
 * The basic residual block (He et al., 2015, arXiv 1512.03385): relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)). The
 * shortcut is the identity where shapes allow it and a 1×1 convolution with batch norm (`downsample`) elsewhere.
 *
 * @example
 * ```ts
 * import { nn } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const block = nn.residualBlock({ in: 16, out: 32, stride: 2 });
 * assertEquals(nn.shapeAfter(block, [32, 32, 16]), [16, 16, 32]);
 * ```
 */
export function residualBlock(spec: ResidualSpec): Layer {
  const { in: inputs, out, stride = 1 } = spec;
  const branch = sequential({
    conv1: conv({ in: inputs, out, strides: stride, padding: 1 }),
    bn1: batchNorm({ channels: out }),
    relu: relu(),
    conv2: conv({ in: out, out, padding: 1 }),
    bn2: batchNorm({ channels: out }),
  });
  if (stride === 1 && inputs === out) {
    return layer({
      params: branch.params,
      state: branch.state,
      apply(params, state, x, mode) {
        const { y, state: next } = branch.apply(params, state, x, mode);
        return { y: y.add(x).relu(), state: next };
      },
    });
  }
  const shortcut = sequential({
    0: conv({ in: inputs, out, window: 1, strides: stride }),
    1: batchNorm({ channels: out }),
  });
  return layer({
    params: { ...branch.params, downsample: shortcut.params },
    state: { ...branch.state, downsample: shortcut.state },
    apply(params, state, x, mode) {
      const main = branch.apply(params, state, x, mode);
      const side = scope("downsample", () => shortcut.apply(params.downsample, state.downsample, x, mode));
      return { y: main.y.add(side.y).relu(), state: { ...main.state, downsample: side.state } };
    },
  });
}
