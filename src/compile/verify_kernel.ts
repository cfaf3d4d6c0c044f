import { at } from "../base/at.ts";
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
  let before = -1;
  for (const axis of axes) {
    if (!(axis > before && axis < space.length)) fail("axes are not ascending");
    before = axis;
  }
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
    const { shape, dtype } = at(values, output);
    if (nodes[node]?.dtype !== dtype) fail(`stores node ${node} to %${output}, which is ${dtype}`);
    if (sizeOf(shape) !== sizeOf(space)) {
      fail(`stores %${output}, which has ${sizeOf(shape)} elements, over a space of ${sizeOf(space)}`);
    }
  }
}

function checkNodes(nodes: readonly Node[], space: Shape, kernel: Kernel, values: readonly Aval[]): void {
  const valueOf = (input: number) => values[kernel.inputs[input] ?? -1];
  nodes.forEach((node, index) => {
    const where = `node ${index} (${node.kind})`;
    const args: readonly number[] = "args" in node ? node.args : [];
    for (const arg of args) if (!(arg >= 0 && arg < index)) fail(`${where} reads node ${arg}`);
    const dtypes = args.map((arg) => at(nodes, arg).dtype);
    switch (node.kind) {
      case "load": {
        const { shape, dtype } = valueOf(node.input) ?? fail(`${where} loads no input`);
        if (dtype !== node.dtype && dtype !== "u8") fail(`${where} loads ${dtype} as ${node.dtype}`);
        return checkView(node.view, space, sizeOf(shape), where);
      }
      case "iota":
        return checkView(node.view, space, Infinity, where);
      case "randomBits":
        if (valueOf(node.key)?.dtype !== "u32") fail(`${where} has no key`);
        return checkView(node.view, space, 2 ** 32, where);
      case "unary":
        if (dtypes[0] !== node.dtype && node.fn !== "isFinite") {
          fail(`${where} makes ${node.dtype} of ${dtypes[0]}`);
        }
        return;
      case "binary":
        if (dtypes.some((dtype) => dtype !== node.dtype)) {
          fail(`${where} makes ${node.dtype} of ${dtypes.join(", ")}`);
        }
        return;
      case "compare":
        if (dtypes[0] !== dtypes[1]) fail(`${where} compares ${dtypes.join(" with ")}`);
        return;
      case "select":
        if (dtypes[0] !== "bool" || dtypes[1] !== node.dtype || dtypes[2] !== node.dtype) {
          fail(`${where} makes ${node.dtype} of ${dtypes.join(", ")}`);
        }
        return;
      case "reduced": {
        const reduction = kernel.reduce?.reductions[node.index];
        if (nodes !== kernel.reduce?.epilogue || reduction?.dtype !== node.dtype) {
          fail(`${where} is not the result of a reduction here`);
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

function checkView({ offset, strides }: View, space: Shape, size: number, where: string): void {
  if (strides.length !== space.length) fail(`${where} has ${strides.length} strides in ${space.length} axes`);
  let [low, high] = [offset, offset];
  strides.forEach((stride, axis) => {
    const reach = stride * (at(space, axis) - 1);
    low += Math.min(0, reach);
    high += Math.max(0, reach);
  });
  if (low < 0 || high >= size) fail(`${where} reaches from ${low} to ${high} of ${size} elements`);
}

function fail(why: string): never {
  throw new Error(`kernel ${why}`);
}
