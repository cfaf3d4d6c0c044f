/**
 * The speeds of this device, measured once and kept in the user's cache.
 *
 * @module
 */

import { grad } from "../../autograd/grad.ts";
import { at } from "../../base/at.ts";
import { cacheFolder } from "../../base/cache_folder.ts";
import { decodeJson, number, object } from "../../base/decode.ts";
import { makeFolder, readIfThere, writeWhole } from "../../base/files.ts";
import { VERSION } from "../../base/version.ts";
import type { Plan } from "../../compile/plan.ts";
import { workOf } from "../../compile/work.ts";
import type { Speeds } from "../../local.ts";
import { type Device, disposeTree } from "../../runtime/arrays.ts";
import { open } from "../../runtime/devices.ts";
import { jit } from "../../runtime/jit.ts";
import { conv2d } from "../../trace/functions.ts";
import type { Shape } from "../../trace/dtype.ts";
import type { Tensor } from "../../trace/tensor.ts";
import type { Tree } from "../../trace/tree.ts";
import type { PlannedDevice } from "../planned_device.ts";

/** Runs of each program that are timed, after one to compile it. */
const RUNS = 5;

/** Measured speeds, and what they were measured on. */
export interface MeasuredSpeeds {
  readonly speeds: Required<Speeds>;
  readonly device: string;
}

/**
 * Returns the speeds of a device of this machine, from the cache if they were measured before; nothing else should be
 * running when they are. Undefined if there is no such device here, or the cache may not be written.
 */
export async function measuredSpeeds({ name, threads }: PlannedDevice): Promise<MeasuredSpeeds | undefined> {
  const folder = cacheFolder("speeds");
  if (folder === false) return undefined;
  const isCpu = name === "cpu" || name === "cpu-onednn";
  const options = isCpu ? { engine: name === "cpu" ? "wasm" as const : "onednn" as const } : {};
  let opened: Device;
  try {
    opened = await open(isCpu ? "cpu" : name, { ...options, ...(threads === undefined ? {} : { threads }) });
  } catch {
    return undefined; // it is planned for, but not here
  }
  await using device = opened;
  const described = device.backend.description.replaceAll(/ \([^)]*\/[^)]*\)/g, ""); // without the path of a library
  const file = `${folder}/${`${VERSION} ${described}`.replaceAll(/[^\w.]+/g, "-")}.json`;
  const kept = await readIfThere(file);
  if (kept !== undefined) {
    return { device: described, speeds: decodeJson(kept, { file, remedy: "remove it" }, decoder) };
  }
  const speeds = await measure(device);
  await makeFolder(folder);
  await writeWhole(file, JSON.stringify(speeds) + "\n");
  return { device: described, speeds };
}

const decoder = object<Required<Speeds>>({ operations: number, bytes: number, launch: number });

/** Small steps in a row, to time how long each takes to start. */
const CHAIN = 100;

/**
 * Measures a device: operations a second of a convolution and both its gradients, bytes a second of arithmetic on 64 MiB,
 * and the time to start a step, of a chain of small ones.
 */
async function measure(device: Device): Promise<Required<Speeds>> {
  const loss = ({ image, filter }: { image: Tensor; filter: Tensor }) =>
    conv2d(image, filter, { padding: 1 }).square().sum();
  const gradient = await timed(
    device,
    (image, filter) => grad(loss)({ image, filter }),
    [32, 16, 16, 64],
    [64, 3, 3, 64],
  );
  const scaled = await timed(device, (x) => x.mul(2).add(1), [2 ** 24]);
  const chain = await timed(device, (x) => {
    for (let i = 0; i < CHAIN; i++) x = x.sub(x.mean(0, { keepDims: true }));
    return x;
  }, [64, 2]);
  return {
    operations: rounded(workOf(gradient.plan).operations / gradient.seconds),
    bytes: rounded(workOf(scaled.plan).bytes / scaled.seconds),
    launch: rounded(chain.seconds / chain.plan.steps.length),
  };
}

/** A compiled function's plan, and the median time of a run, on zeros of these shapes. */
async function timed(
  device: Device,
  f: (x: Tensor, y: Tensor) => Tree<Tensor>,
  ...[x, y = [1]]: [x: Shape, y?: Shape]
): Promise<{ readonly plan: Plan; readonly seconds: number }> {
  const run = jit(f);
  const zeros = [device.zeros(x), device.zeros(y)] as const;
  try {
    const times: number[] = [];
    for (let i = 0; i <= RUNS; i++) {
      const start = performance.now();
      const result = run(...zeros);
      await device.finish();
      times.push(performance.now() - start);
      disposeTree(result);
    }
    const sorted = times.slice(1).toSorted((a, b) => a - b); // the first compiles
    return {
      plan: run.plan(device.backend.target, ...zeros),
      seconds: at(sorted, sorted.length >> 1) / 1000,
    };
  } finally {
    run.dispose();
    disposeTree([...zeros]);
  }
}

function rounded(value: number): number {
  return Number(value.toPrecision(3));
}
