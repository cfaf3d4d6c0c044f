/** What only NCCL's path has, between two processes with a simulated card each. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  allReduce,
  alone,
  broadcastFrom,
  conv2d,
  devices,
  jit,
  LocalgradError,
  receive,
  send,
  type Tensor,
} from "../../../mod.ts";
import type { CudaBackend } from "../../../src/backends/cuda/backend.ts";
import { joinWorld } from "../../../src/backends/mpi/world.ts";
import { reportOfSimulated } from "../../cuda/sim_report.ts";
import { report } from "../report.ts";

const world = joinWorld({ timeLimit: 30 });
const { rank, communicator } = world;
const group = "world";
const device = await devices.open("cuda", {
  communicators: { world: communicator, own: alone },
});
const backend = device.backend as CudaBackend;

// A step with everything is captured: one launch, whose branches end within it.
const vector = { shape: [4], dtype: "f32" } as const;
const step = jit((state: Tensor, x: Tensor) => {
  send(x.mul(3), { group, to: 1 - rank, depth: 2 });
  const sum = allReduce(x, { group });
  const shared = broadcastFrom(x.add(1), { group, root: 1 });
  const work = state.reshape(2, 2).matmul(state.reshape(2, 2)).reshape(4).tanh();
  const most = allReduce(x, { group, fn: "max" });
  const arrived = receive(vector, { group, from: 1 - rank });
  return [work.add(sum), shared, most, arrived, allReduce(x, { group: "own" })] as const;
}, { device, donate: [0], name: "step" });
let state = device.array([1, 2, 3, 4]);
let expected = [1, 2, 3, 4];
for (let run = 0; run < 6; run++) {
  const input = [run + rank, NaN, -1 - rank, 0.5];
  const results = step(state, device.array(input));
  const [next, ...rest] = await Promise.all(results.map(async (result) => [...await result.read()]));
  const [a, b, c, d] = expected as [number, number, number, number];
  const product = [a * a + b * c, a * b + b * d, c * a + d * c, c * b + d * d];
  expected = product.map((value, i) => Math.fround(Math.tanh(value)) + [2 * run + 1, NaN, -3, 1][i]!);
  for (const [i, value] of next!.entries()) {
    assert(Object.is(value, expected[i]) || Math.abs(value - expected[i]!) < 1e-5);
  }
  const other = [run + 1 - rank, NaN, rank - 2, 0.5];
  assertEquals(rest, [
    [run + 2, NaN, -1, 1.5],
    [run + 1, NaN, -1, 0.5],
    other.map((value) => 3 * value),
    input,
  ]);
  state.dispose();
  state = results[0];
  expected[1] = NaN;
}
const captured = backend.graphs.find(({ plan }) => plan === "step");
assert(captured !== undefined, JSON.stringify(backend.graphs));

// What messages take is planned, and held.
const held = backend.liveBytes;
const passing = jit((x: Tensor) => {
  send(x, { group, to: 1 - rank, tag: 5, depth: 3 });
  receive(vector, { group, from: 1 - rank, tag: 5 });
  return x.mul(2);
}, { name: "passing" });
const plan = passing.plan(backend.target, vector);
assertEquals(plan.memory.breakdown.messages, 3 * 256);
const arena = Math.max(0, plan.arenaBytes); // the device's is larger already
assert(arena < 256 * 64);
const executable = backend.compile(plan);
assertEquals(backend.liveBytes - held, 3 * 256);
executable.dispose();
assertEquals(backend.liveBytes, held);

// A message outlives its run, and those that follow while there is room.
const ahead = jit((x: Tensor) => {
  send(x, { group, to: 1 - rank, tag: 6, depth: 3 });
  return x.add(1);
}, { device, name: "ahead" });
const behind = jit((x: Tensor) => receive(vector, { group, from: 1 - rank, tag: 6 }).add(x), {
  device,
  name: "behind",
});
for (let round = 0; round < 3; round++) { // launch by launch, then captured
  for (let i = 0; i < 3; i++) {
    assertEquals([...await ahead(device.array([i, rank, 0, 0])).read()], [i + 1, rank + 1, 1, 1]);
  }
  for (let i = 0; i < 3; i++) {
    assertEquals([...await behind(device.array([0, 0, 0, 1])).read()], [i, 1 - rank, 0, 1]);
  }
}
assert(backend.graphs.some(({ plan }) => plan === "ahead"));

// Engines are not timed where each process would wait for a message that the other sends once it has issued everything.
const between = jit((x: Tensor, w: Tensor) => {
  send(x, { group, to: 1 - rank, tag: 7 });
  return conv2d(receive(vector, { group, from: 1 - rank, tag: 7 }).reshape(1, 2, 2, 1), w);
}, { device });
for (let run = 0; run < 3; run++) {
  const y = between(device.array([run, rank, 0, 1]), device.array([2], [1, 1, 1, 1]));
  assertEquals([...await y.read()], [2 * run, 2 * (1 - rank), 0, 2]);
}

// A message to oneself.
const own = jit((x: Tensor) => {
  send(x, { group, to: rank });
  return x;
}, { device });
assertThrows(() => own(device.array([1])), LocalgradError, "sends a message to itself");

await device.close();

// A process that waits for every launch has sent what the other needs to go on.
await using slow = await devices.open("cuda", { communicators: { world: communicator }, syncLaunches: true });
const mutual = jit((x: Tensor) => {
  send(x, { group, to: 1 - rank, tag: 8 });
  return receive(vector, { group, from: 1 - rank, tag: 8 }).add(x);
}, { device: slow });
for (let run = 0; run < 2; run++) {
  assertEquals([...await mutual(slow.array([run, rank, 0, 1])).read()], [2 * run, 1, 0, 2]);
}
await slow.close();
assertEquals(reportOfSimulated(), "");
report(rank, "done");
world.leave();
