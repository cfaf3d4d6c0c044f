/** One measurement of localgrad on CUDA: `ours.ts '<row as JSON>'` prints one line of JSON, a {@link Measurement}. */
import { local } from "../../mod.ts";
import { Device, type DeviceArray } from "../../src/runtime/arrays.ts";
import { hash, units } from "../../tests/fixtures/formula.ts";
import { LEARNING_RATE, startFromFormula } from "../workloads.ts";
import { onCard, say } from "./opener.ts";
import { peaksOf, rooflineOf } from "./roofline.ts";
import type { Measurement, Row } from "./row.ts";
import { setupOf } from "./setup.ts";

/** A trainer for a row, with the formula's starting values, and the batch that every step uses. */
export async function prepared(row: Row, device: Device) {
  const { size, classes, batch } = row;
  const t = await local.trainer({
    device,
    ...setupOf(row),
    batch,
  });
  await startFromFormula(t);
  const pixels = units("bench.images", batch * size * size * 3, 2);
  const arrays = {
    x: device.array(pixels, [batch, size, size, 3]),
    labels: device.array(Int32Array.from({ length: batch }, (_, n) => hash("bench.labels", n) % classes)),
  };
  const feed: local.Feed = {
    count: batch,
    arrays,
    batch: ({ x, labels }) => ({ x, labels, images: x }) as local.Batch,
    supply: () => {
      throw new Error("the batch is on the device");
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const stepper = t.stepper(feed);
  const indices = new Uint32Array(1);
  return { t, step: () => stepper.step(indices, LEARNING_RATE) };
}

/** Milliseconds of a step, round by round. */
async function timed(device: Device, seconds: number, step: () => DeviceArray): Promise<number[]> {
  let rounds: number[] = [], steps = 1, first = true;
  const until = performance.now() + 1000 * seconds;
  while (performance.now() < until || rounds.length < 3) {
    const start = performance.now();
    const metrics = Array.from({ length: steps }, step);
    await device.finish();
    const ms = performance.now() - start;
    metrics.forEach((array) => array.dispose());
    rounds.push(ms / steps);
    if (first && ms < 200) [steps, rounds] = [Math.max(1, Math.floor(300 / Math.max(ms, 0.1))), []];
    first = false;
  }
  return rounds;
}

async function measure(row: Row): Promise<Measurement> {
  const backend = await onCard({ overlap: row.mode === "overlap" });
  await using device = new Device(backend);
  const { t, step } = await prepared(row, device);
  const start = performance.now();
  const losses: number[][] = [];
  for (let i = 0; i < 3; i++) {
    using metrics = step();
    losses.push([...(await metrics.read()).subarray(0, -1)]);
  }
  const firstSteps = performance.now() - start;
  const milliseconds = await timed(device, row.seconds, step);
  const planned = local.stepMemory(t.setup, row.batch, backend.target);
  const memory = {
    plannedBytes: planned.peakBytes,
    peakBytes: backend.liveBytes,
    ...backend.driverMemory(),
  };
  const launches = Math.max(0, ...backend.graphs.map(({ nodes }) => nodes));
  t[Symbol.dispose]();
  await device.close();
  return {
    version: `localgrad ${row.precision}`,
    device: backend.facts.name,
    milliseconds,
    firstSteps,
    losses,
    memory,
    launches,
    ...await profile(row),
  };
}

/** Times by class, on a device opened for this: each launch separately, without a graph. */
async function profile(row: Row): Promise<Pick<Measurement, "classes" | "roofline">> {
  const STEPS = 3;
  const backend = await onCard({ profile: true, overlap: row.mode === "overlap" });
  await using device = new Device(backend);
  const { step } = await prepared(row, device);
  step().dispose(); // loads kernels and chooses algorithms
  await device.finish();
  const profiler = backend.profiler!;
  profiler.reset();
  for (let i = 0; i < STEPS; i++) step().dispose();
  await device.finish();
  const [plan] = profiler.plans;
  const classes = Object.fromEntries(
    Array.from(profiler.times, ([name, { milliseconds }]) => [name, milliseconds / STEPS]),
  );
  return { classes, roofline: rooflineOf(plan, peaksOf(backend.facts, row.precision)) };
}

if (import.meta.main) say({ ...await measure(JSON.parse(Deno.args[0])) });
