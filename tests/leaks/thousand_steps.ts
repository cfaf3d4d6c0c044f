/**
 * Trains for a thousand steps and prints what is held before and after them, as JSON; run by leaks_test.ts in a process
 * of its own, whose memory nothing else changes:
 *
 *     deno run --v8-flags=--expose-gc tests/leaks/thousand_steps.ts <device>
 */

import { type Device, devices, HostArray, local, optim } from "../../mod.ts";
import { tinyModel } from "../tiny.ts";

const { gc } = globalThis as unknown as { gc: () => void };

/** What the device and the process hold. */
async function held(device: Device) {
  await device.finish();
  gc();
  const { liveBuffers, liveBytes } = device.backend;
  return { liveArrays: device.liveArrays, liveBuffers, liveBytes, resident: Deno.memoryUsage().rss };
}

const device = await devices.open(Deno.args[0] as devices.DeviceName);
const { backend } = device;
const records: Awaited<ReturnType<typeof held>>[] = [];
{
  using t = await local.trainer({
    device,
    model: tinyModel(),
    modules: 3,
    method: local.man(local.dgl()),
    optimizer: optim.sgd({ momentum: 0.9, nesterov: true }),
    batch: 4,
  });
  const x = new HostArray(Float32Array.from({ length: 4 * 8 * 8 * 3 }, (_, i) => Math.sin(i)), [4, 8, 8, 3]);
  const labels = Int32Array.of(0, 1, 2, 0);
  const train = async (steps: number) => {
    for (let i = 0; i < steps; i++) await t.step({ x, labels }, { learningRate: 0.01 });
    records.push(await held(device));
  };
  await train(750); // by now code is compiled and pools and heap have their size
  await train(1000);
}
await device.close();
const { liveBuffers, liveBytes } = backend;
const closed = { liveArrays: device.liveArrays, liveBuffers, liveBytes };
console.log(JSON.stringify({ before: records[0], after: records[1], closed }));
