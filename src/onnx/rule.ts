import type { DType } from "../trace/dtype.ts";
import type { OpAttrs, OpName, OpOperands } from "../trace/ops.ts";
import type { Dim, Symbolic } from "./dim.ts";
import type { Attributes, Graph } from "./graph.ts";
import { type DataType, dataTypes } from "./schema.ts";
import type { Computed, Operand, Reader } from "./operand.ts";
import type { SymbolicAval } from "./record.ts";

/** The graph under construction, for the rules of ops. */
export interface Lowering {
  /** Takes nodes and tensors. */
  readonly graph: Graph;
  /** Gives operators their operands. */
  readonly reader: Reader;
}

/** Adds the nodes of an op and returns its result, of shape and dtype `out`. */
export type Rule<N extends OpName> = (
  to: Lowering,
  operands: OpOperands<Operand>[N],
  attrs: Symbolic<OpAttrs[N]>,
  out: SymbolicAval,
) => Operand;

/** The rules of some ops; `{ refused }` for one that cannot be exported, with the reason. */
export type Rules<N extends OpName> = { readonly [K in N]: Rule<K> | { readonly refused: string } };

/** A value of the graph whose elements are all there, with axes in `order`. */
export function computed(name: string, { shape, dtype }: SymbolicAval, order: readonly number[]): Computed {
  return { kind: "computed", name, shape, dtype, extents: shape, order };
}

/** Wraps an INT64 value to the 32 bits of its dtype; other dtypes stay as they are. */
export function wrapped({ graph }: Lowering, name: string, dtype: DType): string {
  if (dtype !== "i32" && dtype !== "u32") return name;
  const narrow = converted(graph, name, dtype === "i32" ? "INT32" : "UINT32");
  return converted(graph, narrow, "INT64");
}

/** Converts a value to another type. */
export function converted(graph: Graph, name: string, type: DataType): string {
  const to = dataTypes[type];
  return graph.node("Cast", [name], { to });
}

/** The extents of axes in another order. */
export function permuted<T>(list: readonly T[], order: readonly number[]): T[] {
  return order.map((axis) => list[axis] as T);
}

/** Adds a node and returns its result as a value with axes in `order`. */
export function node(
  { graph }: Lowering,
  op: string,
  inputs: readonly string[],
  out: SymbolicAval,
  order: readonly number[],
  attributes: Attributes = {},
): Computed {
  return computed(graph.node(op, inputs, attributes), out, order);
}

/** True if all extents are known. */
export function isKnown(dims: readonly Dim[]): dims is readonly number[] {
  return dims.every((dim) => typeof dim === "number");
}
