import { refuseOldOrder } from "../artifacts/checkpoint.ts";
import {
  type LoadOptions,
  namedLeaves,
  type NetworkValues,
  refuseOtherTask,
  taskIn,
  valuesOf,
} from "../artifacts/network_values.ts";
import type { Configuration, Snapshot } from "../artifacts/observer.ts";
import { resumedOn } from "../artifacts/run_devices.ts";
import { tensorName } from "../artifacts/tensor_names.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectObject, expectOptions, expectWhole, shown } from "../base/expect.ts";
import { stepProgram } from "../local/memory.ts";
import type { Setup, TrainState } from "../local/setup.ts";
import type { Initial } from "../nn/initial.ts";
import type { Device, DeviceArray } from "../runtime/arrays.ts";
import { formatAval } from "../trace/dtype.ts";
import type { HostArray } from "../trace/host_array.ts";
import type { Position } from "./trainable.ts";

/** Copies every array to the host, by its name in a snapshot. */
export async function copyTensors(train: TrainState<DeviceArray>): Promise<Map<string, HostArray>> {
  const copies = arraysOf(train).map(async ([name, array]) => [name, await array.toHost()] as const);
  return new Map(await Promise.all(copies));
}

/**
 * Writes a snapshot's tensors into a trainer's arrays, which in a pipeline are some of them; refuses a snapshot of another
 * network or method.
 */
export function restoreTensors(setup: Setup, train: TrainState<DeviceArray>, snapshot: Snapshot): void {
  expectObject("restore: the snapshot", snapshot, {
    step: "number",
    bestError: "number?",
    bestMeanIoU: "number?",
    patience: "object?",
    tensors: "object",
    configuration: "object",
    signature: "object?",
    devices: "array?",
    format: "number?",
  });
  const { tensors, step } = snapshot;
  if (!(tensors instanceof Map)) throw new LocalgradError("restore: the tensors must be a Map");
  expectWhole("restore: the step", step, 0);
  refuseOtherTask("restore: the snapshot", taskIn(snapshot.configuration), setup.model);
  refuseOldOrder("restore: the snapshot", snapshot.format, () => stepProgram(setup, 2)); // heads may flatten too
  const known = new Map(
    namedLeaves<Initial>(setup.initial).map(([path, initial]) => [tensorName(path), initial]),
  );
  for (const [name, initial] of known) {
    const value = tensors.get(name);
    if (value === undefined) {
      throw new LocalgradError(`restore: the snapshot has no ${name}; it is of another network or method`);
    }
    if (formatAval(value) !== formatAval(initial)) {
      throw new LocalgradError(
        `restore: ${name} is ${formatAval(value)} in the snapshot and ${formatAval(initial)} here; ` +
          `it is of another network or method`,
      );
    }
  }
  const extra = [...tensors.keys()].find((name) => !known.has(name));
  if (extra !== undefined) {
    throw new LocalgradError(
      `restore: the snapshot has ${extra}, which has no place here; it is of another network or method`,
    );
  }
  for (const [name, array] of arraysOf(train)) {
    const value = tensors.get(name);
    if (value !== undefined) array.write(value);
  }
}

/** A snapshot of these tensors at a position of a run. */
export function snapshotAt(
  { step, bestError, bestMeanIoU, patience, signature, devices }: Position,
  tensors: Snapshot["tensors"],
  configuration: Configuration,
): Snapshot {
  return {
    step,
    ...(bestError === undefined ? {} : { bestError }),
    ...(bestMeanIoU === undefined ? {} : { bestMeanIoU }),
    ...(patience === undefined ? {} : { patience }),
    tensors,
    configuration,
    ...(signature === undefined ? {} : { signature }),
    devices,
  };
}

/** Returns to the position of a snapshot, to go on with this arithmetic. */
export function returnTo(
  position: Position,
  snapshot: Snapshot,
  arithmetic: Device["arithmetic"],
): void {
  const { step, bestError, bestMeanIoU, patience, signature = position.signature } = snapshot;
  const devices = resumedOn(snapshot.devices ?? [], { arithmetic, firstStep: step });
  const best = { bestError, bestMeanIoU, patience };
  Object.assign(position, { step, ...best, restored: true, loaded: false, signature, devices });
}

/** Refuses what is taken for the values of a network: the path of a file, and a snapshot. */
function refuseUnread(values: NetworkValues): void {
  if (typeof values === "string") {
    throw new LocalgradError(
      `load: the values must be read first: trainer.load(await train.loadWeights(${shown(values)}))`,
    );
  }
  if (typeof values === "object" && values !== null && "step" in values && values.name === undefined) {
    throw new LocalgradError(
      "load: this is a snapshot, which trainer.restore() takes; to load only its network, " +
        "read the checkpoint with train.loadWeights()",
    );
  }
}

/** Writes the network's own values into a trainer's arrays, and into averages that start as a copy of them. */
export function loadValues(
  { model, initial }: Setup,
  train: TrainState<DeviceArray>,
  values: NetworkValues,
  options: LoadOptions,
): void {
  refuseUnread(values);
  expectObject("load: the values", values, {
    name: "string",
    tensors: "object",
    skipped: "object?",
    network: "object?",
    signature: "object?",
    format: "number?",
  });
  expectOptions("load", options, { newHead: "boolean?" });
  const taken = valuesOf(model, values, options);
  for (const part of ["params", "state", "optimizer"] as const) {
    const arrays = new Map(namedLeaves<DeviceArray>(train[part]));
    for (
      const [path, { drawnAs = part === "optimizer" ? undefined : path }] of namedLeaves<Initial>(
        initial[part],
      )
    ) {
      const value = drawnAs === undefined ? undefined : taken.get(drawnAs);
      if (value !== undefined) arrays.get(path)?.write(value);
    }
  }
}

/** The arrays by their names in a snapshot. */
function arraysOf(train: TrainState<DeviceArray>): [name: string, array: DeviceArray][] {
  return namedLeaves<DeviceArray>(train).map((
    [path, array],
  ) => [tensorName(path), array]);
}
