/**
 * Names of the tensors of a snapshot, each built and read here alone: `layer1.0.conv1.weight` for the network,
 * `local.0.…` for auxiliary networks, `optimizer.momentum.…` for the optimizer's slots.
 *
 * @module
 */

import { auxiliaryPart } from "../local/places.ts";

/** Returns the name in a snapshot of the tensor at a path of a `TrainState`. */
export function tensorName(path: string): string {
  return path.replace(/^(params|state)\./, "");
}

/** True for a tensor of the network itself, false for one of an auxiliary network or the optimizer. */
export function ofNetwork(name: string): boolean {
  return auxiliaryPart(name) === undefined && variableOf(name) === name;
}

/** Returns the parameter that a slot of the optimizer belongs to; any other tensor belongs to itself. */
export function variableOf(name: string): string {
  return name.replace(/^optimizer\.[^.]+\./, "");
}
