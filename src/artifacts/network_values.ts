import { abridged } from "../base/decode.ts";
import { LocalgradError } from "../base/errors.ts";
import { type Model, network } from "../models/model.ts";
import type { Initial } from "../nn/initial.ts";
import type { Named } from "../nn/named.ts";
import { formatAval, sameShape } from "../trace/dtype.ts";
import type { HostArray } from "../trace/host_array.ts";
import { treeFlatten } from "../trace/tree.ts";

/** Values for a network: tensors by PyTorch's names, in localgrad's layouts. `train.loadWeights` gives them. */
export interface NetworkValues {
  /** What error messages call them, such as the path of a file. */
  readonly name: string;
  /** The tensors: parameters and running statistics. */
  readonly tensors: ReadonlyMap<string, HostArray>;
  /** Types, as the file names them, of tensors that localgrad does not read. */
  readonly skipped?: ReadonlyMap<string, string>;
}

/** How a network takes values. */
export interface LoadOptions {
  /** Leaves the network's head as it was drawn, for a data set with other classes; default false. */
  newHead?: boolean;
}

/**
 * The tensors that a network takes from `values`, by name. Refuses values that lack one, have one it has no place for,
 * or of another shape or type.
 */
export function valuesOf(
  model: Model,
  values: NetworkValues,
  { newHead = false }: LoadOptions = {},
): ReadonlyMap<string, HostArray> {
  const all = places(model);
  const isHead = (name: string) => Object.keys(model.head).some((part) => name.startsWith(`${part}.`));
  const wanted = newHead ? all.filter(([name]) => !isHead(name)) : all;
  const taken = new Map<string, HostArray>();
  const missing = wanted.filter(([name]) => !values.tensors.has(name)).map(([name]) => name);
  const unread = missing.find((name) => values.skipped?.has(name));
  if (unread !== undefined) {
    throw new LocalgradError(
      `${values.name}: ${unread} is ${values.skipped?.get(unread)}, which is not read here; save it as F32`,
    );
  }
  if (missing.length > 0) {
    throw new LocalgradError(
      `${values.name} has no ${missing[0]}${
        more(missing)
      }, which ${model.name} needs; it is of another network`,
    );
  }
  for (const [name, initial] of wanted) {
    const value = values.tensors.get(name)!;
    if (value.dtype !== initial.dtype) {
      throw new LocalgradError(
        `${values.name}: ${name} is ${value.dtype}; ${model.name} needs it as ${initial.dtype}`,
      );
    }
    if (!sameShape(value.shape, initial.shape)) {
      throw misfit(model, values.name, name, value, initial, isHead);
    }
    taken.set(name, value);
  }
  const known = new Set(all.map(([name]) => name));
  const extra = [...values.tensors.keys()].filter((name) => !known.has(name) && !(newHead && isHead(name)));
  if (extra.length > 0) {
    throw new LocalgradError(
      `${values.name} has ${abridged(extra[0])}${
        more(extra)
      }, which ${model.name} has no place for; it is of another network`,
    );
  }
  return taken;
}

/** Every parameter and statistic of a network, by name. */
function places(model: Model): [name: string, initial: Initial][] {
  const { params, state } = network(model);
  return [params, state].flatMap((tree) => namedLeaves<Initial>(tree));
}

/** The leaves of a tree, each with its path, such as `layer1.0.conv1.weight`. */
export function namedLeaves<T>(tree: Named<T>): [path: string, leaf: T][] {
  const { leaves, paths } = treeFlatten<T>(tree);
  return leaves.map((leaf, i) => [paths[i], leaf]);
}

const more = (names: readonly string[]) => names.length === 1 ? "" : ` and ${names.length - 1} more`;

function misfit(
  model: Model,
  file: string,
  name: string,
  value: HostArray,
  initial: Initial,
  isHead: (name: string) => boolean,
): LocalgradError {
  const [there, here] = [value, initial].map(({ dtype, shape }) => formatAval({ dtype, shape: oihw(shape) }));
  if (isHead(name) && sameShape(value.shape.slice(1), initial.shape.slice(1))) {
    return new LocalgradError(
      `${file} tells ${
        value.shape[0]
      } classes apart, ${model.name} was made for ${model.classes} (${name} is ` +
        `${there}, not ${here}); make it for as many, or draw a new head to train on (newHead, --new-head)`,
    );
  }
  return new LocalgradError(
    `${file}: ${name} is ${there}, but ${model.name} has ${here}; it is of another network`,
  );
}

/** A shape as PyTorch, and so the file, has it. */
function oihw(shape: readonly number[]): readonly number[] {
  return shape.length === 4 ? [shape[0], shape[3], shape[1], shape[2]] : shape;
}
