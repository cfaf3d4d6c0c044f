import { isIdentity, mergeAxes } from "../../../src/compile/axes.ts";
import type { Kernel, Node, Store, View } from "../../../src/compile/kernel.ts";
import type { Location, Plan, Step, Target } from "../../../src/compile/plan.ts";
import { verifyKernel } from "../../../src/compile/verify_kernel.ts";
import {
  type Aval,
  type DType,
  type HostData,
  type Shape,
  sizeOf,
  stridesOf,
} from "../../../src/trace/dtype.ts";
import type { BinaryFn } from "../../../src/trace/ops.ts";
import type { ValueId } from "../../../src/trace/program.ts";
import type { Run } from "../check.ts";
import type { Random } from "../random.ts";

/** A plan of one fused kernel, with inputs to run it on. */
export interface KernelCase extends Run {
  readonly label: string;
}

/** f32 values are integers below this, so that every backend must give the same bits. */
const EXACT = 2 ** 20;

/** A list of nodes under construction, with the largest magnitude that each can have. */
class Nodes {
  readonly list: Node[] = [];
  readonly most: number[] = [];

  add(node: Node, most: number): number {
    this.most.push(most);
    return this.list.push(node) - 1;
  }

  /** A node of a dtype with magnitudes up to `limit`, if there is one; recent nodes are more likely. */
  pick(random: Random, dtype: DType, limit: number = Infinity): number | undefined {
    const fit = this.list.flatMap((node, i) => node.dtype === dtype && this.most[i] <= limit ? [i] : []);
    return fit[Math.max(0, fit.length - 1 - random.int(0, 4))];
  }
}

/** Generates a random kernel: loads of every pattern, expressions over all dtypes, stores, reductions, an epilogue. */
class KernelWriter {
  readonly #random: Random;
  readonly #target: Target;
  readonly #maxBuffers: number;
  readonly #space: Shape;
  /** Inputs with the elements that their loads reach. */
  readonly #inputs: { readonly dtype: DType; size: number; readonly views: [View, Shape][] }[] = [];

  constructor(random: Random, target: Target) {
    this.#random = random;
    this.#target = target;
    this.#maxBuffers = Math.min(12, target.maxKernelBuffers);
    const extents = [1, 2, 3, 4, 5, 7, 16, 17, 33];
    const shape = random.shape(random.int(0, 4), extents);
    // Sometimes one axis is longer than a vector, a block or a workgroup.
    if (shape.length > 0 && random.chance(0.3)) shape[random.int(0, shape.length - 1)] = random.int(100, 700);
    while (sizeOf(shape) > 60_000) shape.pop();
    this.#space = shape;
  }

  write(label: string): KernelCase {
    const random = this.#random;
    const nodes = this.#expression(this.#space, new Nodes());
    const axes = this.#space.map((_, axis) => axis).filter(() => random.chance(0.5));
    const outer = this.#space.filter((_, axis) => !axes.includes(axis));
    const folds = axes.length > 0 ? this.#reductions(nodes, sizeOf(this.#space) / sizeOf(outer)) : [];
    const epilogue = new Nodes();
    folds.forEach(({ dtype, most }, index) => epilogue.add({ kind: "reduced", index, dtype }, most));
    if (folds.length > 0 && random.chance(0.7)) this.#expression(outer, epilogue);

    const values: Aval[] = this.#inputs.map(({ dtype, size }) => ({ shape: [size], dtype }));
    const store = (from: Nodes, shape: Shape, count: number): Store[] =>
      Array.from({ length: count }, () => {
        const storable = from.list.flatMap(({ dtype }, i) => dtype === "u8" ? [] : [i]);
        const node = storable[Math.max(0, storable.length - 1 - random.int(0, 5))];
        return { node, output: values.push({ shape, dtype: from.list[node].dtype }) - 1 };
      });
    const room = this.#maxBuffers - this.#inputs.length;
    const reduceStores = folds.length > 0 ? random.int(1, Math.min(2, room)) : 0;
    const most = Math.min(3, room - reduceStores);
    const stores = store(
      nodes,
      this.#space,
      folds.length > 0 ? random.int(0, Math.min(1, most)) : random.int(1, most),
    );
    const kernel: Kernel = {
      space: this.#space,
      inputs: this.#inputs.map((_, i) => i),
      nodes: nodes.list,
      stores,
      ...(folds.length === 0 ? {} : {
        reduce: {
          axes,
          reductions: folds.map(({ fn, node, dtype }) => ({ fn, node, dtype })),
          epilogue: epilogue.list,
          stores: store(epilogue, outer, reduceStores),
        },
      }),
    };
    verifyKernel(kernel, values, this.#maxBuffers);
    return {
      label: `${label}, space [${kernel.space}], reduced axes [${axes}]`,
      plan: this.#plan(random.chance(0.5) ? mergeAxes(kernel) : kernel, kernel, values),
      inputs: this.#inputs.map(({ dtype, size }) => this.#elements(dtype, size)),
    };
  }

  #elements(dtype: DType, size: number): HostData {
    return dtype === "f32"
      ? Float32Array.from(this.#random.ints(size, -4, 4))
      : this.#random.elements({ shape: [size], dtype });
  }

  #plan(kernel: Kernel, written: Kernel, values: readonly Aval[]): Plan {
    const outputs = [...kernel.stores, ...kernel.reduce?.stores ?? []].map(({ output }) => output);
    const taken = new Set<number>();
    const donors = outputs.map((output) => {
      const shape = written.stores.some((store) => store.output === output)
        ? this.#space
        : values[output].shape;
      const donor = this.#inputs.findIndex(({ dtype, size, views }, i) =>
        !taken.has(i) && dtype === values[output].dtype && size === sizeOf(shape) &&
        views.every(([view, over]) => over === shape && isIdentity(view, shape))
      );
      if (donor < 0 || this.#random.chance(0.3)) return -1;
      taken.add(donor);
      return donor;
    });
    const locations: Location[] = values.map((_, index) => ({ kind: "input", index }));
    outputs.forEach((output, i) =>
      locations[output] = donors[i] < 0 ? { kind: "output", index: i } : { kind: "input", index: donors[i] }
    );
    const step: Step = { kind: "kernel", kernel, scope: "" };
    const bytes = this.#target.workspace(step, values);
    const named = (value: ValueId, i: number) => ({ value, name: `v${i}` });
    return {
      name: "kernel",
      values,
      inputs: kernel.inputs.map((value, i) => ({
        ...named(value, i),
        category: "inputs",
        donated: taken.has(i),
      })),
      outputs: outputs.map(named),
      donors,
      steps: [bytes > 0 ? { ...step, workspace: { offset: 0, bytes } } : step],
      locations,
      constants: [],
      arenaBytes: bytes,
      memory: { peakBytes: bytes, arenaBytes: bytes, breakdown: {}, heldAtPeak: [], timeline: [] },
    };
  }

  /** Adds loads and then operations over `space` to a list. */
  #expression(space: Shape, nodes: Nodes): Nodes {
    const random = this.#random;
    for (let i = random.int(1, 3); i > 0; i--) this.#load(space, nodes);
    nodes.add({ kind: "constant", value: random.int(-3, 3), dtype: "f32" }, 3);
    if (random.chance(0.4)) {
      const dtype = random.pick(["f32", "i32", "u32"] as const);
      nodes.add({ kind: "iota", view: this.#view(space), dtype }, 2 ** 17);
    }
    if (random.chance(0.2)) {
      const key = this.#inputs.findIndex(({ dtype }) => dtype === "u32");
      const view = { offset: random.int(0, 9), strides: stridesOf(space) };
      if (key >= 0) {
        this.#inputs[key].views.push([view, []]); // read by every point, so it must not be written in place
        nodes.add(
          { kind: "randomBits", key, word: random.pick([0, 1] as const), view, dtype: "u32" },
          2 ** 32,
        );
      }
    }
    for (let i = random.int(1, 8); i > 0; i--) this.#operation(nodes);
    return nodes;
  }

  /** A view that is a value itself, repeats axes, permutes them, or steps over elements. */
  #view(space: Shape): View {
    const random = this.#random;
    const contiguous = stridesOf(space);
    switch (random.int(0, 4)) {
      case 0:
      case 1:
        return { offset: 0, strides: contiguous };
      case 2: {
        const kept = space.map((extent) => random.chance(0.5) ? extent : 1);
        return { offset: 0, strides: stridesOf(kept).map((stride, axis) => kept[axis] === 1 ? 0 : stride) };
      }
      case 3: {
        const order = random.shuffle(space.map((_, axis) => axis));
        const strides = stridesOf(order.map((axis) => space[axis]));
        return { offset: 0, strides: space.map((_, axis) => strides[order.indexOf(axis)]) };
      }
      default:
        return { offset: random.int(0, 7), strides: contiguous.map((stride) => stride * random.int(1, 2)) };
    }
  }

  #load(space: Shape, nodes: Nodes): void {
    const random = this.#random;
    const view = this.#view(space);
    const reach = 1 +
      space.reduce((sum, extent, axis) => sum + (extent - 1) * view.strides[axis], view.offset);
    // Two buffers at least are left for results.
    if (this.#inputs.length === 0 || (this.#inputs.length < this.#maxBuffers - 3 && random.chance(0.7))) {
      const dtype = random.pick(["f32", "f32", "f32", "i32", "u32", "bool", "u8"] as const);
      this.#inputs.push({ dtype, size: 2, views: [] });
    }
    const input = random.chance(0.5) ? this.#inputs.length - 1 : random.int(0, this.#inputs.length - 1);
    const source = this.#inputs[input];
    source.size = Math.max(source.size, reach);
    source.views.push([view, space]);
    const dtype = source.dtype === "u8" ? random.pick(["f32", "i32", "u32"] as const) : source.dtype;
    nodes.add(
      { kind: "load", input, view, dtype },
      source.dtype === "f32" ? 4 : source.dtype === "u8" ? 255 : 2 ** 32,
    );
  }

  #operation(nodes: Nodes): void {
    const random = this.#random;
    const dtype = random.pick(["f32", "f32", "f32", "i32", "u32", "bool"] as const);
    const a = nodes.pick(random, dtype, dtype === "f32" ? EXACT : Infinity);
    const b = nodes.pick(random, dtype, dtype === "f32" ? EXACT : Infinity);
    if (a === undefined || b === undefined) return;
    const [x, y] = [nodes.most[a], nodes.most[b]];
    const binary = (fn: BinaryFn, most: number) =>
      void nodes.add({ kind: "binary", fn, args: [a, b], dtype }, most);
    const condition = nodes.pick(random, "bool");
    switch (random.int(0, 5)) {
      case 0: {
        const fn = random.pick(["eq", "ne", "lt", "le", "gt", "ge"] as const);
        return void nodes.add({ kind: "compare", fn, args: [a, b], dtype: "bool" }, 1);
      }
      case 1:
        if (condition === undefined) return;
        return void nodes.add({ kind: "select", args: [condition, a, b], dtype }, Math.max(x, y));
      case 2: {
        const to = random.pick(["f32", "i32", "u32", "bool"] as const);
        if (to === dtype || (to === "f32" && x > EXACT) || (dtype === "f32" && to === "u32")) return;
        return void nodes.add(
          { kind: "cast", args: [a], dtype: to },
          to === "bool" ? 1 : to === "f32" ? x : 2 ** 32,
        );
      }
      case 3:
        if (dtype === "u32") return;
        return void nodes.add({
          kind: "unary",
          fn: dtype === "bool" ? "not" : random.pick(["neg", "abs", "sign"]),
          args: [a],
          dtype,
        }, Math.max(1, x));
      default:
        if (dtype === "bool") return binary(random.pick(["and", "or", "xor"]), 1);
        if (dtype !== "f32") {
          return binary(random.pick(["add", "sub", "mul", "max", "min", "and", "or", "xor"]), 2 ** 32);
        }
        if (x * y < EXACT && random.chance(0.4)) return binary("mul", x * y);
        return binary(random.pick(["add", "sub", "max", "min"]), x + y);
    }
  }

  #reductions(nodes: Nodes, n: number) {
    const random = this.#random;
    return Array.from({ length: random.int(1, 3) }, () => {
      const dtype = random.pick(["f32", "f32", "i32", "u32"] as const);
      const fn = random.pick(["sum", "sum", "max", "min"] as const);
      const node = nodes.pick(random, dtype, dtype === "f32" && fn === "sum" ? 2 ** 24 / n : Infinity);
      return node === undefined ? [] : [{ fn, node, dtype, most: nodes.most[node] * (fn === "sum" ? n : 1) }];
    }).flat();
  }
}

/** Random fused kernels whose results are exact. */
export function kernelCases(random: Random, count: number, target: Target): KernelCase[] {
  return Array.from(
    { length: count },
    (_, i) => new KernelWriter(random, target).write(`random kernel ${i}`),
  );
}
