/** Collective ops in traced programs, between N processes, on the backend that the first argument names. */
import { assertAlmostEquals, assertEquals } from "@std/assert";
import {
  allReduce,
  broadcastFrom,
  type DeviceArray,
  devices,
  grad,
  HostArray,
  jit,
  keys,
  LocalgradError,
  nn,
  receive,
  send,
  type Tensor,
} from "../../../mod.ts";
import { joinWorld } from "../../../src/backends/mpi/world.ts";
import { type SharedBatch, withSharedBatch } from "../../../src/nn/shared_batch.ts";
import type { BackendName } from "../../../src/runtime/devices.ts";
import { reportOfSimulated } from "../../cuda/sim_report.ts";
import { report } from "../report.ts";

const world = joinWorld({ timeLimit: 30 });
const { rank, size, communicator } = world;
const group = "world";
const backend = Deno.args[0] as BackendName;
const device = await devices.open(backend, {
  threads: 2,
  communicators: { world: communicator },
});
const ranks = Array.from({ length: size }, (_, r) => r);
const read = async (array: DeviceArray): Promise<number[]> => [...await array.read()].map(Number);

// Reductions of every function and dtype; that of a NaN is NaN.
for (const dtype of ["f32", "i32", "u32", "bf16"] as const) {
  if (dtype === "bf16" && !device.backend.target.precisions.includes("bf16")) continue; // WebGPU, and older processors
  for (const fn of ["sum", "max", "min"] as const) {
    const reduced = jit((x: Tensor) => allReduce(x.cast(dtype), { group, fn }).cast("f32"), { device });
    const values = ranks.map((r) => [r + 1, 7 - r, 2 * r + 3]);
    const join = { sum: (a: number, b: number) => a + b, max: Math.max, min: Math.min }[fn];
    const expected = [0, 1, 2].map((i) => values.map((each) => each[i]!).reduce((a, b) => join(a, b)));
    assertEquals(await read(reduced(device.array(values[rank]!))), expected, `${fn} of ${dtype}`);
  }
}
const largest = jit((x: Tensor) => allReduce(x, { group, fn: "max" }), { device });
assertEquals(await read(largest(device.array([rank === size - 1 ? NaN : 1, rank]))), [NaN, size - 1]);

// A reduction whose result is needed late runs beside long work, in memory that the work must not touch.
const beside = jit((x: Tensor, y: Tensor) => {
  const sum = allReduce(x.mul(2), { group });
  let work = y;
  for (let i = 0; i < 12; i++) work = work.matmul(y).mul(0.1).tanh();
  return [sum.add(1), work] as const;
}, { device });
const alone = jit((y: Tensor) => {
  let work = y;
  for (let i = 0; i < 12; i++) work = work.matmul(y).mul(0.1).tanh();
  return work;
}, { device });
const many = device.array(new Float32Array(20_000).fill(rank + 1));
const matrix = device.array(Float32Array.from({ length: 1024 }, (_, i) => Math.sin(i)), [32, 32]);
const [sum, work] = beside(many, matrix);
const total = ranks.reduce((a, r) => a + r + 1, 0);
assertEquals(new Set(await read(sum)), new Set([2 * total + 1]));
assertEquals(await read(work), await read(alone(matrix)));

// The gradient of a sum over the processes, as if their losses were added.
const gradient = jit(
  (x: Tensor) => grad((x: Tensor) => allReduce(x.square(), { group }).mul(rank + 1).sum())(x),
  { device },
);
for (const [i, value] of (await read(gradient(device.array([rank + 1, 3])))).entries()) {
  assertAlmostEquals(value, total * 2 * [rank + 1, 3][i]!, 1e-4);
}

// Batch norm over the shares of a batch, of different sizes, has the statistics and gradients of the whole batch.
const norm = nn.batchNorm({ channels: 2 });
const variables = [device.put(norm.init(keys.key(0)))] as const;
const normalised = (shared?: SharedBatch) =>
  jit(
    (x: Tensor, { params, state }: { params: nn.Named<Tensor>; state: nn.Named<Tensor> }) =>
      withSharedBatch(shared, () => {
        const cubes = (x: Tensor) => norm.apply(params, state, x, "train").y.square().mul(x).sum();
        return [norm.apply(params, state, x, "train").state, grad(cubes)(x)] as const;
      }),
    { device },
  );
const images = ranks.map((r) => 2 + r), starts = ranks.map((r) => 2 * r + r * (r - 1) / 2);
const batch = Float32Array.from(
  { length: 2 * images.reduce((a, b) => a + b) },
  (_, i) => 50 + Math.sin(3 * i) + (i > 5 ? 2 : 0),
);
const [from, own] = [starts[rank]!, images[rank]!];
const shared = { group, index: rank, processes: size, own, images: batch.length / 2 };
const share = new HostArray(batch.slice(2 * from, 2 * (from + own)), [own, 2]);
const [state, slope] = normalised(shared)(share, ...variables);
const [wholeState, wholeSlope] = normalised()(new HostArray(batch, [batch.length / 2, 2]), ...variables);
for (const name of ["running_mean", "running_var"]) {
  const expected = await read(wholeState[name] as DeviceArray);
  for (const [i, value] of (await read(state[name] as DeviceArray)).entries()) {
    assertAlmostEquals(value, expected[i]!, 1e-5, name);
  }
}
const expected = (await read(wholeSlope)).slice(2 * from, 2 * (from + own));
for (const [i, value] of (await read(slope)).entries()) {
  assertAlmostEquals(value, expected[i]!, 1e-2, `slope ${i}`);
}

// A value of one process.
const given = jit((x: Tensor) => broadcastFrom(x, { group, root: size - 1 }), { device });
assertEquals(await read(given(device.array([rank, 10 * rank]))), [size - 1, 10 * (size - 1)]);

// Messages round a ring: several under way at once, in order, although nothing reads the result of a send.
const ring = jit((x: Tensor) => {
  send(x.mul(10), { group, to: (rank + 1) % size, tag: 3, depth: 2 });
  return receive({ shape: [2], dtype: "f32" }, { group, from: (rank + size - 1) % size, tag: 3 }).add(x);
}, { device });
const before = (rank + size - 1) % size;
for (let step = 0; step < 5; step++) {
  assertEquals(await read(ring(device.array([step, rank]))), [11 * step, 10 * before + rank]);
}

// The sender runs ahead by as many messages as it has slots for; they arrive in order.
const ahead = jit((x: Tensor) => {
  if (rank === 0) send(x, { group, to: 1, depth: 3 });
  return rank === 1 ? receive({ shape: [1], dtype: "f32" }, { group, from: 0 }) : x.neg();
}, { device });
const arrived: number[] = [];
for (let step = 0; step < 7; step++) arrived.push(...await read(ahead(device.array([step]))));
assertEquals(arrived, [0, 1, 2, 3, 4, 5, 6].map((step) => rank === 1 ? step : -step));

// Memory: the slots are planned, and held. What is sent is known.
if (rank === 0) {
  const { memory } = ahead.plan(
    await devices.target(backend, { groups: { world: size } }),
    { shape: [1], dtype: "f32" },
  );
  const slots = { cpu: 3 * 64, webgpu: 4 * 256, cuda: 3 * 256, reference: memory.breakdown.messages };
  assertEquals(memory.breakdown.messages, slots[backend]);
  assertEquals(memory.traffic?.["world"], { operations: 1, bytes: 4 });
}

// A group that there is not, and a process that there is not.
const error = (f: () => void): string => {
  try {
    f();
  } catch (error) {
    if (!(error instanceof LocalgradError)) throw error;
    return error.message;
  }
  return "nothing was thrown";
};
const elsewhere = jit((x: Tensor) => allReduce(x, { group: "elsewhere" }), { device, name: "elsewhere" });
assertEquals(
  error(() => elsewhere(device.array([1]))).split(":")[1],
  ' allReduce in the group "elsewhere"',
);
await device.close();
if (backend === "cuda") assertEquals(reportOfSimulated(), "");
report(rank, "done");
world.leave();
