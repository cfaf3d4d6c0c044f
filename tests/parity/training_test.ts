/** A ResNet-32 step and ten steps of MAN against PyTorch, through the public trainer; see ../fixtures/README.md. */

import { assert, assertEquals } from "@std/assert";
import { dgl } from "../../src/local/dgl.ts";
import { infopro } from "../../src/local/infopro.ts";
import { man } from "../../src/local/man.ts";
import { endToEnd } from "../../src/local/end_to_end.ts";
import type { Method } from "../../src/local/method.ts";
import { type Trainer, trainer } from "../../src/local/trainer.ts";
import { network } from "../../src/models/model.ts";
import { resnet32 } from "../../src/models/resnet.ts";
import type { Named } from "../../src/nn/named.ts";
import { sgd } from "../../src/optim/sgd.ts";
import { type Device, type DeviceArray, disposeTree, HostArray } from "../../src/trace/arrays.ts";
import { jit } from "../../src/trace/jit.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { treeFlatten } from "../../src/trace/tree.ts";
import { batch, normalise, startingValues } from "../fixtures/formula.ts";
import { distance, load, type Recorded, testOn } from "./fixture.ts";

type Records = { readonly [name: string]: Recorded };
type Arrays = { readonly [name: string]: DeviceArray };

interface Run {
  readonly batch: number;
  readonly losses: readonly (readonly number[])[];
  readonly changes: Records;
}

interface StepFixture {
  readonly batch: number;
  readonly learningRate: number;
  readonly loss: number;
  readonly momentum: Records;
  readonly changes: Records;
  readonly evaluatedLogits: Recorded;
}

interface ManFixture {
  readonly learningRate: number;
  readonly f32: Run;
  readonly f64: Run;
}

function make(device: Device, method: Method, batch: number): Promise<Trainer> {
  return trainer({
    device,
    model: resnet32({ classes: 10 }),
    modules: 16,
    method,
    optimizer: sgd({ momentum: 0.9, nesterov: true, weightDecay: 1e-4 }),
    batch,
  });
}

/**
 * Gives a trainer the fixtures' starting values, and returns a copy of them on the device. Running statistics and
 * optimizer slots start as they do anyway.
 */
async function start(t: Trainer): Promise<Arrays> {
  const snapshot = await t.snapshot();
  const trained = [...snapshot.tensors].filter(([name]) => !isSlot(name));
  const values = startingValues(
    new Map(
      trained.filter(([name]) => !name.includes(".running_")).map(([name, { shape }]) => [name, shape]),
    ),
  );
  const tensors = new Map([...snapshot.tensors].map(([name, array]) => {
    const data = values.get(tracked(name));
    return [name, data === undefined ? array : new HostArray(data, array.shape)];
  }));
  t.restore({ ...snapshot, tensors });
  return t.device.put(Object.fromEntries(trained.map(([name]) => [name, tensors.get(name)!])));
}

const isSlot = (name: string) => name.startsWith("optimizer.");

/** The name whose starting value a parameter has: its own, or for an EMA parameter the tracked one's. */
function tracked(name: string): string {
  const match = /^local\.(\d+)\.ema\.(.*)$/.exec(name);
  if (match === null) return name;
  const block = Number(match[1]) + 1;
  return `layer${Math.floor(block / 5) + 1}.${block % 5}.${match[2]}`;
}

/** A trainer's parameters, state and slots by the names of a snapshot. */
function variables(t: Trainer): { [name: string]: DeviceArray } {
  const { leaves, paths } = treeFlatten<DeviceArray>(t.variables as never);
  return Object.fromEntries(paths.map((path, i) => [path.replace(/^(params|state)\./, ""), leaves[i]!]));
}

/** Batch `s` of the formula. */
function hostBatch(step: number, count: number) {
  const { bytes, labels } = batch(step, count);
  const shape = [count, 32, 32, 3];
  return {
    x: new HostArray(normalise(bytes), shape),
    images: new HostArray(Float32Array.from(bytes, (byte) => byte / 255), shape),
    labels,
  };
}

/** Raises unless each array is as near to its record as `allowed` says, and no name is missing on either side. */
async function assertRecorded(
  arrays: Arrays,
  records: Records,
  allowed: (record: Recorded) => number,
): Promise<void> {
  assertEquals(Object.keys(arrays).sort(), Object.keys(records).sort());
  const failures: string[] = [];
  for (const [name, array] of Object.entries(arrays)) {
    const error = distance(await array.read() as Float32Array, records[name]!);
    const limit = allowed(records[name]!);
    if (!(error <= limit)) {
      failures.push(`${name} by ${error.toExponential(1)}, not ${limit.toExponential(1)}`);
    }
  }
  const count = Object.keys(arrays).length;
  assert(
    failures.length === 0,
    `${failures.length} of ${count} are off: ${failures.slice(0, 10).join("; ")}`,
  );
}

/**
 * Compares what changed since `before` with a record. The difference is taken on the device: the host would see both
 * sides rounded to float32.
 */
async function assertChanges(
  t: Trainer,
  before: Arrays,
  records: Records,
  allowed: (record: Recorded) => number,
): Promise<void> {
  const subtract = jit((after: { [name: string]: Tensor }, before: { [name: string]: Tensor }) => {
    return Object.fromEntries(Object.entries(before).map(([name, b]) => [name, after[name]!.sub(b)]));
  }, { device: t.device, name: "changes" });
  const after = Object.fromEntries(Object.entries(variables(t)).filter(([name]) => name in before));
  const changes = subtract(after, before);
  await assertRecorded(changes, records, allowed);
  disposeTree(changes);
  disposeTree(before);
  subtract.dispose();
}

/** Runs the steps of a record; the loss of each module must agree as `tolerance` says for each step. */
async function assertLosses(t: Trainer, run: Run, learningRate: number, tolerance: (step: number) => number) {
  for (const [step, expected] of run.losses.entries()) {
    const { losses } = await t.step(hostBatch(step, run.batch), { learningRate });
    assertEquals(losses.length, expected.length);
    expected.forEach((loss, module) => {
      const error = Math.abs(losses[module]! - loss) / loss;
      assert(
        error <= tolerance(step),
        `step ${step + 1}, module ${module + 1}: loss ${losses[module]}, not ${loss}: off by ${
          error.toExponential(1)
        }`,
      );
    });
  }
}

/**
 * What rounding explains in float32: a few times what it did to PyTorch itself, which adds up in another order, and a
 * ReLU or two whose input comes out on the other side of 0. Of the thousands in a layer one such unit shifts the
 * gradients below it by some thousandths.
 */
const float32 = ({ noise }: Recorded) => Math.max(2e-2, 5 * noise!);
const float64 = () => 1e-6;

await testOn(
  ["reference", "cpu", "webgpu", "cuda-simulated", "cuda"],
  (backend) => `an end-to-end step of ResNet-32 on ${backend} is PyTorch's`,
  async (device) => {
    const fixture = load<StepFixture>("resnet32");
    const allowed = device.name === "reference" ? float64 : float32;
    using t = await make(device, endToEnd(), fixture.batch);
    const before = await start(t);
    const run = { batch: fixture.batch, losses: [[fixture.loss]], changes: fixture.changes };
    await assertLosses(t, run, fixture.learningRate, () => device.name === "reference" ? 1e-6 : 1e-5);
    const momentum = Object.entries(variables(t)).filter(([name]) => isSlot(name))
      .map(([name, array]) => [name.replace("optimizer.momentum.", ""), array]);
    await assertRecorded(Object.fromEntries(momentum), fixture.momentum, allowed);
    await assertChanges(t, before, fixture.changes, allowed);

    const evaluate = jit((params: Named<Tensor>, state: Named<Tensor>, x: Tensor) => {
      return network(t.setup.model).apply(params, state, x, "evaluate").y.reshape(-1);
    }, { device, name: "evaluate" });
    const { params, state } = t.variables;
    const logits = evaluate(params as never, state as never, hostBatch(0, fixture.batch).x);
    await assertRecorded({ logits }, { logits: fixture.evaluatedLogits }, allowed);
    logits.dispose();
  },
);

const methods: { readonly [name: string]: Method } = { man_dgl: man(dgl()), man_infopro: man(infopro({ schedule: "stage" })) };

for (const [name, method] of Object.entries(methods)) {
  await testOn(
    ["cpu", "webgpu", "cuda-simulated", "cuda"],
    (backend) => `ten steps of ${method.name}, ResNet-32, K = 16, on ${backend} are PyTorch's`,
    async (device) => {
      const { f32, learningRate } = load<ManFixture>(name);
      using t = await make(device, method, f32.batch);
      const before = await start(t);
      await assertLosses(t, f32, learningRate, (step) => 1e-5 * 10 ** (2 * step / 9));
      await assertChanges(t, before, f32.changes, float32);
    },
  );
  await testOn(
    ["reference"],
    (backend) => `three steps of ${method.name}, ResNet-32, K = 16, on ${backend} are PyTorch's in float64`,
    async (device) => {
      const { f64, learningRate } = load<ManFixture>(name);
      using t = await make(device, method, f64.batch);
      const before = await start(t);
      await assertLosses(t, f64, learningRate, () => 1e-6);
      await assertChanges(t, before, f64.changes, float64);
    },
  );
}
