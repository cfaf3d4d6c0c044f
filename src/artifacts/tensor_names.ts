/**
 * Names of the tensors of a snapshot, each built and read here alone: `layer1.0.conv1.weight` for the network,
 * `local.0.…` for auxiliary networks, `optimizer.momentum.…` for the optimizer's slots.
 *
 * @module
 */

import { AVERAGED } from "../local/average.ts";
import { auxiliaryPart } from "../local/places.ts";

/** Returns the name in a snapshot of the tensor at a path of a `TrainState`. */
export function tensorName(path: string): string {
  return path.replace(/^(params|state)\./, "");
}

/** True for a tensor of the network itself, false for one of an auxiliary network or the optimizer. */
export function ofNetwork(name: string): boolean {
  return auxiliaryPart(name) === undefined && variableOf(name) === name;
}

/** The tensors of the network itself, by name; where the run averages weights, the averages, which are evaluated. */
export function networkTensors<T>(tensors: ReadonlyMap<string, T>): Map<string, T> {
  const own = [...tensors].filter(([name]) => ofNetwork(name));
  return new Map(own.map(([name, last]) => [name, tensors.get(`optimizer.${AVERAGED}.${name}`) ?? last]));
}

/** Returns the parameter that a slot of the optimizer belongs to; any other tensor belongs to itself. */
export function variableOf(name: string): string {
  return name.replace(/^optimizer\.[^.]+\./, "");
}
