import { type Aval, type Shape, sizeOf } from "../trace/dtype.ts";
import type { Kernel, Node, View } from "./kernel.ts";

/** Checks that a kernel is well formed: operands before use, dtypes that agree, loads and stores within their values. */
export function verifyKernel(kernel: Kernel, values: readonly Aval[], maxBuffers: number): void {
  const { space, inputs, nodes, stores, reduce } = kernel;
  if (new Set(inputs).size !== inputs.length) fail("an input is listed twice");
  const buffers = inputs.length + stores.length + (reduce?.stores.length ?? 0);
  if (buffers > maxBuffers) fail(`touches ${buffers} buffers, and ${maxBuffers} are allowed`);
  checkNodes(nodes, space, kernel, values);
  checkStores(stores, nodes, space, values);
  if (reduce === undefined) {
    if (stores.length === 0) fail("writes nothing");
    return;
  }
  const { axes, reductions, epilogue } = reduce;
  axes.forEach((axis, i) => {
    if (!(axis >= 0 && axis < space.length) || (i > 0 && axes[i - 1] >= axis)) fail("axes are not ascending");
  });
  for (const { node, dtype } of reductions) {
    if (nodes[node]?.dtype !== dtype) fail(`reduces node ${node} as ${dtype}`);
    if (dtype === "bf16") fail(`reduces node ${node} in bf16; sums are made in f32`);
  }
  const outer = space.filter((_, axis) => !axes.includes(axis));
  checkNodes(epilogue, outer, kernel, values);
  checkStores(reduce.stores, epilogue, outer, values);
}

function checkStores(
  stores: Kernel["stores"],
  nodes: readonly Node[],
  space: Shape,
  values: readonly Aval[],
): void {
  for (const { node, output } of stores) {
    const { shape, dtype } = values[output];
    if (nodes[node]?.dtype !== dtype) fail(`stores node ${node} to %${output}, which is ${dtype}`);
    if (sizeOf(shape) !== sizeOf(space)) {
      fail(`%${output} has ${sizeOf(shape)} elements, the space ${sizeOf(space)}`);
    }
  }
}

function checkNodes(nodes: readonly Node[], space: Shape, kernel: Kernel, values: readonly Aval[]): void {
  nodes.forEach((node, index) => {
    const at = `node ${index} (${node.kind})`;
    const args = "args" in node ? node.args : [];
    for (const arg of args) if (!(arg >= 0 && arg < index)) fail(`${at} reads node ${arg}`);
    const dtypes = args.map((arg) => nodes[arg].dtype);
    switch (node.kind) {
      case "load": {
        const { shape, dtype } = values[kernel.inputs[node.input]] ?? fail(`${at} loads no input`);
        if (dtype !== node.dtype && dtype !== "u8") fail(`${at} loads ${dtype} as ${node.dtype}`);
        return checkView(node.view, space, sizeOf(shape), at);
      }
      case "iota":
        return checkView(node.view, space, Infinity, at);
      case "randomBits":
        if (values[kernel.inputs[node.key]]?.dtype !== "u32") fail(`${at} has no key`);
        return checkView(node.view, space, 2 ** 32, at);
      case "unary":
        if (dtypes[0] !== node.dtype && node.fn !== "isFinite") {
          fail(`${at} makes ${node.dtype} of ${dtypes[0]}`);
        }
        return;
      case "binary":
        if (dtypes.some((dtype) => dtype !== node.dtype)) {
          fail(`${at} makes ${node.dtype} of ${dtypes.join(", ")}`);
        }
        return;
      case "compare":
        if (dtypes[0] !== dtypes[1]) fail(`${at} compares ${dtypes.join(" with ")}`);
        return;
      case "select":
        if (dtypes[0] !== "bool" || dtypes[1] !== node.dtype || dtypes[2] !== node.dtype) {
          fail(`${at} makes ${node.dtype} of ${dtypes.join(", ")}`);
        }
        return;
      case "reduced": {
        const reduction = kernel.reduce?.reductions[node.index];
        if (nodes !== kernel.reduce?.epilogue || reduction?.dtype !== node.dtype) {
          fail(`${at} is no result of a reduction here`);
        }
        return;
      }
      case "constant":
      case "cast":
        return;
      default:
        node satisfies never;
    }
  });
}

function checkView({ offset, strides }: View, space: Shape, size: number, at: string): void {
  if (strides.length !== space.length) fail(`${at} has ${strides.length} strides in ${space.length} axes`);
  let [low, high] = [offset, offset];
  strides.forEach((stride, axis) => {
    const reach = stride * (space[axis] - 1);
    low += Math.min(0, reach);
    high += Math.max(0, reach);
  });
  if (low < 0 || high >= size) fail(`${at} reaches from ${low} to ${high} of ${size} elements`);
}

function fail(why: string): never {
  throw new Error(`kernel ${why}`);
}
