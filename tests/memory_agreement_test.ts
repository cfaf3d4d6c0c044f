import { assert } from "@std/assert";
import type { Opened } from "../src/backends/backend.ts";
import { openCpu } from "../src/backends/cpu/backend.ts";
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
import { trainer } from "../src/training/trainer.ts";
import { openSimulated } from "./cuda/simulated.ts";
import { skips } from "./gate.ts";
import { tinyModel } from "./tiny.ts";

/** The tolerance of allocated memory relative to the plan. */
const TOLERANCE = 0.02;

async function suite(
  name: string,
  open: () => Opened | Promise<Opened>,
  model: Model,
  methods: readonly (readonly [method: Method, modules: number])[],
): Promise<void> {
  const ignore = await skips(name, open);
  const batch = 16;
  for (const recompute of [false, true]) {
    for (const [method, modules] of methods) {
      const what = `${model.name}, ${method.name}${recompute ? ", recomputing" : ""}`;
      Deno.test(`${name}: allocated memory equals planned memory: ${what}`, { ignore }, async () => {
        const opened = await open();
        if (!("backend" in opened)) throw new Error(opened.reason);
        await using device = new Device(opened.backend);
        const optimizer = sgd(publishedSgd);
        using run = await trainer({ device, model, modules, method, optimizer, batch, recompute });
        const { height, width, channels } = model.input;
        using x = device.zeros([batch, height, width, channels]);
        using images = device.zeros([batch, height, width, channels]);
        await run.step({ x, images, labels: new Int32Array(batch) });
        const held = device.backend.liveBytes;
        const planned = run.memory.method.peakBytes;
        assert(Math.abs(held / planned - 1) <= TOLERANCE, `${held} bytes allocated, ${planned} planned`);
      });
    }
  }
}

const some = [[endToEnd(), 1], [man(dgl()), 3]] as const;
const resnet = resnet8({ classes: 10 });
await suite("cpu", () => openCpu(), resnet20({ classes: 10 }), [...some, [infopro(), 2], [
  endToEnd({ checkpoint: 3 }),
  1,
]]);
await suite("cpu-onednn", () => openCpu({ engine: "onednn" }), resnet, some);
await suite("webgpu", () => openWebgpu(), resnet, some);
await suite("cuda-simulated", () => openSimulated({ precision: "f32" }), tinyModel(), some);
