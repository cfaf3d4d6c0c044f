/** Every operation with every dtype between N processes, in ordinary and in shared memory. */
import { assert, assertEquals } from "@std/assert";
import type { Communicator } from "../../../src/backends/communicator.ts";
import { joinWorld } from "../../../src/backends/mpi/world.ts";
import { bf16Bits, bf16Value } from "../../../src/trace/bf16.ts";
import { type DType, hostArrays, type HostData } from "../../../src/trace/dtype.ts";
import { report } from "../report.ts";

const world = joinWorld({
  timeLimit: 30,
  ...(Deno.args[0] === undefined ? {} : { maxCount: Number(Deno.args[0]) }),
});
const { rank, size, communicator } = world;
const shared = new WebAssembly.Memory({ initial: 4, maximum: 4, shared: true }).buffer;
const bytes = (data: HostData) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
const sumTo = (n: number) => n * (n + 1) / 2;

/** An array in memory of its own, or in the shared memory at an offset of 8 bytes. */
function hold(dtype: DType, values: readonly number[], where: "own" | "shared"): HostData {
  const stored = dtype === "bf16" ? values.map(bf16Bits) : values;
  const data = where === "own"
    ? new hostArrays[dtype](values.length)
    : new hostArrays[dtype](shared, 8, values.length);
  data.set(stored);
  return data;
}

/** Elements whose results are exact in each dtype, for any number of processes up to 8. */
function reductions(group: Communicator): void {
  const { rank, size } = group;
  for (const where of ["own", "shared"] as const) {
    for (const dtype of ["f32", "bf16", "i32", "u32", "bool", "u8"] as const) {
      const mine = [rank + 1, rank === 0 ? 7 : 2, 5 - rank % 2];
      const every = Array.from({ length: size }, (_, r) => [r + 1, r === 0 ? 7 : 2, 5 - r % 2]);
      for (const [fn, join] of Object.entries(joins)) {
        const data = hold(dtype, mine, where);
        group.allReduce(bytes(data), dtype, fn as "sum").wait();
        const expected = mine.map((_, i) => every.map((values) => values[i]).reduce(join));
        assertEquals([...data], [...hold(dtype, expected, "own")], `${fn} of ${dtype} in ${where} memory`);
      }
    }
  }
}

const joins = {
  sum: (a: number, b: number) => a + b,
  max: (a: number, b: number) => Math.max(a, b),
  min: (a: number, b: number) => Math.min(a, b),
};

reductions(communicator);

// Signs, infinities and NaN, wherever the process with the NaN comes in the order.
for (let place = 0; place < size; place++) {
  const given = rank === place ? [NaN, -0, -1.5, Infinity] : [3, 0, -2.5, 2 ** 100];
  const expected = size === 1
    ? { max: given, min: given }
    : { max: [NaN, 0, -1.5, Infinity], min: [NaN, -0, -2.5, 2 ** 100] };
  for (const fn of ["max", "min"] as const) {
    const data = hold("f32", given, "own"), half = hold("bf16", given, "own");
    communicator.allReduce(bytes(data), "f32", fn).wait();
    communicator.allReduce(bytes(half), "bf16", fn).wait();
    assertEquals([...data], expected[fn]);
    assertEquals([...half].map(bf16Value), expected[fn].map((value) => bf16Value(bf16Bits(value))));
  }
}

// bf16 is rounded once: 256 + 1 + 1 + … is 256 if it is rounded at each step.
const rounded = hold("bf16", [rank === 0 ? 256 : 1], "own");
communicator.allReduce(bytes(rounded), "bf16", "sum").wait();
assertEquals(rounded[0], bf16Bits(255 + size));

// Sums that depend on the order have the same bits on all processes, short or long.
for (const length of Deno.args.length > 0 ? [5] : [5, 30_000]) { // many thousand parts take seconds
  const data = Float32Array.from({ length }, (_, i) => Math.sin(i * size + rank) / (rank + 0.7));
  communicator.allReduce(bytes(data), "f32", "sum").wait();
  const first = data.slice();
  communicator.broadcast(bytes(first), 0).wait();
  assertEquals(data, first);
}

// Several transfers under way, none awaited in the order in which they were started.
const features = Float32Array.from({ length: 1000 }, (_, i) => rank * 1000 + i);
const gradient = new Float32Array(shared, 4096, 5000).fill(rank + 1);
const summed = communicator.allReduce(bytes(gradient), "f32", "sum");
const next = (rank + 1) % size, last = (rank + size - 1) % size;
const received = [new Float32Array(1000), new Float32Array(2)] as const;
const arriving = [
  communicator.receive(bytes(received[0]), last, 7),
  communicator.receive(bytes(received[1]), last, 8),
];
const left = [
  communicator.send(bytes(Float32Array.of(rank, -rank)), next, 8),
  communicator.send(bytes(features), next, 7),
];
for (const transfer of [...arriving, ...left].reverse()) transfer.wait();
summed.wait();
assertEquals(gradient, new Float32Array(5000).fill(sumTo(size)));
assertEquals([received[0][0], received[0][999], ...received[1]], [
  last * 1000,
  last * 1000 + 999,
  last,
  -last,
]);
assert(summed.done());
summed.wait();

// Messages of one tag arrive in the order sent; an empty one counts.
const numbers = [new Uint8Array(3), new Uint8Array(0), new Uint8Array(3)];
const messages = numbers.map((data) => communicator.receive(data, last, 9));
[[1, 2, 3], [], [4, 5, 6]].forEach((values) => communicator.send(Uint8Array.from(values), next, 9).wait());
messages.forEach((message) => message.wait());
assertEquals(numbers.map((data) => [...data]), [[1, 2, 3], [], [4, 5, 6]]);

for (let root = 0; root < size; root++) {
  const data = new Uint8Array(shared, 100, 5).fill(rank);
  communicator.broadcast(data, root).wait();
  assertEquals([...data], new Array(5).fill(root));
}

// Groups: the grid of 2 columns, each with its own numbers; a group of one.
const column = world.split("columns", rank % 2, rank);
assertEquals([column.rank, column.size], [Math.floor(rank / 2), Math.ceil((size - rank % 2) / 2)]);
reductions(column);
const row = world.split("rows", Math.floor(rank / 2), size - rank); // in the opposite order
const numbered = Int32Array.of(rank);
row.broadcast(bytes(numbered), 0).wait();
assertEquals(numbered[0], Math.min(Math.floor(rank / 2) * 2 + 1, size - 1));
const half = world.split("halves of columns", column.rank, 0, column);
assertEquals([half.rank, half.size], [0, 1]);
reductions(half);

report(rank, {
  rank,
  size,
  implementation: world.implementation,
  machine: world.machine,
  sharing: world.sharing,
});
world.leave();
