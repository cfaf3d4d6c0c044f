import { assert, assertEquals } from "@std/assert";
import { openCpu } from "../src/backends/cpu/backend.ts";
import { LinearMemory } from "../src/backends/cpu/memory.ts";
import { endToEnd } from "../src/local/methods/end_to_end.ts";
import { resnet8 } from "../src/models.ts";
import { sgd } from "../src/optim.ts";
import { publishedSgd } from "../src/optim/published.ts";
import { Device } from "../src/runtime/arrays.ts";
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
