/** Exchanges of WebGPU devices, staged through the host: several devices of one process, each with a communicator. */
import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { openWebgpu } from "../src/backends/webgpu/backend.ts";
import { alone, type Communicator } from "../src/backends/communicator.ts";
import { LocalgradError } from "../src/base/errors.ts";
import { Device } from "../src/runtime/arrays.ts";
import { open as openDevice } from "../src/runtime/devices.ts";
import { jit } from "../src/runtime/jit.ts";
import { allReduce, broadcastFrom, receive, send } from "../src/trace/collectives.ts";
import type { Tensor } from "../src/trace/tensor.ts";
import { connected } from "./communicators.ts";
import { skips } from "./gate.ts";

const ignore = await skips("webgpu", () => openWebgpu());
const group = "world";

async function open(communicator: Communicator): Promise<Device> {
  const opened = await openWebgpu(undefined, { world: communicator });
  if ("reason" in opened) throw new Error(opened.reason);
  return new Device(opened.backend);
}

/** Runs the same body for each of `size` processes, on a device of its own; devices must be empty afterwards. */
async function together(size: number, body: (device: Device, rank: number) => Promise<void>): Promise<void> {
  await Promise.all(
    connected(size).map(async (communicator, rank) => {
      const device = await open(communicator);
      try {
        await body(device, rank);
      } finally {
        await device.close();
      }
      assertEquals([device.backend.liveBuffers, device.backend.liveBytes], [0, 0]);
    }),
  );
}

const test = (name: string, body: () => Promise<void>) => Deno.test(`webgpu: ${name}`, { ignore }, body);
const vector = { shape: [4], dtype: "f32" } as const;

test("sums, maxima, broadcasts and messages give what they should, with steps beside them", () =>
  together(2, async (device, rank) => {
    const step = jit((x: Tensor, y: Tensor) => {
      const sum = allReduce(x.mul(2), { group });
      send(x.add(10), { group, to: 1 - rank, tag: 1 });
      const work = y.matmul(y).add(1);
      const arrived = receive(vector, { group, from: 1 - rank, tag: 1 });
      const most = allReduce(x.cast("i32"), { group, fn: "max" });
      const shared = broadcastFrom(x.mul(arrived), { group, root: 1 });
      return [sum.add(1), work, arrived, most, shared] as const;
    }, { device });
    for (let run = 0; run < 3; run++) {
      const x = device.array([rank + 1 + run, 2, 3, -4 * (rank + 1)]);
      const results = step(x, device.array([1, 2, 3, 4], [2, 2]));
      const got = await Promise.all(results.map(async (result) => [...await result.read()]));
      const mine = [[1 + run, 2, 3, -4], [2 + run, 2, 3, -8]];
      const [own, other] = [mine[rank]!, mine[1 - rank]!];
      assertEquals(got, [
        own.map((value, i) => 2 * (value + other[i]!) + 1),
        [8, 11, 16, 23],
        other.map((value) => value + 10),
        own.map((value, i) => Math.max(value, other[i]!)),
        mine[1]!.map((value, i) => value * (mine[0]![i]! + 10)),
      ]);
    }
  }));

test("what is issued while a run waits keeps its order: writes, runs, reads, frees, a larger arena", () =>
  together(2, async (device, rank) => {
    const sum = jit((x: Tensor) => allReduce(x.mul(1), { group }), { device });
    const next = jit((x: Tensor) => x.add(1), { device, donate: [0] });
    const large = jit((x: Tensor) => x.broadcastTo([4096, 4]).exp().matmul(x.reshape(4, 1)).sum(), {
      device,
    });
    const x = device.array([1, 2, 3, rank]);
    const waiting = sum(x);
    const before = x.read();
    x.write(await hostOf(device, [5, 6, 7, 8]));
    const after = next(x); // x is donated
    const wide = large(after);
    const read = Promise.all([waiting.read(), before, after.read(), wide.read()]);
    waiting.dispose();
    after.dispose();
    wide.dispose();
    const [total, old, added, one] = await read;
    assertEquals([...total], [2, 4, 6, 1]);
    assertEquals([...old], [1, 2, 3, rank]);
    assertEquals([...added], [6, 7, 8, 9]);
    assertEquals(one.length, 1);
  }));

async function hostOf(device: Device, values: number[]) {
  using array = device.array(values);
  return await array.toHost();
}

test("a sender runs ahead by as many messages as it has slots for, and its device closes after they left", () =>
  together(2, async (device, rank) => {
    const pass = jit((x: Tensor) => {
      if (rank === 0) send(x, { group, to: 1, depth: 3 });
      return rank === 1 ? receive({ shape: [1], dtype: "f32" }, { group, from: 0 }) : x.neg();
    }, { device });
    if (rank === 1) await new Promise((resolve) => setTimeout(resolve, 50));
    for (let step = 0; step < 5; step++) {
      using result = pass(device.array([step]));
      if (step < 3 || rank === 1) assertEquals([...await result.read()], [rank === 1 ? step : -step]);
    }
  }));

test("what exchanges take is planned, and held", () =>
  together(2, async (device) => {
    const f = jit((x: Tensor) => {
      send(x.mul(2), { group, to: 0, depth: 2, tag: 9 });
      receive(vector, { group, from: 1, tag: 9 });
      return broadcastFrom(allReduce(x, { group }), { group, root: 1 });
    });
    const plan = f.plan(device.backend.target, vector);
    // Two slots and three exchanges that are staged, and what a broadcast takes on all processes.
    assertEquals(plan.memory.breakdown.messages, (2 + 4) * 256);
    const [bytes, buffers] = [device.backend.liveBytes, device.backend.liveBuffers];
    const executable = device.backend.compile(plan);
    const arena = Math.ceil(plan.arenaBytes / 4) * 4;
    assertEquals(device.backend.liveBytes - bytes, arena + (plan.memory.breakdown.messages ?? 0));
    executable.dispose();
    await device.finish();
    assertEquals(device.backend.liveBuffers - buffers, 1); // the arena
  }));

test("a failed exchange is told wherever something depends on it, and nothing is left", async () => {
  const broken = () => {
    throw new LocalgradError("process 1 of 2 has left");
  };
  const [communicator] = connected(2);
  const device = await open({ ...communicator!, allReduce: broken });
  const sum = jit((x: Tensor) => allReduce(x, { group }).mul(2), { device });
  const x = device.array([1, 2]);
  const result = sum(x);
  await assertRejects(() => result.read(), LocalgradError, "process 1 of 2 has left");
  assertThrows(() => sum(x), LocalgradError, "process 1 of 2 has left");
  await assertRejects(() => device.finish(), LocalgradError, "process 1 of 2 has left");
  await device.close();
  assertEquals([device.backend.liveBuffers, device.backend.liveBytes], [0, 0]);
});

Deno.test("auto passes over WebGPU where several processes exchange data, and not for one alone", async () => {
  const [world] = connected(2);
  await using device = await openDevice("auto", { communicators: { world: world! }, threads: 1 });
  assert(!/webgpu/.test(device.name), device.choice);
  if (device.name === "cpu") {
    assertStringIncludes(device.choice, "webgpu: what it exchanges with other processes");
  }
  await using single = await openDevice("auto", { communicators: { world: alone }, threads: 1 });
  assert(!single.choice.includes("exchanges"), single.choice);
});
