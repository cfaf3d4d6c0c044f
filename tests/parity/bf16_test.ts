/** Steps of MAN in bf16 against PyTorch's autocast, which rounds in the same places; see ../fixtures/README.md. */

import { assert, assertEquals } from "@std/assert";
import { dgl } from "../../src/local/dgl.ts";
import { man } from "../../src/local/man.ts";
import { trainer } from "../../src/local/trainer.ts";
import { resnet8 } from "../../src/models/resnet.ts";
import { sgd } from "../../src/optim/sgd.ts";
import { load, type Recorded, testOn } from "./fixture.ts";
import { assertChanges, assertLosses, type Run, start } from "./training.ts";

interface Fixture extends Run {
  readonly learningRate: number;
  readonly exactLosses: readonly (readonly number[])[];
}

await testOn(
  ["reference", "cuda-simulated", "cuda"],
  (backend) => `three steps of man+dgl in bf16, ResNet-8, K = 3, on ${backend} are PyTorch's`,
  async (device) => {
    const fixture = load<Fixture>("bf16");
    using t = await trainer({
      device,
      model: resnet8({ classes: 10 }),
      modules: 3,
      method: man(dgl()),
      optimizer: sgd({ momentum: 0.9, nesterov: true, weightDecay: 1e-4 }),
      batch: fixture.batch,
      precision: "bf16",
    });
    const before = await start(t);
    await assertLosses(t, fixture, fixture.learningRate, () => Number(Deno.env.get("TL") ?? 1e-3));
    const moved = Object.fromEntries(Object.entries(before).filter(([name]) => !name.includes(".ema.")));
    await assertChanges(t, moved, fixture.changes, ({ noise }: Recorded) => Number(Deno.env.get("TN") ?? 0.5) * noise!);
    for (const [name, array] of Object.entries(before)) if (!(name in moved)) array.dispose();
  },
);
