/**
 * Values that the processes of a pipeline exchange outside of their steps: all of them for a snapshot, those of the network
 * for an evaluation.
 *
 * @module
 */

import { namedLeaves } from "../../artifacts/network_values.ts";
import { tensorName } from "../../artifacts/tensor_names.ts";
import { bytesOf } from "../../backends/shared_bytes.ts";
import type { Division } from "./division.ts";
import { ofRun } from "../../local/processes/part.ts";
import { rankAt } from "../../local/processes/layout.ts";
import type { ModuleRun } from "../../local/processes/runs.ts";
import type { Setup } from "../../local/setup.ts";
import type { Initial } from "../../nn/initial.ts";
import { merge, type Named } from "../../nn/named.ts";
import { type Aval, hostArrays, sizeOf } from "../../trace/dtype.ts";
import { HostArray } from "../../trace/host_array.ts";

/** Host arrays by name. */
export type Tensors = ReadonlyMap<string, HostArray>;

/** The tag of values on their way to process 0, in the group of all. */
const VALUES = 0;

/**
 * Collects the values of a pipeline in process 0, in the order of a single process; the others keep their own. All
 * processes call it.
 */
export function collect(setup: Setup, { processes, runs }: Division, own: Tensors): Tensors {
  const { layout, place, rank, communicators: { world } } = processes;
  if (place.data > 0 || layout.modules === 1) return own;
  if (rank > 0) {
    world.send(packed(own), 0, VALUES).wait();
    return own;
  }
  const all = new Map(own);
  runs.forEach((run, modules) => {
    if (modules === 0) return;
    const avals = namedLeaves<Initial>(ofRun(setup, run).initial).map((
      [path, initial],
    ) => [tensorName(path), initial] as const);
    const bytes = new Uint8Array(lengthOf(avals));
    world.receive(bytes, rankAt(layout, { data: 0, modules }), VALUES).wait();
    for (const [name, array] of unpacked(avals, bytes)) all.set(name, array);
  });
  const names = namedLeaves<Initial>(setup.initial).map(([path]) => tensorName(path));
  return new Map(names.flatMap((name) => {
    const array = all.get(name);
    return array === undefined ? [] : [[name, array]];
  }));
}

/** The network's values of all modules, on every process of a pipeline; `own` are those of this one. */
export function shareNetwork(
  setup: Setup,
  { runs, processes: { place, communicators: { modules: group } } }: Division,
  own: Tensors,
): Tensors {
  const all = new Map<string, HostArray>();
  runs.forEach((run, modules) => {
    const avals = networkOf(setup, run);
    const ordered = avals.flatMap(([name]): [string, HostArray][] => {
      const array = own.get(name);
      return array === undefined ? [] : [[name, array]];
    });
    const bytes = modules === place.modules ? packed(new Map(ordered)) : new Uint8Array(lengthOf(avals));
    group.broadcast(bytes, modules).wait();
    for (const [name, array] of unpacked(avals, bytes)) all.set(name, array);
  });
  return all;
}

/** The names of the network's own values in a run of modules, with their shapes and dtypes. */
function networkOf({ modules }: Setup, { first, end }: ModuleRun): (readonly [string, Aval])[] {
  const layers = modules.slice(first, end).map(({ layer }) => layer);
  const all: Named<Initial> = merge(...layers.flatMap(({ params, state }) => [params, state]));
  return namedLeaves<Initial>(all);
}

function lengthOf(avals: readonly (readonly [string, Aval])[]): number {
  return avals.reduce((sum, [, aval]) => sum + bytesFor(aval), 0);
}

function bytesFor({ shape, dtype }: Aval): number {
  return sizeOf(shape) * hostArrays[dtype].BYTES_PER_ELEMENT;
}

/** The elements of tensors, one after another. */
function packed(tensors: Tensors): Uint8Array {
  const all = new Uint8Array([...tensors.values()].reduce((sum, { data }) => sum + data.byteLength, 0));
  let from = 0;
  for (const { data } of tensors.values()) {
    all.set(bytesOf(data), from);
    from += data.byteLength;
  }
  return all;
}

function* unpacked(
  avals: readonly (readonly [string, Aval])[],
  bytes: Uint8Array,
): Generator<[name: string, array: HostArray]> {
  let from = 0;
  for (const [name, { shape, dtype }] of avals) {
    const length = bytesFor({ shape, dtype });
    const data = new hostArrays[dtype](bytes.slice(from, from + length).buffer, 0, sizeOf(shape));
    yield [name, new HostArray(data, shape, dtype)];
    from += length;
  }
}
