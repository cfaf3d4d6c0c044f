/** Processes that agree, and those that do not: each case is refused by all with the same message, which is reported. */
import { allReduce, HostArray, jit, LocalgradError, receive, send, type Tensor } from "../../../mod.ts";
import { agreeOn, agreeOnExchanges } from "../../../src/backends/agreement.ts";
import { joinWorld } from "../../../src/backends/mpi/world.ts";
import { sameBits } from "../../../src/backends/same_bits.ts";
import { effectsOf } from "../../../src/compile/collectives.ts";
import { report } from "../report.ts";

const world = joinWorld({ timeLimit: 20 });
const { rank, size, communicator } = world;

function messageOf(f: () => void): string {
  try {
    f();
  } catch (error) {
    if (error instanceof LocalgradError) return error.message;
    throw error;
  }
  return "agreed";
}

const options = { batch: 8, method: { name: "man+dgl", momentum: 0.99 }, modules: ["a", "b"] };
const odd = rank === size - 1;
const configurations = [
  options,
  odd ? { modules: ["a", "b"], method: { momentum: 0.99, name: "man+dgl" }, batch: 8 } : options, // another order
  odd ? { ...options, method: { name: "man+dgl", momentum: 0.9 } } : options,
  odd ? { ...options, batch: 16, modules: ["a"], precision: "bf16" } : options,
  rank === 0 ? { ...options, seed: 1 } : options,
];

const group = "world";
const vector = { shape: [4], dtype: "f32" } as const;
const effects = (f: (x: Tensor) => Tensor) => effectsOf(jit(f).program(vector));
const ring = (tag: number, shape: readonly number[]) => (x: Tensor): Tensor => {
  send(x, { group, to: (rank + 1) % size, tag: 1 });
  return receive({ shape, dtype: "f32" }, { group, from: (rank + size - 1) % size, tag }).sum();
};
const programs = [
  effects((x) => allReduce(allReduce(x, { group }).sum(), { group, fn: "max" })),
  effects(ring(1, [4])),
  effects((x) => {
    const first = allReduce(x, { group });
    return odd ? first : allReduce(first.sum(), { group });
  }),
  effects(ring(odd ? 2 : 1, [4])),
  effects(ring(1, odd ? [2] : [4])),
];

const weights = (change: number) =>
  new Map([
    ["conv.weight", new HostArray(Float32Array.of(1, 2, 3))],
    ["bn.bias", new HostArray(Float32Array.of(1, NaN, -0))],
    ["ema.bias", new HostArray(Float32Array.of(1, 2 + change))],
    ["ema.weight", new HostArray(Float32Array.of(1, 2, change))],
  ]);

report(rank, {
  options: configurations.map((values) => messageOf(() => agreeOn(communicator, "option", values))),
  programs: programs.map((each) => messageOf(() => agreeOnExchanges({ world: communicator }, "step", each))),
  bits: [0, odd ? -0 : 0, odd ? 2 ** -22 : 0, rank].map((change) =>
    messageOf(() => sameBits(communicator, weights(change)))
  ),
});
world.leave();
