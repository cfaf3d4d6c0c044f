import { at } from "../base/at.ts";
import { abridged } from "../base/decode.ts";
import { LocalgradError } from "../base/errors.ts";
import type { Signature } from "../data/signature.ts";
import { inputShape, isTask, type Model, network, type Task, taskOf } from "../models/model.ts";
import type { Initial } from "../nn/initial.ts";
import { programOf } from "../nn/layer.ts";
import { type Named, nest } from "../nn/named.ts";
import { formatAval, sameShape } from "../trace/dtype.ts";
import type { HostArray } from "../trace/host_array.ts";
import { treeFlatten } from "../trace/tree.ts";
import { refuseOldOrder } from "./checkpoint.ts";
import { isFilter } from "./layout.ts";
import type { Configuration } from "./observer.ts";

/** The network that weights are of. */
export interface NetworkFacts {
  /** Its name, such as `resnet32`. */
  readonly model: string;
  /** Number of its classes, or of the values of a regression. */
  readonly classes: number;
  /** The meaning of its outputs; unknown for files of earlier versions. */
  readonly task?: Task;
}

/** Values of a network: tensors by PyTorch's names, in localgrad's layouts. `train.loadWeights` reads them. */
export interface NetworkValues {
  /** Name in error messages, such as the path of a file. */
  readonly name: string;
  /** The tensors: parameters and running statistics. */
  readonly tensors: ReadonlyMap<string, HostArray>;
  /** Types of the tensors in the file that localgrad does not read, by name. */
  readonly skipped?: ReadonlyMap<string, string>;
  /** The network that they are of, if known; a network of another task is refused. */
  readonly network?: Pick<NetworkFacts, "task">;
  /** Class names and preprocessing of the network, if known. */
  readonly signature?: Signature;
  /** Format of the checkpoint that they are of, if that is an older one. */
  readonly format?: number;
}

/** Options of `Trainer.load`. */
export interface LoadOptions {
  /**
   * Keeps the network's own last layer of the head, for a data set with other classes, and those before it that the values
   * lack or have in another shape; default false.
   */
  newHead?: boolean;
}

/**
 * The tensors that a network takes from `values`, by name. Refuses values with a missing or an unknown tensor, or one of
 * another shape or type.
 */
export function valuesOf(
  model: Model,
  values: NetworkValues,
  { newHead = false }: LoadOptions = {},
): ReadonlyMap<string, HostArray> {
  const net = network(model);
  if (!newHead) refuseOtherTask(values.name, values.network?.task, model);
  refuseOldOrder(values.name, values.format, () => programOf(net, inputShape(model)));
  const all = [net.params, net.state].flatMap((tree) => namedLeaves<Initial>(tree));
  const isHead = (name: string) => Object.keys(model.head).some((part) => name.startsWith(`${part}.`));
  const own = newHead ? ownHead(model, values) : undefined;
  const wanted = own === undefined ? all : all.filter(([name]) => !own.has(name));
  const taken = new Map<string, HostArray>();
  const found: [name: string, initial: Initial, value: HostArray][] = [];
  const missing: string[] = [];
  for (const [name, initial] of wanted) {
    const [value, type] = [values.tensors.get(name), values.skipped?.get(name)];
    if (value !== undefined) found.push([name, initial, value]);
    else if (type === undefined) missing.push(name);
    else {
      throw new LocalgradError(
        `${values.name}: ${name} is ${type}, which localgrad does not read; save it as F32`,
      );
    }
  }
  const [firstMissing] = missing;
  if (firstMissing !== undefined) {
    throw new LocalgradError(
      `${values.name} has no ${firstMissing}${
        more(missing)
      }, which ${model.name} needs; it is of another network`,
    );
  }
  for (const [name, initial, value] of found) {
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
  const [unknown] = extra;
  if (unknown !== undefined) {
    throw new LocalgradError(
      `${values.name} has ${abridged(unknown)}${
        more(extra)
      }, which ${model.name} has no place for; it is of another network`,
    );
  }
  return taken;
}

/** The names of the head that a network does not take from `values`, as `newHead` says. */
function ownHead({ head }: Model, { tensors }: NetworkValues): ReadonlySet<string> {
  const layers = Object.entries(head).map(([name, { params, state }]) =>
    [params, state].flatMap((tree) => namedLeaves<Initial>(nest(name, tree)))
  ).filter((leaves) => leaves.length > 0);
  const fits = ([name, { dtype, shape }]: [string, Initial]) => {
    const value = tensors.get(name);
    return value !== undefined && value.dtype === dtype && sameShape(value.shape, shape);
  };
  const own = layers.filter((leaves) => leaves === layers.at(-1) || !leaves.every(fits));
  return new Set(own.flat().map(([name]) => name));
}
/** What a network of each task is. */
const NOUNS = {
  classification: "classifier",
  regression: "regression",
  segmentation: "segmentation",
} as const;

/** Refuses what was trained for another task, for a network whose tensors may have the same shapes. */
export function refuseOtherTask(name: string, task: Task | undefined, model: Model): void {
  if (task === undefined || task === taskOf(model)) return;
  const [there, here] = [NOUNS[task], NOUNS[taskOf(model)]];
  throw new LocalgradError(
    `${name}: the values are those of a ${there}, and ${model.name} is a ${here}; make the network with task: "${task}"`,
  );
}

/** The task that the configuration of a run names; those of earlier versions name none. */
export function taskIn({ task }: Configuration): Task | undefined {
  return isTask(task) ? task : undefined;
}

/** The leaves of a tree, each with its path, such as `layer1.0.conv1.weight`. */
export function namedLeaves<T>(tree: Named<T>): [path: string, leaf: T][] {
  const { leaves, paths } = treeFlatten<T>(tree);
  return leaves.map((leaf, i) => [at(paths, i), leaf]);
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
      `${file} is for ${value.shape[0]} classes, ${model.name} for ${model.classes} (${name} is ` +
        `${there}, not ${here}); make it for as many, or train a new head (newHead, --new-head)`,
    );
  }
  return new LocalgradError(
    `${file}: ${name} is ${there}, but ${model.name} has ${here}; it is of another network`,
  );
}

/** A shape in PyTorch's layout, which is the file's. */
function oihw(shape: readonly number[]): readonly number[] {
  if (!isFilter(shape)) return shape;
  const [o, h, w, i] = shape;
  return [o, i, h, w];
}
