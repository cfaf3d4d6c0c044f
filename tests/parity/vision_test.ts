/** Torchvision's networks with weights drawn by formula: the same logits; see ../fixtures/README.md. */

import { modelNamed, network } from "../../src/models.ts";
import type { Named } from "../../src/nn/named.ts";
import { disposeTree } from "../../src/runtime/arrays.ts";
import { jit } from "../../src/runtime/jit.ts";
import { HostArray } from "../../src/trace/host_array.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { units } from "../fixtures/formula.ts";
import { filled } from "./drawn.ts";
import { assertClose, load, testOn, type Whole } from "./fixture.ts";

const fixture = load<{
  readonly period: number;
  readonly networks: { readonly [name: string]: { readonly size: number; readonly logits: Whole } };
}>("vision");

for (const [name, { size, logits }] of Object.entries(fixture.networks)) {
  await testOn(
    ["cpu", "cuda"],
    (backend) => `${name} on ${backend} has torchvision's logits`,
    async (device) => {
      const net = network(modelNamed(name, { classes: 10, size }));
      const [params, state] = [
        device.put(filled(net.params, fixture.period)),
        device.put(filled(net.state, fixture.period)),
      ];
      const evaluate = jit(
        (params: Named<Tensor>, state: Named<Tensor>, x: Tensor) => net.apply(params, state, x, "evaluate").y,
        { device, name },
      );
      const x = new HostArray(units("vision.image", size * size * 3), [1, size, size, 3]);
      const y = evaluate(params as never, state as never, x);
      assertClose(await y.read(), logits, 1e-4, `${name}: logits`);
      y.dispose();
      evaluate.dispose();
      disposeTree(params);
      disposeTree(state);
    },
  );
}
