/** Torchvision's DeepLabV3 with weights drawn by formula: the same logits; see ../fixtures/README.md. */

import { deeplabv3_resnet50, deeplabv3_resnet50_os16, network } from "../../src/models.ts";
import type { Named } from "../../src/nn/named.ts";
import { disposeTree } from "../../src/runtime/arrays.ts";
import { jit } from "../../src/runtime/jit.ts";
import { HostArray } from "../../src/trace/host_array.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { units } from "../fixtures/formula.ts";
import { filled } from "./drawn.ts";
import { assertClose, load, testOn, type Whole } from "./fixture.ts";

const { size, every, period, logits } = load<{
  readonly size: number;
  readonly every: number;
  readonly period: number;
  readonly logits: { readonly 8: Whole; readonly 16: Whole };
}>("segmentation");

await testOn(
  ["cpu", "cuda"],
  (backend) => `deeplabv3_resnet50 on ${backend} has torchvision's logits, at output strides 8 and 16`,
  async (device) => {
    const options = { classes: 10, size };
    const { params, state } = network(deeplabv3_resnet50(options)); // the same with either stride
    const values = device.put({ params: filled(params, period), state: filled(state, period) });
    const x = new HostArray(units("vision.image", size * size * 3), [1, size, size, 3]);
    for (const [outputStride, make] of [[8, deeplabv3_resnet50], [16, deeplabv3_resnet50_os16]] as const) {
      const net = network(make(options));
      const evaluate = jit(
        ({ params, state }: { params: Named<Tensor>; state: Named<Tensor> }, x: Tensor) =>
          net.apply(params, state, x, "evaluate").y.slice([0, 0, 0, 0], [1, size, size, 10], [
            1,
            every,
            every,
            1,
          ]),
        { device, name: `stride ${outputStride}` },
      );
      const y = evaluate(values as never, x);
      assertClose(await y.read(), logits[outputStride], 1e-4, `stride ${outputStride}: logits`);
      y.dispose();
      evaluate.dispose();
    }
    disposeTree(values);
  },
);
