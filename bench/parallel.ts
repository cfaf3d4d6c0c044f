/**
 * Times the MAN step of ResNet-32, K = 16, in one process or, started by mpirun, in several, as peers/common.ts says:
 *
 *     parallel.ts <device> <layout> <threads> <batch> <recompute> [<warmup> <steps>]
 *
 * `layout` is alone, data, modules or 2x2; `recompute` is none, first (the first process of a pipeline) or all. A turn has
 * one time: the mean of its steps in the slowest process, once the pipeline is full. Nothing waits between steps, as in
 * training. The first process also prints what each process planned and holds, without the data set.
 */

import { data, type DeviceArray, devices, local, models, optim, processes } from "../mod.ts";
import { parallelFrom } from "../src/local/processes/layout.ts";
import { planAlone, planProcess } from "../src/local/processes/plans.ts";
import { divide } from "../src/local/processes/division.ts";
import { openPart } from "../src/training/data_kinds.ts";
import { bytesOf } from "../src/trace/dtype.ts";
import { treeLeaves } from "../src/trace/tree.ts";
import { turns } from "./peers/common.ts";
import { LEARNING_RATE } from "./workloads.ts";

const [deviceName, layoutName, threadCount, batchSize, recomputing, ...turn] = Deno.args as [
  string,
  string,
  string,
  string,
  string,
  ...string[],
];
const [threads, batch] = [Number(threadCount), Number(batchSize)];
const parallel = parallelFrom(layoutName);
const team = await processes.join({ threads, ...(parallel === undefined ? {} : { parallel }) });
const { rank, size, layout, place, communicators: { world } } = team;
const recompute = recomputing === "all" || recomputing === "first" && place.modules === 0;
const device = await devices.open("cpu", {
  engine: deviceName === "cpu-onednn" ? "onednn" : "wasm",
  threads,
  ...(size === 1 ? {} : { processes: team }),
});
const model = models.resnet32({ classes: 10 });
const trainer = await local.trainer({
  ...{ device, model, batch, recompute },
  modules: 16,
  method: local.man(local.dgl()),
  optimizer: optim.sgd({ momentum: 0.9, nesterov: true, weightDecay: 1e-4 }),
});
const feed = openPart(device, model, data.shapes({ train: batch, test: 2 }), "train");
const stepper = trainer.stepper(feed);
const indices = Uint32Array.from({ length: batch }, (_, i) => i);

/** Issues steps; gives the milliseconds of each, and the loss of this process's last module after the last. */
async function steps(count: number): Promise<{ readonly milliseconds: number[]; readonly loss: number }> {
  const milliseconds: number[] = [];
  let loss = NaN;
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    const metrics = stepper.step(indices, LEARNING_RATE);
    milliseconds.push(performance.now() - start);
    if (i === count - 1) loss = (await metrics.read()).at(-2)!;
    metrics.dispose();
  }
  stepper.finish();
  return { milliseconds, loss };
}

/** The values of all processes. */
function gathered(own: number): number[] {
  const values = new Int32Array(size);
  values[rank] = Math.round(own);
  world.allReduce(new Uint8Array(values.buffer), "i32", "sum").wait();
  return [...values];
}

/** The next turn, which the first process reads and tells the others, who sleep meanwhile. */
async function next(
  asked: AsyncIterator<number[]>,
): Promise<readonly [warmup: number, steps: number] | undefined> {
  const words = new Int32Array(3);
  if (rank === 0) {
    const { done, value } = await asked.next();
    words.set(done ? [0, 0, 0] : [1, ...value]);
  }
  const told = world.broadcast(new Uint8Array(words.buffer), 0);
  while (!told.done()) await new Promise((resolve) => setTimeout(resolve, 20));
  told.wait();
  const [more, warmup = 0, steps = 0] = words;
  return more === 1 ? [warmup, steps] : undefined;
}

/** What each process planned and holds, in KiB. */
function memory(): { readonly planned: number[]; readonly held: number[] } {
  const { target } = device.backend;
  const { setup } = trainer;
  const options = { layout, recompute };
  const plan = size === 1
    ? planAlone(setup, batch, target, { recompute })
    : planProcess(setup, batch, target, {
      ...options,
      runs: divide(setup, { layout, batch, target, recompute: recomputing !== "none" }), // as process 0 does
    }, place.modules);
  const kept = treeLeaves<DeviceArray>(feed.arrays).reduce((sum, array) => sum + bytesOf(array), 0);
  return {
    planned: gathered(plan.memory.peakBytes / 1024),
    held: gathered((device.backend.liveBytes - kept) / 1024),
  };
}

let first: { readonly loss: number; readonly milliseconds: number } | undefined;
const asked = (async function* () {
  if (turn.length > 0) yield turn.map(Number);
  else yield* turns();
})();
let kept: ReturnType<typeof memory> | undefined;
for (let now = await next(asked); now !== undefined; now = await next(asked)) {
  const [warmup, count] = now;
  const { milliseconds, loss } = await steps(warmup + count);
  first ??= { loss, milliseconds: milliseconds[0]! };
  kept ??= memory();
  const own = milliseconds.slice(warmup).reduce((sum, ms) => sum + ms, 0) / count;
  const slowest = Math.max(...gathered(1e3 * own)) / 1e3;
  if (rank > 0) continue;
  const lean = recomputing === "none" ? "" : recomputing === "all" ? " recomputing" : ", first recomputes";
  console.log(JSON.stringify({
    system: `localgrad, ${deviceName}, ${size === 1 ? "" : `${layoutName} `}${size} × ${threads}${lean}`,
    milliseconds: [slowest],
    losses: [first.loss, loss],
    first: first.milliseconds,
    memory: kept,
  }));
}
stepper[Symbol.dispose]();
await feed[Symbol.asyncDispose]();
trainer[Symbol.dispose]();
await device.close();
team.leave();
