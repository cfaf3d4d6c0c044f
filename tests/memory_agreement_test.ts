import { imageInput } from "../src/models/model.ts";
import { assert, assertEquals } from "@std/assert";
import { epochLine } from "../src/artifacts/metrics.ts";
import { measured } from "../src/cli/reproduce/results.ts";
import type { Opened } from "../src/backends/backend.ts";
import { openCpu } from "../src/backends/cpu/backend.ts";
import type { CpuEngine } from "../src/backends/cpu/engine_name.ts";
import { LinearMemory } from "../src/backends/cpu/memory.ts";
import { openWebgpu } from "../src/backends/webgpu/backend.ts";
import type { Method } from "../src/local/method.ts";
import { dgl } from "../src/local/methods/dgl.ts";
import { endToEnd } from "../src/local/methods/end_to_end.ts";
import { infopro } from "../src/local/methods/infopro.ts";
import { man } from "../src/local/methods/man.ts";
import { type Model, resnet20, resnet8 } from "../src/models.ts";
import { sgd } from "../src/optim.ts";
import { publishedSgd } from "../src/optim/published.ts";
import { Device } from "../src/runtime/arrays.ts";
import { open } from "../src/runtime/devices.ts";
import { trainer } from "../src/training/trainer.ts";
import type { TrainerOptions } from "../src/training/trainer_options.ts";
import { openSimulated } from "./cuda/simulated.ts";
import { skips } from "./gate.ts";
import { openBf16 } from "./onednn/bf16.ts";
import { tinyDataset, tinyModel } from "./tiny.ts";
import { make, recorder } from "./tiny_trainer.ts";

/** The tolerance of allocated memory relative to the plan. */
const TOLERANCE = 0.02;

/**
 * The process's resident memory is shown beside it and not held to anything: it has JavaScript's heap, compiled code,
 * oneDNN's primitives, and what other tests left.
 */
const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** A backend, and the bytes that its allocator has given away, where those can be had too. */
type Measured = Opened & { readonly used?: () => number };

/** A way to train a network. */
type Way = readonly [model: Model, method: Method, modules: number];

async function suite(
  name: string,
  open: () => Measured | Promise<Measured>,
  ways: readonly Way[],
  precise: Pick<TrainerOptions, "precision"> = {},
): Promise<void> {
  const ignore = await skips(name, open);
  const batch = 16;
  for (const recompute of [false, true]) {
    for (const [model, method, modules] of ways) {
      const what = `${model.name}, ${method.name}${recompute ? ", recomputing" : ""}`;
      Deno.test(`${name}: allocated memory equals planned memory: ${what}`, { ignore }, async () => {
        const opened = await open();
        if (!("backend" in opened)) throw new Error(opened.reason);
        await using device = new Device(opened.backend);
        const optimizer = sgd(publishedSgd);
        using run = await trainer({
          device,
          model,
          modules,
          method,
          optimizer,
          batch,
          recompute,
          ...precise,
        });
        const { height, width, channels } = imageInput("the test", model);
        using x = device.zeros([batch, height, width, channels]);
        using images = device.zeros([batch, height, width, channels]);
        await run.step({ x, images, labels: new Int32Array(batch) });
        const held = device.backend.liveBytes;
        const planned = run.memory.method.peakBytes;
        const { rss } = Deno.memoryUsage();
        console.log(`planned ${mib(planned)}, allocated ${mib(held)}, resident process ${mib(rss)}`);
        for (const bytes of [held, opened.used?.() ?? held]) {
          assert(Math.abs(bytes / planned - 1) <= TOLERANCE, `${bytes} bytes allocated, ${planned} planned`);
        }
      });
    }
  }
}

function cpu(engine: CpuEngine): Measured {
  const memory = new LinearMemory();
  return { ...openCpu({ engine, memory }), used: () => memory.used };
}

const some = (model: Model): Way[] => [[model, endToEnd(), 1], [model, man(dgl()), 3]];
const checkpointed = endToEnd({ checkpoint: 3 });
const small = resnet8({ classes: 10 }), deeper = resnet20({ classes: 10 });
await suite("cpu", () => cpu("wasm"), [...some(deeper), [deeper, infopro(), 2], [deeper, checkpointed, 1]]);
await suite("cpu-onednn", () => cpu("onednn"), [
  [small, endToEnd(), 1],
  [deeper, man(dgl()), 3],
  [deeper, checkpointed, 1],
]);
await suite("cpu-bf16", () => openBf16(), [[small, man(dgl()), 3]], { precision: "bf16" });
await suite("webgpu", () => openWebgpu(), some(small));
await suite("cuda-simulated", () => openSimulated({ precision: "f32" }), some(tinyModel()));

Deno.test("a run on the CPU records the resident memory of its process, and its result the most of it", async () => {
  for (const [name, isCpu] of [["cpu", true], ["reference", false]] as const) {
    await using device = await open(name);
    const { observer, epochs } = recorder();
    using run = await make({ device });
    await run.fit(tinyDataset(16, 16), { epochs: 2, observers: [observer] });
    const resident = epochs.flatMap(({ held }) => held.residentBytes ?? []);
    assertEquals(resident.length, isCpu ? 2 : 0);
    for (const [i, bytes] of resident.entries()) assert(bytes > (epochs[i]?.held.bytes ?? Infinity));
    const result = measured(epochs.map(epochLine));
    assertEquals(result?.residentBytes, isCpu ? Math.max(...resident) : undefined);
  }
});
