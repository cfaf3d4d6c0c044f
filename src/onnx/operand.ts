import { at } from "../base/at.ts";
import { applyOp, type Value } from "../backends/reference/ops.ts";
import { type Shape, sizeOf } from "../trace/dtype.ts";
import { type Dim, grows, sameDim } from "./dim.ts";
import { dataTypeOf, type Graph } from "./graph.ts";
import type { SymbolicAval } from "./record.ts";

/**
 * A value that is known when a network is exported: a parameter, or what is computed from parameters alone. Axes along
 * which it repeats may have extent 1 in `extents`.
 */
export interface Constant extends SymbolicAval {
  /** Tells it from a {@link Computed} value. */
  readonly kind: "constant";
  /** The extents of `data`. */
  readonly extents: Shape;
  /** Elements, row-major. */
  readonly data: ArrayLike<number>;
  /** Its name in the file. */
  readonly name: string;
}

/**
 * A value of the ONNX graph. Transposes and broadcasts are not computed, but noted here, until an operator needs the
 * value as it is: so images stay NCHW from one convolution to the next.
 */
export interface Computed extends SymbolicAval {
  /** Tells it from a {@link Constant}. */
  readonly kind: "computed";
  /** The extents of the value in the graph, in the order of its own axes; 1 where it repeats. */
  readonly extents: readonly Dim[];
  /** Axis i of the value in the graph is its own axis `order[i]`. */
  readonly order: readonly number[];
  /** Its name in the graph. */
  readonly name: string;
}

/** A value of the program. */
export type Operand = Constant | Computed;

/** The axes of a value in their own order. */
export function inOrder({ shape }: { readonly shape: readonly unknown[] }): number[] {
  return shape.map((_, axis) => axis);
}

/** Channels first: the order that ONNX's operators for images need. */
export function channelsFirst({ shape }: { readonly shape: readonly unknown[] }): number[] {
  const [batch = 0, ...others] = inOrder({ shape });
  return [batch, ...others.splice(-1), ...others];
}

/** The order of a value's axes in the graph. */
export function orderOf(operand: Operand): readonly number[] {
  return operand.kind === "computed" ? operand.order : inOrder(operand);
}

/** The elements of a constant, with the extents `shape`. */
export function elements({ extents, dtype, data }: Constant, shape: Shape): Value {
  const value = {
    shape: extents,
    dtype,
    data: data instanceof Float64Array ? data : Float64Array.from(data),
  };
  if (String(extents) === String(shape)) return value;
  const out = { shape, dtype, data: new Float64Array(sizeOf(shape)) };
  applyOp("broadcast", out, [value], { shape });
  return out;
}

/** Gives operators the values they need: with axes in a certain order, and without repeated axes where those matter. */
export class Reader {
  readonly #graph: Graph;
  /** The input whose first extent is the number of images. */
  readonly #batched: string | undefined;
  readonly #initializers = new Map<ArrayLike<number>, Map<string, string>>();

  /** Reads values of a graph; `batched` is its input. */
  constructor(graph: Graph, batched: string | undefined) {
    this.#graph = graph;
    this.#batched = batched;
  }

  /** The name of an operand with all its elements, axes in `order`. */
  whole(operand: Operand, order: readonly number[] = orderOf(operand)): string {
    const name = this.#placed(operand, order, order.map((axis) => at(operand.extents, axis)));
    if (operand.shape.every((dim, axis) => sameDim(dim, at(operand.extents, axis)))) return name;
    const shape = order.map((axis) => at(operand.shape, axis));
    return this.#graph.node("Expand", [name, this.shapeTensor(shape)]);
  }

  /** The name of an operand that ONNX broadcasts against others with axes in `order`. */
  broadcastable(operand: Operand, order: readonly number[]): string {
    const extents = order.map((axis) => at(operand.extents, axis));
    if (operand.kind === "computed") return this.#placed(operand, order, extents);
    // Leading extents of 1 say nothing: a bias for each feature is [features].
    const first = extents.findIndex((extent) => extent !== 1);
    return this.#placed(operand, order, first < 0 ? [] : extents.slice(first));
  }

  /** A list of extents, as a tensor. */
  shapeTensor(dims: readonly Dim[]): string {
    const graph = this.#graph;
    if (dims.every((dim) => !grows(dim))) return graph.integers(dims as readonly number[]);
    return graph.node("Concat", dims.map((dim) => this.extentTensor(dim)), { axis: 0 });
  }

  /** An extent, as a list of one number. */
  extentTensor(dim: Dim): string {
    const graph = this.#graph;
    if (!grows(dim)) return graph.integers([dim]);
    if (this.#batched === undefined) throw new Error("an extent grows with a batch, but no input is a batch");
    const count = graph.node("Shape", [this.#batched], { start: 0, end: 1 });
    const scaled = dim.perImage === 1 ? count : graph.node("Mul", [count, graph.integers([dim.perImage])]);
    return dim.fixed === 0 ? scaled : graph.node("Add", [scaled, graph.integers([dim.fixed])]);
  }

  /** The target of a Reshape: −1 stands for one extent that is not known. */
  reshapeTensor(dims: readonly Dim[]): string {
    if (dims.filter(grows).length > 1) return this.shapeTensor(dims);
    return this.#graph.integers(dims.map((dim) => grows(dim) ? -1 : dim));
  }

  /** The name of an operand with axes in `order`; a constant gets the extents `shape`. */
  #placed(operand: Operand, order: readonly number[], shape: readonly Dim[]): string {
    if (operand.kind === "constant") return this.#initializer(operand, order, shape as Shape);
    if (String(operand.order) === String(order)) return operand.name;
    const moved = (axes: readonly number[]) => axes.filter((axis) => operand.extents[axis] !== 1);
    return String(moved(operand.order)) === String(moved(order))
      ? this.#graph.node("Reshape", [operand.name, this.reshapeTensor(shape)])
      : this.#graph.node("Transpose", [operand.name], {
        perm: order.map((axis) => operand.order.indexOf(axis)),
      });
  }

  #initializer(constant: Constant, order: readonly number[], shape: Shape): string {
    const { dtype, data, name, extents } = constant;
    let known = this.#initializers.get(data);
    if (known === undefined) this.#initializers.set(data, known = new Map());
    const key = `${order} ${shape}`;
    let made = known.get(key);
    if (made === undefined) {
      let ordered: ArrayLike<number> = data;
      if (String(order) !== String(inOrder(constant))) {
        const value = elements(constant, extents);
        const out = {
          ...value,
          shape: order.map((axis) => at(extents, axis)),
          data: new Float64Array(data.length),
        };
        applyOp("transpose", out, [value], { permutation: order });
        ordered = out.data;
      }
      made = this.#graph.initializer(name, { type: dataTypeOf(dtype), shape, data: ordered });
      known.set(key, made);
    }
    return made;
  }
}
