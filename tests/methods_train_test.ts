import { assert, assertEquals } from "@std/assert";
import { shapes } from "../src/data/shapes.ts";
import { type Method, methodNamed, methodNames, type Trainer, trainer } from "../src/local.ts";
import { type Model, resnet20, resnet8 } from "../src/models.ts";
import { sgd } from "../src/optim.ts";
import { publishedSgd } from "../src/optim/published.ts";
import type { Device } from "../src/runtime/arrays.ts";
import { HostArray } from "../src/trace/host_array.ts";
import { openRow, rows } from "./rows.ts";

const BATCH = 8, STEPS = 6;

const make = (device: Device, method: Method, model: Model = resnet20({ classes: 10 })): Promise<Trainer> =>
  trainer({
    device,
    model,
    modules: 3,
    method,
    optimizer: sgd(publishedSgd),
    batch: BATCH,
  });

/** The first images of `shapes`. */
function batch() {
  const { train, mean, std, classes } = shapes({ train: BATCH, test: 1 });
  assertEquals(classes.length, 10);
  const shape = [BATCH, 32, 32, 3];
  const images = Float32Array.from(train.images, (byte) => byte / 255);
  return {
    x: new HostArray(images.map((value, i) => (value - mean[i % 3]) / std[i % 3]), shape),
    images: new HostArray(images, shape),
    labels: train.labels,
  };
}

// Those of the papers; the others are compositions of the same parts.
const names = methodNames.filter((name) =>
  !/man\+(greedy|augLocal)|manPlusPlus\+[^di]|(sgr|hpff|contSup)\+[^d]/.test(name)
);

/** Those that train on WebGPU too, which compiles slowly on a CPU; parity/methods_test.ts has others there. */
const ON_WEBGPU = /^(augLocal|greedy|endToEnd\+checkpoint|man\+dgl|sgr\+dgl)$/;

for (const { row, ignore } of await rows("cpu", "cpu-onednn", "webgpu")) {
  const everyMethod = async (t: Deno.TestContext) => {
    await using device = await openRow(row);
    const images = batch();
    const model = row === "webgpu" ? resnet8({ classes: 10 }) : undefined;
    for (
      const name of row === "webgpu" ? names.filter((name) => ON_WEBGPU.test(name)) : names
    ) {
      await t.step(name, async () => {
        using trainer = await make(device, methodNamed(name), model);
        const { losses: first } = await trainer.step(images, { learningRate: 0.02 });
        let last = first;
        for (let step = 1; step < STEPS; step++) {
          ({ losses: last } = await trainer.step(images, { learningRate: 0.02 }));
        }
        first.forEach((loss, module) => {
          assert(
            Number.isFinite(loss) && last[module] < loss,
            `module ${module + 1}: ${loss} → ${last[module]}`,
          );
        });
      });
    }
    assertEquals(device.liveArrays, 0);
  };
  // With oneDNN, parity/training_test.ts trains by methods of each kind.
  if (row !== "cpu-onednn") {
    Deno.test(`every method trains a ResNet on shapes on ${row}`, { ignore }, everyMethod);
  }

  Deno.test(
    `endToEnd with checkpointing equals endToEnd, bit for bit, on ${row}`,
    { ignore },
    async () => {
      await using device = await openRow(row);
      const images = batch();
      const runs = [];
      for (const name of ["endToEnd", "endToEnd+checkpoint"] as const) {
        using trainer = await make(device, methodNamed(name));
        for (let step = 0; step < 3; step++) await trainer.step(images, { learningRate: 0.02 });
        const { tensors } = await trainer.snapshot();
        runs.push([...tensors].map(([name, { data }]) => [name, [...data]]));
      }
      assertEquals(runs[0], runs[1]);
    },
  );
}
