/** ViT-Tiny by man+dgl, cut as MAN++ cuts it, compared with PyTorch; see ../fixtures/README.md. */

import { assertMatch } from "@std/assert";
import { dgl, man } from "../../src/local/methods/methods.ts";
import { vitTiny } from "../../src/models/vit.ts";
import { publishedSgd } from "../../src/optim/published.ts";
import { sgd } from "../../src/optim/sgd.ts";
import type { DeviceArray } from "../../src/runtime/arrays.ts";
import { HostArray } from "../../src/trace/host_array.ts";
import { trainer } from "../../src/training/trainer.ts";
import { batch, normalise } from "../fixtures/formula.ts";
import { load, testOn } from "./fixture.ts";
import { assertChanges, assertLosses, float32, type Run, start } from "./training.ts";

interface VitFixture {
  readonly learningRate: number;
  readonly cases: { readonly [size: string]: Run };
}

/** The formula's images, each pixel repeated. */
const enlarged = (size: number) => (step: number, count: number) => {
  const { bytes, labels } = batch(step, count);
  const pixels = normalise(bytes), times = size / 32;
  const x = new Float32Array(count * size * size * 3);
  let to = 0;
  for (let n = 0; n < count; n++) {
    for (let row = 0; row < size; row++) {
      for (let column = 0; column < size; column++) {
        const from = ((n * 32 + Math.floor(row / times)) * 32 + Math.floor(column / times)) * 3;
        for (let c = 0; c < 3; c++) x[to++] = pixels[from + c]!;
      }
    }
  }
  return { x: new HostArray(x, [count, size, size, 3]), labels };
};

const { learningRate, cases } = load<VitFixture>("vit");
for (const [name, run] of Object.entries(cases)) {
  await testOn(
    ["cpu", "cuda"],
    (backend) =>
      `${run.losses.length} steps of man+dgl, ViT-Tiny at ${name}×${name}, K = 4, on ${backend} equal PyTorch's`,
    async (device) => {
      using t = await trainer({
        device,
        model: vitTiny({ classes: 10, size: Number(name) }),
        modules: { published: "man++", modules: 4 },
        method: man(dgl()),
        optimizer: sgd(publishedSgd),
        batch: run.batch,
      });
      const before: { [name: string]: DeviceArray } = { ...await start(t) };
      for (const [name, array] of Object.entries(before)) {
        if (name in run.changes) continue;
        assertMatch(name, /^local\.\d\.ema\./); // the averages do not move in the first step
        array.dispose();
        delete before[name];
      }
      await assertLosses(t, run, learningRate, (step) => 1e-5 * 10 ** (2 * step / 9), enlarged(Number(name)));
      await assertChanges(t, before, run.changes, float32);
    },
  );
}
