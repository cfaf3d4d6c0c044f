import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectKind, shown } from "../base/expect.ts";
import { foldIn, type Key, normal, uniform } from "../base/random.ts";
import {
  type Aval,
  type DType,
  hostArrays,
  type HostData,
  requireShape,
  type Shape,
  sizeOf,
} from "../trace/dtype.ts";
import { HostArray } from "../trace/host_array.ts";
import { treeFlatten, treeUnflatten } from "../trace/tree.ts";
import type { Named } from "./named.ts";

/**
 * A parameter's starting value: its shape and the function that draws its elements. Nothing is drawn before
 * {@link initialize}, so a network of any size can be planned without allocating it.
 */
export class Initial implements Aval {
  /** Elements along each axis. */
  readonly shape: Shape;
  /** Element type. */
  readonly dtype: DType;
  /** Draws its elements from a key. */
  readonly draw: (key: Key) => HostData;
  /** The path whose key it is drawn with; undefined means its own. */
  readonly drawnAs: string | undefined;

  /** Describes a starting value. */
  constructor(shape: Shape, draw: (key: Key) => HostData, dtype: DType = "f32", drawnAs?: string) {
    requireShape(shape, "a parameter");
    if (shape.includes(0)) throw new LocalgradError(`a parameter cannot have the shape [${shape.join(",")}]`);
    expectKind("how a parameter is drawn", draw, "function");
    this.shape = shape;
    this.dtype = dtype;
    this.draw = draw;
    this.drawnAs = drawnAs;
  }

  /** Returns a starting value of the same shape that exactly copies the parameter at `path` of the same tree. */
  copying(path: string): Initial {
    return new Initial(this.shape, this.draw, this.dtype, path);
  }
}

/** Every element is `value`. */
export function constantInitial(value: number, shape: Shape): Initial {
  return new Initial(shape, () => new hostArrays.f32(sizeOf(shape)).fill(value));
}

/** Normally distributed with mean 0 and standard deviation `std`. */
export function normalInitial(std: number, shape: Shape): Initial {
  return new Initial(shape, (key) => normal(key, sizeOf(shape)).map((value) => value * std));
}

/** Uniformly distributed in [−bound, bound). */
export function uniformInitial(bound: number, shape: Shape): Initial {
  return new Initial(shape, (key) => uniform(key, sizeOf(shape)).map((value) => (2 * value - 1) * bound));
}

/**
 * Draws every value of a tree. Each value's key is derived from `key` and its path, so it depends only on the seed and
 * on its name, not on the other parameters, and is the same on every backend.
 *
 * @example
 * ```ts
 * import { keys, nn } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const { params } = nn.linear({ in: 2, out: 3 });
 * const drawn = nn.initialize(params, keys.key(0));
 * assertEquals(drawn, nn.initialize(params, keys.key(0)));
 * ```
 */
export function initialize(tree: Named<Initial>, key: Key): Named<HostArray> {
  const { leaves, paths, structure } = treeFlatten<Initial>(tree);
  const arrays = leaves.map((initial, i) => {
    const path = at(paths, i);
    if (!(initial instanceof Initial)) {
      throw new LocalgradError(`initialize: ${path || "the tree"} is ${shown(initial)}, not an Initial`);
    }
    const data = initial.draw(foldIn(key, hashPath(initial.drawnAs ?? path)));
    return new HostArray(data, initial.shape, initial.dtype);
  });
  return treeUnflatten(structure, arrays) as Named<HostArray>;
}

/** Hashes a path to 32 bits (FNV-1a of its UTF-16 code units). */
function hashPath(path: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < path.length; i++) hash = Math.imul(hash ^ path.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
