/** Training through the public trainer, compared with PyTorch's records; see ../fixtures/README.md. */

import { assert, assertEquals } from "@std/assert";
import type { Method } from "../../src/local/method.ts";
import { resnet32 } from "../../src/models/resnet.ts";
import { publishedSgd } from "../../src/optim/published.ts";
import { sgd } from "../../src/optim/sgd.ts";
import { type Device, type DeviceArray, disposeTree } from "../../src/runtime/arrays.ts";
import { jit } from "../../src/runtime/jit.ts";
import { HostArray } from "../../src/trace/host_array.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { treeFlatten } from "../../src/trace/tree.ts";
import type { HostBatch } from "../../src/training/host_batch.ts";
import { type Trainer, trainer } from "../../src/training/trainer.ts";
import { batch, normalise, startingValues } from "../fixtures/formula.ts";
import { distance, type Recorded } from "./fixture.ts";

/** Recorded tensors by name. */
export type Records = { readonly [name: string]: Recorded };
/** Device arrays by name. */
export type Arrays = { readonly [name: string]: DeviceArray };

/** A few steps of training. */
export interface Run {
  readonly batch: number;
  readonly losses: readonly (readonly number[])[];
  readonly changes: Records;
}

/** A trainer of ResNet-32 as the fixtures train it. */
export function make(device: Device, method: Method, batch: number, modules: number): Promise<Trainer> {
  return trainer({
    device,
    model: resnet32({ classes: 10 }),
    modules,
    method,
    optimizer: sgd(publishedSgd),
    batch,
  });
}

/**
 * Gives a trainer the fixtures' starting values, and returns a copy of them, with or without running statistics, on the
 * device. Running statistics, scales and optimizer slots keep their usual starting values.
 */
export async function start(t: Trainer, statistics: boolean = true): Promise<Arrays> {
  const snapshot = await t.snapshot();
  const trained = [...snapshot.tensors].filter(([name]) => !isSlot(name));
  const values = startingValues(
    new Map(
      trained.filter(([name]) => !/\.(running_.*|scale)$/.test(name)).map((
        [name, { shape }],
      ) => [name, shape]),
    ),
  );
  const tensors = new Map([...snapshot.tensors].map(([name, array]) => {
    const data = values.get(tracked(t, name));
    return [name, data === undefined ? array : new HostArray(data, array.shape)];
  }));
  t.restore({ ...snapshot, tensors });
  const wanted = trained.filter(([name]) => statistics || !name.includes(".running_"));
  return t.device.put(Object.fromEntries(wanted.map(([name]) => [name, tensors.get(name)!])));
}

/** Tests whether a name belongs to an optimizer's slot. */
export const isSlot = (name: string) => name.startsWith("optimizer.");

/** The first block that MLAAN copies at boundaries of ResNet-32, K = 4, depth 2. */
const LEAPS: { readonly [boundary: string]: string } = { "1": "layer3.0", "2": "layer3.2" };

/**
 * The name that a parameter's starting value is computed from: its own, or the tracked parameter's for an EMA that
 * starts as a copy.
 */
function tracked({ setup }: Trainer, name: string): string {
  const [, boundary, block = "0", rest] = /^local\.(\d+)\.ema\.(?:(\d+)\.)?(.*)$/.exec(name) ?? [];
  if (boundary === undefined || setup.method.options["start"] === "random") return name;
  const leap = setup.method.name === "mlaan" ? LEAPS[boundary] : undefined;
  if (leap !== undefined) return name.replace(/^local\.\d+\.ema/, leap);
  return `${setup.modules[Number(boundary) + 1]!.blocks[Number(block)]!.name}.${rest}`;
}

/** A trainer's parameters, state and slots, by their names in a snapshot. */
export function variables(t: Trainer): { [name: string]: DeviceArray } {
  const { leaves, paths } = treeFlatten<DeviceArray>(t.variables as never);
  return Object.fromEntries(paths.map((path, i) => [path.replace(/^(params|state)\./, ""), leaves[i]!]));
}

/** Batch `s` of the formula. */
export function hostBatch(step: number, count: number) {
  const { bytes, labels } = batch(step, count);
  const shape = [count, 32, 32, 3];
  return {
    x: new HostArray(normalise(bytes), shape),
    images: new HostArray(Float32Array.from(bytes, (byte) => byte / 255), shape),
    labels,
  };
}

/** Asserts that each array is within `allowed` of its record, and that no name is missing on either side. */
export async function assertRecorded(
  arrays: Arrays,
  records: Records,
  allowed: (record: Recorded) => number,
): Promise<void> {
  assertEquals(Object.keys(arrays).sort(), Object.keys(records).sort());
  const failures: string[] = [];
  for (const [name, array] of Object.entries(arrays)) {
    const error = distance(await array.read("f32"), records[name]!);
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
 * Compares the changes since `before` with a record. The difference is computed on the device, because on the host both
 * sides would be rounded to float32.
 */
export async function assertChanges(
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

/**
 * Runs the steps of a record, by default on the formula's images; the loss of each module must agree within that step's
 * `tolerance`.
 */
export async function assertLosses(
  t: Trainer,
  run: Run,
  learningRate: number,
  tolerance: (step: number) => number,
  batch: (step: number, count: number) => HostBatch = hostBatch,
) {
  for (const [step, expected] of run.losses.entries()) {
    const { losses } = await t.step(batch(step, run.batch), { learningRate });
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
 * The deviation that rounding explains in float32: a few times PyTorch's own, since the order of sums differs, and a
 * ReLU or two with inputs on the other side of 0. One such unit among the thousands of a layer shifts the gradients
 * below it by some thousandths. In a tensor of one element, such as a learnable scale, nothing averages that out:
 * rounding the images differently moves it by up to 5e-2.
 */
export const float32 = ({ l2, samples, noise }: Recorded) =>
  Math.max(Math.abs(samples[0]!) === l2 ? 6e-2 : 2e-2, 5 * noise!);
/** The deviation that rounding explains in float64, for values recorded in full. */
export const float64 = () => 1e-6;
