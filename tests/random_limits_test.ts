/**
 * Within a limit between the least and the plain peak, random networks train with the losses of an unlimited step, and hold
 * what was planned. `LOCALGRAD_CASES=100 LOCALGRAD_SEED=0` checks a hundred, from that one.
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { openCpu } from "../src/backends/cpu/backend.ts";
import { LocalgradError } from "../src/base/errors.ts";
import { bytesOfSize } from "../src/base/size.ts";
import * as local from "../src/local.ts";
import { inputShape, type Model } from "../src/models/model.ts";
import { sgd } from "../src/optim.ts";
import { publishedSgd } from "../src/optim/published.ts";
import { Device } from "../src/runtime/arrays.ts";
import { HostArray } from "../src/trace/host_array.ts";
import { Random } from "./fuzz/random.ts";
import { randomNetwork } from "./random_network.ts";

/** The tolerance of allocated memory relative to the plan. */
const TOLERANCE = 0.02;

const METHODS: readonly (() => local.Method)[] = [
  () => local.endToEnd(),
  () => local.endToEnd({ checkpoint: true }),
  () => local.greedy(),
  () => local.dgl(),
  () => local.infopro({ weights: { reconstruction: [1, 0.5], task: [0.5, 1] } }),
  () => local.man(local.dgl()),
  () => local.sgr(local.dgl()),
  () => local.hpff(local.greedy()),
];

/** A network, and what is given and left open for a search within a limit. */
function drawn(random: Random) {
  const model = randomNetwork(random);
  const method = random.pick(METHODS)();
  return {
    model,
    batch: 2 + random.below(23),
    modules: random.percent(30) ? "auto" as const : 2 + random.below(model.blocks.length - 1),
    method: random.percent(15) ? [method, local.dgl()] : [method],
    optimizer: sgd(random.percent(50) ? publishedSgd : {}),
    accumulate: random.percent(15) ? "auto" as const : 1,
  };
}

function batchOf(random: Random, model: Model, size: number) {
  const shape = [size, ...inputShape(model)];
  const count = shape.reduce((all, extent) => all * extent, 1);
  const pixels = Float32Array.from({ length: count }, () => random.below(256) / 255);
  return {
    x: new HostArray(pixels.map((pixel) => 4 * pixel - 2), shape),
    images: new HostArray(pixels, shape),
    labels: Int32Array.from({ length: size }, () => random.below(model.classes)),
  };
}

function openDevice(): Device {
  const opened = openCpu({ engine: "wasm", threads: 1 });
  if (!("backend" in opened)) throw new Error(opened.reason);
  return new Device(opened.backend);
}

/** Trains two steps; returns the losses, and the bytes that the device then holds. */
async function trained(options: Omit<local.TrainerOptions, "device">, batch: ReturnType<typeof batchOf>) {
  await using device = openDevice(); // its arena is as large as the largest plan needs
  using trainer = await local.trainer({ ...options, device });
  const losses: number[] = [];
  for (let step = 0; step < 2; step++) losses.push(...(await trainer.step(batch)).losses);
  return { losses, held: device.backend.liveBytes };
}

/** The least limit, in bytes, that a refusal names. */
function leastOf(search: () => unknown): number {
  const { message } = assertThrows(search, LocalgradError, "memoryLimit: nothing that was tried fits into");
  return bytesOfSize("the least limit", /the least limit is ([0-9.]+ MiB)/.exec(message)?.[1] ?? "");
}

async function check(index: number): Promise<string> {
  const random = new Random(0, "limits", index);
  const run = drawn(random);
  const { model, batch, optimizer } = run;
  await using device = openDevice();
  const { target } = device.backend;
  const least = leastOf(() => local.withinLimit({ ...run, target, memoryLimit: 1 }));
  const plain = local.stepMemory(local.setup({ model, optimizer, method: local.endToEnd() }), batch, target);
  const share = random.percent(30) ? 0 : random.below(100) / 100;
  const memoryLimit = Math.floor(least + share * Math.max(0, plain.peakBytes - least));
  const way = local.withinLimit({ ...run, target, memoryLimit });
  const images = batchOf(random, model, batch);
  const within = await trained({ ...run, memoryLimit: way }, images);
  const { method, modules, accumulate, peakBytes, description } = way;
  const what =
    `${index}: ${JSON.stringify(model.input)}, batch ${batch}, ${description}: ${peakBytes} planned, ` +
    `${within.held} held within ${memoryLimit}; least ${least}, plain ${plain.peakBytes}`;
  assert(peakBytes <= memoryLimit, what);
  assert(within.held <= memoryLimit, what);
  assert(Math.abs(within.held / peakBytes - 1) <= TOLERANCE, what);
  const unlimited = await trained({ ...run, method, modules, accumulate }, images);
  assertEquals(within.losses, unlimited.losses, what);
  return what;
}

const first = Number(Deno.env.get("LOCALGRAD_SEED") ?? 4);
const count = Number(Deno.env.get("LOCALGRAD_CASES") ?? 4);

Deno.test("random networks train within their limits, and lose no bit", async (t) => {
  for (let index = first; index < first + count; index++) {
    await t.step(`case ${index}`, async () => console.log(await check(index)));
  }
});
