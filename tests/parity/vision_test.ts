/** Torchvision's networks with weights drawn by formula: the same logits; see ../fixtures/README.md. */

import { modelNamed, network } from "../../src/models.ts";
import type { Named } from "../../src/nn/named.ts";
import type { Initial } from "../../src/nn/initial.ts";
import { disposeTree } from "../../src/runtime/arrays.ts";
import { jit } from "../../src/runtime/jit.ts";
import { type Shape, sizeOf } from "../../src/trace/dtype.ts";
import { HostArray } from "../../src/trace/host_array.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { treeFlatten, treeUnflatten } from "../../src/trace/tree.ts";
import { units } from "../fixtures/formula.ts";
import { assertClose, load, testOn, type Whole } from "./fixture.ts";

const fixture = load<{
  readonly period: number;
  readonly networks: { readonly [name: string]: { readonly size: number; readonly logits: Whole } };
}>("vision");

/** The first values of the formula, again and again. */
function drawn(name: string, shape: Shape): Float32Array {
  const count = sizeOf(shape);
  const [scale, offset] = name.endsWith("running_var") || (shape.length === 1 && name.endsWith("weight"))
    ? [0.2, 1]
    : shape.length === 2 || shape.length === 4
    ? [Math.sqrt((shape.length === 4 ? 6 : 3) * shape[0]! / count), 0]
    : [0.2, 0];
  const period = units(name, Math.min(count, fixture.period), scale, offset);
  const values = new Float32Array(count);
  for (let from = 0; from < count; from += fixture.period) {
    values.set(period.subarray(0, Math.min(fixture.period, count - from)), from);
  }
  return values;
}

/** A tree with the formula's values in place of its starting ones. */
function filled(tree: Named<Initial>): Named<HostArray> {
  const { leaves, paths, structure } = treeFlatten<Initial>(tree);
  const arrays = leaves.map(({ shape }, i) => new HostArray(drawn(paths[i]!, shape), shape));
  return treeUnflatten(structure, arrays) as Named<HostArray>;
}

for (const [name, { size, logits }] of Object.entries(fixture.networks)) {
  await testOn(
    ["cpu", "cuda"],
    (backend) => `${name} on ${backend} has torchvision's logits`,
    async (device) => {
      const net = network(modelNamed(name, { classes: 10, size }));
      const [params, state] = [device.put(filled(net.params)), device.put(filled(net.state))];
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
