import type { DType, Shape } from "../trace/dtype.ts";
import type { BinaryFn, CompareFn, ReduceFn, UnaryFn } from "../trace/ops.ts";
import type { ValueId } from "../trace/program.ts";

/**
 * An affine map from an iteration index (i₀, i₁, …) to an element: `offset + Σ strides[axis] · i[axis]`, in elements.
 * Broadcasting is a stride of 0.
 */
export interface View {
  /** First element. */
  readonly offset: number;
  /** One stride per axis of the space it is evaluated over. */
  readonly strides: readonly number[];
}

/**
 * A node of a fused kernel's expression, evaluated once per point of its space. A node of dtype bf16 is rounded to
 * bf16, so that fusion changes no bits. Operands are indices of earlier nodes of the same list, so a shared
 * subexpression is computed once.
 */
export type Node =
  /** An element of `kernel.inputs[input]`. A u8 input is read as its integer value in `dtype`. */
  | { readonly kind: "load"; readonly input: number; readonly view: View; readonly dtype: DType }
  /** A literal. */
  | { readonly kind: "constant"; readonly value: number; readonly dtype: DType }
  /** The affine index itself. */
  | { readonly kind: "iota"; readonly view: View; readonly dtype: DType }
  /** A word of Threefry-2×32-20 of the key `kernel.inputs[key]` (two u32) and counter (affine index, 0). */
  | {
    readonly kind: "randomBits";
    readonly key: number;
    readonly word: 0 | 1;
    readonly view: View;
    readonly dtype: "u32";
  }
  | { readonly kind: "unary"; readonly fn: UnaryFn; readonly args: readonly [number]; readonly dtype: DType }
  | {
    readonly kind: "binary";
    readonly fn: BinaryFn;
    readonly args: readonly [number, number];
    readonly dtype: DType;
  }
  /** The operands have one dtype; the result is bool. */
  | {
    readonly kind: "compare";
    readonly fn: CompareFn;
    readonly args: readonly [number, number];
    readonly dtype: "bool";
  }
  | { readonly kind: "select"; readonly args: readonly [number, number, number]; readonly dtype: DType }
  | { readonly kind: "cast"; readonly args: readonly [number]; readonly dtype: DType }
  /** In an epilogue only: the result of `reduce.reductions[index]` at the point. */
  | { readonly kind: "reduced"; readonly index: number; readonly dtype: DType };

/** Writes node `node` of a list to `output`, contiguously in row-major order over the list's space. */
export interface Store {
  /** Index of the node. */
  readonly node: number;
  /** The value written. */
  readonly output: ValueId;
}

/**
 * A fused kernel: one pass over `space`. At each point `nodes` are evaluated; `stores` write element-wise results;
 * `reduce`, where present, reduces nodes over some axes, then evaluates `epilogue` once per remaining point and writes
 * `reduce.stores`. Axes are already merged wherever every view allows it.
 *
 * An output may be written in place: it may share the memory of an input that the same list of nodes loads only at the
 * identity view. That holds for one of `stores` and an input of `nodes`, and for one of `reduce.stores` and an input of
 * `epilogue`. The plan guarantees that no other output overlaps an input.
 */
export interface Kernel {
  /** Iteration space; `[]` is a single point. */
  readonly space: Shape;
  /** The values read, each once. */
  readonly inputs: readonly ValueId[];
  /** Expression over `space`. */
  readonly nodes: readonly Node[];
  /** Element-wise results over `space`. */
  readonly stores: readonly Store[];
  /** Reductions, if any. */
  readonly reduce?: {
    /** Axes of `space` that are reduced, ascending. */
    readonly axes: readonly number[];
    /**
     * If the first axis was merged from several that are reduced, the extent of the outermost of them, as a rule the batch.
     * A sum that adds its terms by batch adds them in one order whether that axis was merged or not, which depends on what
     * else the kernel reads.
     */
    readonly outermost?: number;
    /** The reductions, each of a node of `nodes`. */
    readonly reductions: readonly { readonly fn: ReduceFn; readonly node: number; readonly dtype: DType }[];
    /** Expression over the remaining axes; its loads' views have one stride per remaining axis. */
    readonly epilogue: readonly Node[];
    /** Results over the remaining axes: nodes of `epilogue`. */
    readonly stores: readonly Store[];
  };
}
