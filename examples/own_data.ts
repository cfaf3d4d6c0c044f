/**
 * Own pictures: trains on a folder with `train/CLASS/*.jpg` and `val/CLASS/*.jpg`, saves the run after each epoch, and
 * resumes it when started again.
 *
 *     deno run --allow-read=flowers,runs --allow-write=runs examples/own_data.ts
 */

import { devices, local, models, optim } from "../mod.ts";
import { imageFolder } from "../src/data/folder/folder.ts";

const flowers = await imageFolder({ path: "flowers", size: 64 });
const epochs = 30;

await using device = await devices.open();
using trainer = await local.trainer({
  device,
  model: models.resnet20({ classes: flowers.classes.length, size: 64 }),
  modules: { balanced: 3 }, // cut where the planned peak is lowest; only one at a time needs memory
  method: local.man(local.dgl()),
  optimizer: optim.sgd({ momentum: 0.9, nesterov: true, weightDecay: 1e-4 }),
  schedule: optim.warmupCosine({ base: 0.05, warmup: 1, epochs }),
  batch: 32,
});
const { bestError = 1 } = await trainer.fit(flowers, {
  epochs,
  checkpoint: "runs/flowers",
  resume: true,
  metrics: ["confusion"],
  samples: 24, // test pictures in the report
});
console.log(`lowest test error ${(100 * bestError).toFixed(1)} %; see runs/flowers/report.html`);
