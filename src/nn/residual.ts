import { expectOptions } from "../base/expect.ts";
import { scope } from "../trace/trace.ts";
import { batchNorm } from "./batch_norm.ts";
import { type Layer, layer, type Layers, sequential } from "./layer.ts";
import { conv } from "./conv.ts";
import { relu } from "./activation.ts";

/** Options of {@link residualBlock}. */
export interface ResidualSpec {
  /** Channels of the input. */
  in: number;
  /** Channels of the result. */
  out: number;
  /** Stride of the first 3×3 convolution and of the projection; default 1. */
  stride?: number;
}

/**
 * Basic residual block (He et al., 2015, arXiv 1512.03385): relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)). The
 * shortcut is the identity if the shapes allow it, else a 1×1 convolution with batch norm (`downsample`).
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
  expectOptions("residualBlock", spec, { in: "number", out: "number", stride: "number?" });
  const { in: inputs, out, stride = 1 } = spec;
  return withShortcut(spec, {
    conv1: conv({ in: inputs, out, strides: stride, padding: 1 }),
    bn1: batchNorm({ channels: out }),
    relu: relu(),
    conv2: conv({ in: out, out, padding: 1 }),
    bn2: batchNorm({ channels: out }),
  });
}

/** Options of {@link bottleneckBlock}. */
export interface BottleneckSpec extends ResidualSpec {
  /** Channels of the 3×3 convolution. */
  width: number;
  /** Groups of the 3×3 convolution; default 1, more in ResNeXt. */
  groups?: number;
  /** Distance between the taps of the 3×3 convolution, which is padded by as much; default 1. */
  dilation?: number;
}

/**
 * Bottleneck block: a 1×1 convolution to `width` channels, a 3×3 one with the stride and a 1×1 one to `out`, each
 * followed by batch norm, with ReLU between them, and the shortcut of {@link residualBlock}. The published network has
 * the stride in the first 1×1 convolution; here it is in the 3×3 one, as in torchvision and the local-learning papers
 * ("ResNet v1.5").
 *
 * @example
 * ```ts
 * import { nn } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const block = nn.bottleneckBlock({ in: 256, width: 128, out: 512, stride: 2, groups: 32 });
 * assertEquals(nn.shapeAfter(block, [56, 56, 256]), [28, 28, 512]);
 * ```
 */
export function bottleneckBlock(spec: BottleneckSpec): Layer {
  expectOptions("bottleneckBlock", spec, {
    in: "number",
    width: "number",
    out: "number",
    stride: "number?",
    groups: "number?",
    dilation: "number?",
  });
  const { in: inputs, width, out, stride = 1, groups = 1, dilation = 1 } = spec;
  return withShortcut(spec, {
    conv1: conv({ in: inputs, out: width, window: 1 }),
    bn1: batchNorm({ channels: width }),
    relu1: relu(),
    conv2: conv({ in: width, out: width, strides: stride, padding: dilation, dilation, groups }),
    bn2: batchNorm({ channels: width }),
    relu2: relu(),
    conv3: conv({ in: width, out, window: 1 }),
    bn3: batchNorm({ channels: out }),
  });
}

/** Adds a shortcut to layers, followed by ReLU; a projection (`downsample`) where the shape changes. */
function withShortcut({ in: inputs, out, stride = 1 }: ResidualSpec, layers: Layers): Layer {
  const branch = sequential(layers);
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
