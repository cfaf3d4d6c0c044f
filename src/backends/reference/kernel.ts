import type { Kernel, Node, View } from "../../compile/kernel.ts";
import { at } from "../../base/at.ts";
import { threefry2x32 } from "../../base/random.ts";
import { type Shape, sizeOf, stridesOf } from "../../trace/dtype.ts";
import type { ValueId } from "../../trace/program.ts";
import { binary, cast, compareFns, unary, wrap } from "../../trace/elementwise.ts";
import { element } from "./elements.ts";
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
  const keptStrides = stridesOf(space.map((extent, axis) => axes.includes(axis) ? 1 : extent));
  const target: View = {
    offset: 0,
    strides: keptStrides.map((stride, axis) => axes.includes(axis) ? 0 : stride),
  };
  const folds = (reduce?.reductions ?? []).map(({ fn, node, dtype }) => {
    const { start, fold } = reduction(fn, dtype);
    return { node, fold, result: new Float64Array(sizeOf(outer)).fill(start) };
  });

  eachBlock(nodes, space, inputs, [], (block, columns) => {
    for (const { node, output } of stores) memory(output).set(block.take(at(columns, node)), block.start);
    for (const { node, fold, result } of folds) {
      const column = at(columns, node);
      block.each(target, (i, to) => result[to] = fold(element(result, to), element(column, i)));
    }
  });
  if (reduce === undefined) return;
  eachBlock(reduce.epilogue, outer, inputs, folds.map(({ result }) => result), (block, columns) => {
    for (const { node, output } of reduce.stores) {
      memory(output).set(block.take(at(columns, node)), block.start);
    }
  });
}

/** Some consecutive points of a space, in row-major order. */
class Block {
  constructor(readonly space: Shape, readonly start: number, readonly count: number) {}

  /** Visits the points, each with the index of its element of a view. */
  each(view: View, visit: (i: number, index: number) => void): void {
    const axes = this.space.map((extent, axis) => ({ extent, stride: at(view.strides, axis) })).reverse();
    for (let i = 0; i < this.count; i++) {
      let index = view.offset;
      let rest = this.start + i;
      for (const { extent, stride } of axes) {
        index += rest % extent * stride;
        rest = Math.floor(rest / extent);
      }
      visit(i, index);
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
    nodes.forEach((node, index) => evaluate(node, at(columns, index), block));
    visit(block, columns);
  }

  function evaluate(node: Node, out: Float64Array, block: Block): void {
    const map = (f: (i: number) => number): void => {
      for (let i = 0; i < block.count; i++) out[i] = f(i);
    };
    const arg = (args: readonly number[], position: number) => at(columns, at(args, position));
    switch (node.kind) {
      case "load": {
        const data = at(inputs, node.input);
        return block.each(node.view, (i, index) => out[i] = element(data, index));
      }
      case "constant": {
        const value = wrap(node.value, node.dtype);
        return map(() => value);
      }
      case "iota":
        return block.each(node.view, (i, index) => out[i] = wrap(index, node.dtype));
      case "randomBits": {
        const key = Uint32Array.from(at(inputs, node.key).subarray(0, 2));
        return block.each(node.view, (i, index) => out[i] = at(threefry2x32(key, index, 0), node.word));
      }
      case "unary": {
        const f = unary(node.fn, at(nodes, node.args[0]).dtype);
        const a = arg(node.args, 0);
        return map((i) => f(element(a, i)));
      }
      case "binary": {
        const f = binary(node.fn, node.dtype);
        const [a, b] = [arg(node.args, 0), arg(node.args, 1)];
        return map((i) => f(element(a, i), element(b, i)));
      }
      case "compare": {
        const f = compareFns[node.fn];
        const [a, b] = [arg(node.args, 0), arg(node.args, 1)];
        return map((i) => f(element(a, i), element(b, i)) ? 1 : 0);
      }
      case "select": {
        const [condition, a, b] = [arg(node.args, 0), arg(node.args, 1), arg(node.args, 2)];
        return map((i) => element(condition[i] ? a : b, i));
      }
      case "cast": {
        const f = cast(at(nodes, node.args[0]).dtype, node.dtype);
        const a = arg(node.args, 0);
        return map((i) => f(element(a, i)));
      }
      case "reduced": {
        const data = at(reduced, node.index);
        return map((i) => element(data, block.start + i));
      }
    }
  }
}
