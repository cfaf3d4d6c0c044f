import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { openCpu } from "../src/backends/cpu/backend.ts";
import { LinearMemory } from "../src/backends/cpu/memory.ts";
import { LocalgradError } from "../src/base/errors.ts";
import { withinLimit } from "../src/local/limit/limit.ts";
import { dgl } from "../src/local/methods/dgl.ts";
import { residentBytes, shapes } from "../src/data.ts";
import { endToEnd } from "../src/local/methods/end_to_end.ts";
import { resnet8 } from "../src/models.ts";
import { sgd } from "../src/optim.ts";
import { publishedSgd } from "../src/optim/published.ts";
import { Device } from "../src/runtime/arrays.ts";
import { open } from "../src/runtime/devices.ts";
import { trainer } from "../src/training/trainer.ts";
import { skips } from "./gate.ts";

/** The tolerance of allocated memory relative to the plan. */
const TOLERANCE = 0.02;

for (const engine of ["wasm", "onednn"] as const) {
  const ignore = await skips(`cpu-${engine}`, () => openCpu({ engine }));
  Deno.test(`a step within a limit holds what was planned, and never more than the limit: ${engine}`, {
    ignore,
  }, async () => {
    const losses: number[][] = [];
    for (const memoryLimit of ["1GiB", "6.5MiB", "5.8MiB"]) {
      const memory = new LinearMemory();
      const opened = openCpu({ engine, memory });
      if (!("backend" in opened)) throw new Error(opened.reason);
      await using device = new Device(opened.backend);
      const batch = 8;
      using run = await trainer({
        ...{ device, batch, memoryLimit },
        model: resnet8(),
        method: endToEnd(),
        optimizer: sgd(publishedSgd),
      });
      using x = device.zeros([batch, 32, 32, 3]);
      using images = device.zeros([batch, 32, 32, 3]);
      losses.push([...(await run.step({ x, images, labels: new Int32Array(batch) })).losses]);
      const { peakBytes, limit = 0, description } = run.plan();
      for (const held of [device.backend.liveBytes, memory.used]) {
        console.log(`${memoryLimit}: ${description}: ${peakBytes} planned, ${held} held`);
        assert(Math.abs(held / peakBytes - 1) <= TOLERANCE);
        assert(held <= limit);
      }
    }
    assertEquals(losses[1], losses[0]); // the limit changes no bit of what end to end learns
    assertEquals(losses[2], losses[0]);
  });
}

Deno.test("what was chosen within a limit is taken by a trainer as it is", async () => {
  await using device = await open("cpu", { engine: "wasm" });
  const run = { model: resnet8(), optimizer: sgd(publishedSgd), method: [endToEnd(), dgl()], batch: [4, 8] };
  const way = withinLimit({ ...run, memoryLimit: "5MiB", target: device.backend.target });
  using given = await trainer({ ...run, device, memoryLimit: way });
  assertStrictEquals(given.chosen, way); // not searched for again
  using searched = await trainer({ ...run, device, memoryLimit: "5MiB" });
  assertEquals(searched.chosen?.description, way.description);
  for (const { batch, partition, memory, setup } of [given, searched]) {
    assertEquals([batch, setup.method.name], [way.batch, way.method.name]);
    assertEquals(partition.modules.length, 1 + (way.modules as { after: string[] }).after.length);
    assertEquals(memory.method.peakBytes, way.peakBytes);
  }
  const refused: readonly [options: object, message: string][] = [
    [
      { memoryLimit: undefined, method: endToEnd() },
      "trainer: a batch of a list is chosen within a memoryLimit",
    ],
    [{ memoryLimit: undefined, method: endToEnd(), batch: 8, reserve: 9 }, "reserve is of a memoryLimit"],
    [{ memoryLimit: {} }, "memoryLimit must be a size such as 512MiB"],
    [{ batch: [8, 0] }, "trainer: batch must be a whole number of at least 1, not 0"],
  ];
  for (const [options, message] of refused) {
    await assertRejects(
      () => trainer({ ...run, device, memoryLimit: "5MiB", ...options }),
      LocalgradError,
      message,
    );
  }
});

Deno.test("with the data set reserved, a whole run with its evaluations stays below its limit", async () => {
  const images = shapes({ train: 512, test: 64 }); // more than the room that a step leaves
  const reserve = residentBytes(images);
  for (const [accumulate, memoryLimit] of [[1, "18MiB"], ["auto", "11MiB"]] as const) {
    const memory = new LinearMemory();
    const opened = openCpu({ engine: "wasm", memory });
    if (!("backend" in opened)) throw new Error(opened.reason);
    await using device = new Device(opened.backend);
    const run = { device, model: resnet8(), method: endToEnd(), optimizer: sgd(publishedSgd), batch: 32 };
    using limited = await trainer({ ...run, accumulate, memoryLimit, reserve });
    const { limit = 0, peakBytes, description } = limited.plan();
    const most: number[] = [];
    const observer = { epoch: () => void most.push(device.backend.liveBytes, memory.used) }; // after an evaluation
    await limited.fit(images, { epochs: 1, observers: [observer] });
    console.log(`${memoryLimit}: ${description}: ${peakBytes} and ${reserve} planned, ${most} held`);
    for (const held of most) {
      const planned = peakBytes + reserve; // with a whole batch as input, of which a run reads the indices
      assert(held <= limit && held <= planned && held >= 0.96 * planned, `${held}`);
    }
    assertEquals(most.length, 2);
  }
});
