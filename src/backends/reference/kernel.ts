import type { Kernel, Node, View } from "../../compile/kernel.ts";
import { threefry2x32 } from "../../base/random.ts";
import { type Shape, sizeOf, stridesOf } from "../../trace/dtype.ts";
import type { ValueId } from "../../trace/program.ts";
import { binary, cast, compareFns, unary, wrap } from "../../trace/elementwise.ts";
import { reduction } from "./reduction.ts";

/** Points evaluated together; a block is read before it is written, as in-place kernels require. */
const BLOCK = 1024;

/** Runs a fused kernel; `memory` returns the elements of a value. */
export function runKernel(kernel: Kernel, memory: (value: ValueId) => Float64Array): void {
  const { space, nodes, stores, reduce } = kernel;
  const inputs = kernel.inputs.map(memory);
  const axes = reduce?.axes ?? [];
  const outer = space.filter((_, axis) => !axes.includes(axis));

  // The element of the result that each point contributes to.
  const outerStrides = stridesOf(outer);
  const target: View = {
    offset: 0,
    strides: space.map((_, axis) => axes.includes(axis) ? 0 : outerStrides.shift()!),
  };
  const folds = (reduce?.reductions ?? []).map(({ fn, node, dtype }) => {
    const { start, fold } = reduction(fn, dtype);
    return { node, fold, result: new Float64Array(sizeOf(outer)).fill(start) };
  });

  eachBlock(nodes, space, inputs, [], (block, columns) => {
    for (const { node, output } of stores) memory(output).set(block.take(columns[node]), block.start);
    for (const { node, fold, result } of folds) {
      block.each(target, (i, at) => result[at] = fold(result[at], columns[node][i]));
    }
  });
  if (reduce === undefined) return;
  eachBlock(reduce.epilogue, outer, inputs, folds.map(({ result }) => result), (block, columns) => {
    for (const { node, output } of reduce.stores) memory(output).set(block.take(columns[node]), block.start);
  });
}

/** Some consecutive points of a space, in row-major order. */
class Block {
  constructor(readonly space: Shape, readonly start: number, readonly count: number) {}

  /** Visits the points, each with its element of a view. */
  each(view: View, visit: (i: number, element: number) => void): void {
    for (let i = 0; i < this.count; i++) {
      let element = view.offset;
      let rest = this.start + i;
      for (let axis = this.space.length - 1; axis >= 0; axis--) {
        element += rest % this.space[axis] * view.strides[axis];
        rest = Math.floor(rest / this.space[axis]);
      }
      visit(i, element);
    }
  }

  /** The part of a column for these points. */
  take(column: Float64Array): Float64Array {
    return column.subarray(0, this.count);
  }
}

function eachBlock(
  nodes: readonly Node[],
  space: Shape,
  inputs: readonly Float64Array[],
  reduced: readonly Float64Array[],
  visit: (block: Block, columns: readonly Float64Array[]) => void,
): void {
  const columns = nodes.map(() => new Float64Array(BLOCK));
  const size = sizeOf(space);
  for (let start = 0; start < size; start += BLOCK) {
    const block = new Block(space, start, Math.min(BLOCK, size - start));
    nodes.forEach((node, index) => evaluate(node, columns[index], block));
    visit(block, columns);
  }

  function evaluate(node: Node, out: Float64Array, block: Block): void {
    const map = (f: (i: number) => number): void => {
      for (let i = 0; i < block.count; i++) out[i] = f(i);
    };
    const args = "args" in node ? node.args.map((arg) => columns[arg]) : [];
    const [a, b, c] = args;
    switch (node.kind) {
      case "load": {
        const data = inputs[node.input];
        return block.each(node.view, (i, element) => out[i] = data[element]);
      }
      case "constant": {
        const value = wrap(node.value, node.dtype);
        return map(() => value);
      }
      case "iota":
        return block.each(node.view, (i, element) => out[i] = wrap(element, node.dtype));
      case "randomBits": {
        const key = Uint32Array.from(inputs[node.key].subarray(0, 2));
        return block.each(node.view, (i, element) => out[i] = threefry2x32(key, element, 0)[0]);
      }
      case "unary": {
        const f = unary(node.fn, nodes[node.args[0]].dtype);
        return map((i) => f(a[i]));
      }
      case "binary": {
        const f = binary(node.fn, node.dtype);
        return map((i) => f(a[i], b[i]));
      }
      case "compare": {
        const f = compareFns[node.fn];
        return map((i) => f(a[i], b[i]) ? 1 : 0);
      }
      case "select":
        return map((i) => a[i] ? b[i] : c[i]);
      case "cast": {
        const f = cast(nodes[node.args[0]].dtype, node.dtype);
        return map((i) => f(a[i]));
      }
      case "reduced": {
        const data = reduced[node.index];
        return map((i) => data[block.start + i]);
      }
    }
  }
}
