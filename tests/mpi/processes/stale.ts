/**
 * MAN in a pipeline with a stale exchange: every process but the last tracks the first block of the next, as it last
 * arrived. In each round of four steps a process waits for three steps of the one before, which therefore does not wait.
 */
import { alone, devices, type Tensor } from "../../../mod.ts";
import { joinWorld } from "../../../src/backends/mpi/world.ts";
import { checksum } from "../../../src/backends/same_bits.ts";
import { at } from "../../../src/base/at.ts";
import { key } from "../../../src/base/random.ts";
import { ownTracked, type Tracked } from "../../../src/local/processes/exchange.ts";
import type { Batch } from "../../../src/local/method.ts";
import { man } from "../../../src/local/methods/man.ts";
import { dgl } from "../../../src/local/methods/methods.ts";
import { partOf } from "../../../src/local/processes/part.ts";
import { setup } from "../../../src/local/setup.ts";
import { trainStep } from "../../../src/local/step.ts";
import { initialize } from "../../../src/nn/initial.ts";
import { publishedSgd } from "../../../src/optim/published.ts";
import { sgd } from "../../../src/optim/sgd.ts";
import type { DeviceArray } from "../../../src/runtime/device_array.ts";
import { disposeTree } from "../../../src/runtime/arrays.ts";
import { HostArray } from "../../../src/trace/host_array.ts";
import { type Tree, treeLeaves } from "../../../src/trace/tree.ts";
import { compileStep } from "../../../src/training/compiled_step.ts";
import { StaleBlocks } from "../../../src/training/processes/stale_blocks.ts";
import { noise } from "../../run.ts";
import { tinyModel } from "../../tiny.ts";
import { report } from "../report.ts";

const every = Number(Deno.args[0]);
const world = joinWorld({ timeLimit: 20 });
const { rank, size, communicator } = world;
const device = await devices.open("cpu", {
  threads: 1,
  engine: "wasm",
  communicators: { modules: communicator },
});
const whole = setup({ model: tinyModel(), modules: 3, method: man(dgl()), optimizer: sgd(publishedSgd) });
const runs = size === 2
  ? [{ first: 0, end: 1 }, { first: 1, end: 3 }]
  : [0, 1, 2].map((i) => ({ first: i, end: i + 1 }));
const layout = { data: 1, modules: size }, place = { data: 0, modules: rank };
const part = partOf(whole, { layout, place, runs, depth: 4, exchange: every === 1 ? "stale" : { every } });
const { initial } = part;
let train = device.put({
  params: initialize(initial.params, key(0)),
  state: initialize(initial.state, key(0)),
  optimizer: initialize(initial.optimizer, key(0)),
});
const step = compileStep((
  train,
  batch: Batch,
  scalars: { learningRate: Tensor },
  tracked: Tracked,
) => trainStep(part, train, batch, scalars, undefined, tracked), { device });

/** A checksum of a tracked block. */
async function sumOf({ before, after }: Tracked<DeviceArray>): Promise<number> {
  const values = await Promise.all(
    treeLeaves<DeviceArray>([before, after] as unknown as Tree<DeviceArray>).map((v) => v.read()),
  );
  return values.reduce((sum, data) => Math.imul(sum, 31) + checksum(data) >>> 0, 0);
}

const blocks = new StaleBlocks(part.part, device, { data: alone, modules: communicator });
/** Of the own first block, after each number of steps; of the tracked block, in each step. */
const own = [await sumOf(ownTracked<DeviceArray>(part.part!, train))], tracked: number[] = [];
const word = new Uint8Array(4);
const ROUND = 4;
const measured = [];
for (let round = 0; round < 3; round++) {
  for (let i = 0; i < ROUND; i++) {
    const steps = ROUND * round + i;
    blocks.before(train, steps);
    if (i === 0 && rank > 0) communicator.receive(word, rank - 1, 100).wait();
    tracked.push(await sumOf(blocks.tracked));
    const batch = {
      x: noise(`x${steps}`, [4, 8, 8, 3]),
      labels: new HostArray(Int32Array.of(0, 1, 2, 0)),
      images: noise(`x${steps}`, [4, 8, 8, 3]),
    };
    const stepped = step(train, batch, { learningRate: 0.05 }, blocks.tracked);
    train = stepped.train;
    stepped.metrics.dispose();
    blocks.after(train, steps + 1);
    own.push(await sumOf(ownTracked<DeviceArray>(part.part!, train)));
    if (i === 2 && rank + 1 < size) communicator.send(word, rank + 1, 100).wait();
  }
  communicator.barrier();
  if (round === 1) blocks.close(); // the next step opens them again
  measured.push(blocks.measured());
}
blocks.close();
report(rank, { own, tracked: at([tracked], 0), measured });
blocks[Symbol.dispose]();
step.dispose();
disposeTree(train);
await device.close();
world.leave();
