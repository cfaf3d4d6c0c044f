import type { DeviceBuffer } from "../backends/backend.ts";
import { at } from "../base/at.ts";
import { type Aval, formatAval } from "../trace/dtype.ts";
import type { Tree } from "../trace/tree.ts";
import type { Device } from "./arrays.ts";
import { DeviceArray } from "./device_array.ts";

/** The least number of arrays for which a tree of results is held. */
const LEAST = 16;

/** The place of a tree among the results of a program: of their list, the elements from `from` on. */
export interface Layout {
  readonly from: number;
  /** The shape and dtype of each leaf. */
  readonly avals: readonly Aval[];
  /** The tree's structure, shapes and dtypes as text; see {@link keyOf}. */
  readonly key: string;
  /** The keys and trees of an object, the trees of an array, or undefined for a leaf. */
  readonly children?: readonly (readonly [key: string, child: Layout])[];
  readonly isArray?: boolean;
}

/** The layout of results with this structure; `avals` are those of all results. */
export function layoutOf(structure: Tree<number>, avals: readonly Aval[], from: number = 0): Layout {
  if (typeof structure === "number") {
    const aval = at(avals, structure);
    return { from: structure, avals: [aval], key: formatAval(aval) };
  }
  const isArray = Array.isArray(structure);
  let next = from;
  const children = Object.entries<Tree<number>>(structure).map(([key, tree]): [string, Layout] => {
    const child = layoutOf(tree, avals, next);
    next = child.from + child.avals.length;
    return [key, child];
  });
  const key = keyOf(children.map(([key, child]) => [key, child.key]), isArray);
  return { from, avals: avals.slice(from, next), key, children, isArray };
}

/** The text of a node: those of its children, with their names if it is an object. */
export function keyOf(children: readonly (readonly [key: string, text: string])[], isArray: boolean): string {
  return isArray
    ? `[${children.map(([, text]) => text).join()}]`
    : `{${children.map(([key, text]) => `${JSON.stringify(key)}:${text}`).join()}}`;
}

/**
 * The memory of a tree of results that nobody has looked into. A training state goes from step to step like that: its
 * arrays, and the objects around them, are made only when something reads a property of the tree.
 */
export class Held {
  readonly device: Device;
  readonly layout: Layout;
  readonly #buffers: readonly DeviceBuffer[];
  readonly #guard: Promise<void> | undefined;
  /** Why it is gone, as in {@link DeviceArray.dispose}; undefined while it has memory. */
  #gone: string | undefined;

  /** `buffers` are those of all results of the program. */
  constructor(
    device: Device,
    layout: Layout,
    buffers: readonly DeviceBuffer[],
    guard: Promise<void> | undefined,
  ) {
    this.device = device;
    this.layout = layout;
    this.#buffers = buffers;
    this.#guard = guard;
    device.hold(this);
  }

  /** The shape and dtype of each array. */
  get avals(): readonly Aval[] {
    return this.layout.avals;
  }
  /** True once its memory was freed or given away. */
  get isGone(): boolean {
    return this.#gone !== undefined;
  }

  /** Adds its buffers to a list, in order. */
  addTo(inputs: DeviceBuffer[]): void {
    const { from, avals } = this.layout;
    const buffers = this.#buffers, end = from + avals.length;
    for (let i = from; i < end; i++) inputs.push(at(buffers, i));
  }

  /** Gives its memory away, or notes that it was freed. */
  release(why: string): void {
    this.#gone = why;
    this.device.unhold(this);
  }

  /** Frees its memory. */
  dispose(why: string): void {
    const buffers: DeviceBuffer[] = [];
    this.addTo(buffers);
    this.release(why);
    for (const buffer of buffers) this.device.backend.free(buffer);
  }

  /** The trees of its children, which take over its memory. */
  show(): Map<string, Tree<DeviceArray>> {
    const gone = this.#gone;
    if (gone === undefined) this.device.unhold(this);
    const tree = gone === undefined
      ? (child: Layout) => present(this.device, child, this.#buffers, this.#guard)
      : (child: Layout) => absent(this.device, child, gone);
    return new Map((this.layout.children ?? []).map(([key, child]) => [key, tree(child)]));
  }
}

/** The objects that stand for what is held. */
const held = new WeakMap<object, Held>();

/** The memory of an object that nobody has looked into; undefined for any other, and where its properties were changed. */
export function heldBy(node: object): Held | undefined {
  const found = held.get(node);
  if (found === undefined) return undefined;
  const { children = [] } = found.layout;
  const keys = Object.keys(node);
  if (!found.isGone && keys.length === children.length && children.every(([key], i) => key === keys[i])) {
    return found;
  }
  show(node);
  return undefined;
}

/** Results as a tree. Its large objects are held until something reads a property of theirs. */
export function present(
  device: Device,
  layout: Layout,
  buffers: readonly DeviceBuffer[],
  guard: Promise<void> | undefined,
): Tree<DeviceArray> {
  const { from, avals, children, isArray } = layout;
  if (children === undefined) return new DeviceArray(device, at(avals, 0), at(buffers, from), guard);
  if (isArray !== true && avals.length >= LEAST) return lazy(new Held(device, layout, buffers, guard));
  return tree(layout, (child) => present(device, child, buffers, guard));
}

/** A tree of arrays that are gone. */
function absent(device: Device, layout: Layout, why: string): Tree<DeviceArray> {
  return layout.children === undefined
    ? DeviceArray.gone(device, at(layout.avals, 0), why)
    : tree(layout, (child) => absent(device, child, why));
}

function tree(
  { children = [], isArray }: Layout,
  make: (child: Layout) => Tree<DeviceArray>,
): Tree<DeviceArray> {
  if (isArray === true) return children.map(([, child]) => make(child));
  return Object.fromEntries(children.map(([key, child]) => [key, make(child)]));
}

const INSPECT = ["Deno.customInspect", "nodejs.util.inspect.custom"].map((name) => Symbol.for(name));

/** An object whose properties are there once one of them is read or written. */
function lazy(memory: Held): Tree<DeviceArray> {
  const node: { [key: string | symbol]: Tree<DeviceArray> } = {};
  for (const [key] of memory.layout.children ?? []) {
    Object.defineProperty(node, key, {
      enumerable: true,
      configurable: true,
      get: () => {
        show(node);
        return node[key];
      },
      set: (value) => {
        show(node);
        node[key] = value;
      },
    });
  }
  for (const symbol of INSPECT) { // so that it prints like any other object
    Object.defineProperty(node, symbol, {
      configurable: true,
      value: (...args: unknown[]) => {
        show(node);
        const inspect = args.findLast((arg) => typeof arg === "function");
        return typeof inspect === "function"
          ? inspect(node, args.find((arg) => typeof arg === "object"))
          : node;
      },
    });
  }
  held.set(node, memory);
  return node;
}

/** Replaces the accessors of an object by the properties that they stand for. */
function show(node: object): void {
  const memory = held.get(node);
  if (memory === undefined) return;
  held.delete(node);
  for (const symbol of INSPECT) Reflect.deleteProperty(node, symbol);
  for (const [key, value] of memory.show()) {
    // One that was deleted or defined anew stays so; its arrays are then nobody's.
    const get = Object.getOwnPropertyDescriptor(node, key)?.get;
    if (get === undefined) disposeAll(value);
    else Object.defineProperty(node, key, { value, enumerable: true, configurable: true, writable: true });
  }
}

function disposeAll(tree: Tree<DeviceArray>): void {
  if (tree instanceof DeviceArray) tree.dispose();
  else for (const child of Object.values<Tree<DeviceArray>>(tree)) disposeAll(child);
}
