/** A training step of bottleneck networks, compared with PyTorch; see ../fixtures/README.md. */

import { assertAlmostEquals } from "@std/assert";
import { endToEnd } from "../../src/local/methods/end_to_end.ts";
import { modelNamed, network } from "../../src/models.ts";
import type { Named } from "../../src/nn/named.ts";
import { publishedSgd } from "../../src/optim/published.ts";
import { sgd } from "../../src/optim/sgd.ts";
import { type DeviceArray, disposeTree } from "../../src/runtime/arrays.ts";
import { jit } from "../../src/runtime/jit.ts";
import { HostArray } from "../../src/trace/host_array.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { type Trainer, trainer } from "../../src/training/trainer.ts";
import { batch, normalise, startingValues } from "../fixtures/formula.ts";
import { load, type Recorded, testOn } from "./fixture.ts";
import { assertRecorded, float32, isSlot, type Records, variables } from "./training.ts";

interface Fixture {
  readonly batch: number;
  readonly size: number;
  readonly learningRate: number;
  readonly networks: {
    readonly [name: string]: {
      readonly loss: number;
      readonly momentum: Records;
      readonly moved: Records;
      readonly evaluatedLogits: Recorded;
    };
  };
}

const fixture = load<Fixture>("bottleneck");

/** The formula's images with each pixel repeated, as nearest-neighbour scaling does. */
function enlarged(count: number, size: number): { x: HostArray; labels: Int32Array } {
  const { bytes, labels } = batch(0, count);
  const pixels = normalise(bytes);
  const x = new Float32Array(count * size * size * 3);
  const scale = size / 32;
  for (let i = 0; i < x.length; i++) {
    const [c, column, row] = [i % 3, Math.floor(i / 3) % size, Math.floor(i / (3 * size)) % size];
    const n = Math.floor(i / (3 * size * size));
    x[i] = pixels[((n * 32 + Math.floor(row / scale)) * 32 + Math.floor(column / scale)) * 3 + c];
  }
  return { x: new HostArray(x, [count, size, size, 3]), labels };
}

/** The formula's starting values, but filters without the factor 8, and blocks nearer to the identity. Both are exact. */
async function start(t: Trainer): Promise<void> {
  const snapshot = await t.snapshot();
  const learned = [...snapshot.tensors].filter(([name]) => !isSlot(name) && !name.includes(".running_"));
  const values = startingValues(new Map(learned.map(([name, { shape }]) => [name, shape])));
  const gentler = (name: string, { shape }: HostArray): HostArray => {
    const factor = shape.length === 4 ? 1 / 8 : name.endsWith("bn3.weight") ? 1 / 4 : 1;
    return new HostArray(values.get(name)!.map((value) => value * factor), shape);
  };
  const started = learned.map(([name, array]): [string, HostArray] => [name, gentler(name, array)]);
  t.restore({ ...snapshot, tensors: new Map([...snapshot.tensors, ...started]) });
}

/** The distance of running statistics from 0 and 1. */
async function moved(t: Trainer): Promise<{ [name: string]: DeviceArray }> {
  const { tensors } = await t.snapshot();
  const running = [...tensors].filter(([name]) => name.includes(".running_"));
  return t.device.put(Object.fromEntries(running.map(([name, { data, shape }]) => {
    const from = name.endsWith("var") ? 1 : 0;
    return [name, new HostArray((data as Float32Array).map((value) => value - from), shape)];
  })));
}

for (const [name, expected] of Object.entries(fixture.networks)) {
  // The networks are compared on the CPU. On the simulated card one is enough: it has the ops of all, and groups, which
  // only op suites have on WebGPU.
  const slow = name.startsWith("resnext") ? ["cuda-simulated"] : [];
  await testOn(
    ["cpu", ...slow, "cuda"],
    (backend) => `an end-to-end step of ${name} on ${backend} equals PyTorch's`,
    async (device) => {
      const { size, learningRate } = fixture;
      const model = modelNamed(name, { classes: 10, size });
      const optimizer = sgd(publishedSgd);
      using t = await trainer({ device, model, method: endToEnd(), optimizer, batch: fixture.batch });
      await start(t);
      const data = enlarged(fixture.batch, size);
      const { losses: [loss] } = await t.step(data, { learningRate });
      assertAlmostEquals(loss, expected.loss, 2e-5);
      const momentum = Object.entries(variables(t)).filter(([name]) => isSlot(name))
        .map(([name, array]) => [name.replace("optimizer.momentum.", ""), array]);
      await assertRecorded(Object.fromEntries(momentum), expected.momentum, float32);
      const statistics = await moved(t);
      await assertRecorded(statistics, expected.moved, float32);
      disposeTree(statistics);
      const evaluate = jit(
        (params: Named<Tensor>, state: Named<Tensor>, x: Tensor) =>
          network(model).apply(params, state, x, "evaluate").y.reshape(-1),
        { device, name: "evaluate" },
      );
      const { params, state } = t.variables;
      const logits = evaluate(params as never, state as never, data.x);
      await assertRecorded({ logits }, { logits: expected.evaluatedLogits }, float32);
      logits.dispose();
    },
  );
}
