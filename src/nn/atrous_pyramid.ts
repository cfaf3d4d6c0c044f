import { expectKind, expectOptions, expectWhole } from "../base/expect.ts";
import { concat } from "../trace/functions.ts";
import type { Tensor } from "../trace/tensor.ts";
import { scope } from "../trace/trace.ts";
import { relu } from "./activation.ts";
import { batchNorm } from "./batch_norm.ts";
import { conv } from "./conv.ts";
import { dropout } from "./dropout.ts";
import { imageExtents } from "./image.ts";
import { type Layer, layer, sequential, stateless } from "./layer.ts";
import { descend, merge, type Named, nest } from "./named.ts";

/** Options of {@link atrousPyramid}. */
export interface AtrousPyramidSpec {
  /** Channels of the input. */
  in: number;
  /** Channels of each branch, and of the result; default 256. */
  out?: number;
  /** The dilation of each 3×3 convolution; default 12, 24 and 36, for features at an eighth of the image's size. */
  rates?: readonly number[];
  /** The share of values dropped from the result in training, at least 0 and below 1; default 0.5. */
  dropout?: number;
}

/**
 * Atrous spatial pyramid pooling of DeepLabV3 (Chen et al., 2017, arXiv 1706.05587, section 3.3), with torchvision's names:
 * beside each other a 1×1 convolution, 3×3 convolutions dilated by `rates` (`convs.0`, …) and the mean over the image with a
 * 1×1 convolution (the last of `convs`); then a 1×1 convolution of all of them joined (`project`) and dropout. Each
 * convolution is followed by batch norm and ReLU. In training a batch needs two images, because the branch of the mean has
 * one value per image and channel.
 *
 * @throws {LocalgradError} if a rate or a number of channels is not a whole number of at least 1.
 *
 * @example
 * ```ts
 * import { nn } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const pyramid = nn.atrousPyramid({ in: 2048, rates: [6, 12, 18] });
 * assertEquals(nn.shapeAfter(pyramid, [32, 64, 2048]), [32, 64, 256]);
 * ```
 */
export function atrousPyramid(spec: AtrousPyramidSpec): Layer {
  expectOptions("atrousPyramid", spec, {
    in: "number",
    out: "number?",
    rates: "array?",
    dropout: "number?",
  });
  const { in: inputs, out = 256, rates = [12, 24, 36], dropout: rate = 0.5 } = spec;
  expectKind("atrousPyramid: rates", rates, "array");
  for (const channels of [inputs, out]) expectWhole("atrousPyramid: channels", channels);
  for (const rate of rates) expectWhole("atrousPyramid: a rate", rate);
  const after = (first: number) => ({
    [first]: batchNorm({ channels: out }),
    [first + 1]: relu(),
  });
  const branches = [
    sequential({ 0: conv({ in: inputs, out, window: 1 }), ...after(1) }),
    ...rates.map((rate) =>
      sequential({ 0: conv({ in: inputs, out, padding: rate, dilation: rate }), ...after(1) })
    ),
    sequential({
      0: stateless((x) => x.mean([1, 2], { keepDims: true })),
      1: conv({ in: inputs, out, window: 1 }),
      ...after(2),
    }),
  ];
  const project = sequential({
    0: conv({ in: branches.length * out, out, window: 1 }),
    ...after(1),
    3: dropout({ rate }),
  });
  const gather = (kind: "params" | "state") =>
    merge(nest("convs", Object.fromEntries(branches.map((branch, i) => [i, branch[kind]]))), {
      project: project[kind],
    });
  return layer({
    params: gather("params"),
    state: gather("state"),
    random: rate > 0,
    apply(params, state, x, mode, key) {
      const [height, width] = imageExtents("atrousPyramid", x.shape.slice(1));
      const states: { [index: string]: Named<Tensor> } = {};
      const joined = branches.map((branch, i): Tensor => {
        const path = `convs.${i}`;
        const { y, state: next } = scope(
          path,
          () => branch.apply(descend<Tensor>(params, path), descend<Tensor>(state, path), x, mode),
        );
        states[i] = next;
        return y.broadcastTo([x.shape[0] ?? 1, height, width, out]);
      });
      const { y, state: next } = scope(
        "project",
        () =>
          project.apply(
            descend<Tensor>(params, "project"),
            descend<Tensor>(state, "project"),
            concat(joined, -1),
            mode,
            key,
          ),
      );
      return { y, state: { convs: states, project: next } };
    },
  });
}
