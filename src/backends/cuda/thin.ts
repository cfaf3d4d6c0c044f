import { mergeAxes } from "../../compile/axes.ts";
import type { Kernel, Node } from "../../compile/kernel.ts";
import { at } from "../../base/at.ts";
import type { Aval } from "../../trace/dtype.ts";
import type { InstructionOf } from "../../trace/program.ts";
import type { Epilogue } from "./epilogues.ts";
import { type MatmulSpec, matmulSpecOf } from "./matmul.ts";

/** An axis of a product: of a batch, of the result's rows or columns, or of the terms. */
type Axis = "batch" | "m" | "n" | "k";

/**
 * Tests whether a product has one row, one column or one term. cuBLASLt may refuse those, for which PyTorch does not call
 * it either (ATen/native/cuda/Blas.cpp); {@link thinKernel} computes them.
 */
export function isThin({ m, n, k }: Pick<MatmulSpec, "m" | "n" | "k">): boolean {
  return m === 1 || n === 1 || k === 1;
}

/**
 * The kernel of a thin product: a reduction over the terms, or none if there is one term. It reads each operand once, so
 * the memory's bandwidth limits it. Sums are of f32 and rounded once, after the bias.
 */
export function thinKernel(
  instruction: InstructionOf<"matmul">,
  values: readonly Aval[],
  epilogue?: Epilogue,
): Kernel {
  const spec = matmulSpecOf(instruction, values, "f32");
  const axes = axesOf(spec).filter((axis) => spec[axis] !== 1);
  const kept = axes.filter((axis) => axis !== "k");
  const reduces = spec.k > 1;
  const [a, b] = instruction.inputs, bias = epilogue?.bias;
  const { dtype } = at(values, instruction.output);
  const inputs = [...new Set([a, b, ...bias === undefined ? [] : [bias]])];
  const load = (nodes: Nodes, value: number, strides: readonly number[]) =>
    nodes.load(inputs.indexOf(value), strides);

  const terms = new Nodes(dtype);
  const product = terms.add({
    kind: "binary",
    fn: "mul",
    args: [load(terms, a, stridesOf(spec, axes, "a")), load(terms, b, stridesOf(spec, axes, "b"))],
    dtype: "f32",
  });
  const last = reduces ? new Nodes(dtype) : terms;
  let result = reduces ? last.add({ kind: "reduced", index: 0, dtype: "f32" }) : product;
  if (bias !== undefined) {
    const added = load(last, bias, (reduces ? kept : axes).map((axis) => axis === "n" ? 1 : 0));
    result = last.add({ kind: "binary", fn: "add", args: [result, added], dtype: "f32" });
  }
  if (dtype !== "f32") result = last.add({ kind: "cast", args: [result], dtype });
  const stores = [{ node: result, output: epilogue?.output ?? instruction.output }];
  const space = axes.map((axis) => spec[axis]);
  return mergeAxes(
    reduces
      ? {
        ...{ space, inputs, nodes: terms.list, stores: [] },
        reduce: {
          axes: [axes.indexOf("k")],
          reductions: [{ fn: "sum", node: product, dtype: "f32" }],
          epilogue: last.list,
          stores,
        },
      }
      : { space, inputs, nodes: terms.list, stores },
  );
}

/** The axes in the order in which the larger operand is stored, so that neighbouring threads read neighbours. */
function axesOf({ n, k, transposeA, transposeB }: MatmulSpec): readonly Axis[] {
  if (k === 1) return ["batch", "m", "n"];
  if (n === 1) return transposeA ? ["batch", "k", "m", "n"] : ["batch", "m", "k", "n"];
  return transposeB ? ["batch", "m", "n", "k"] : ["batch", "m", "k", "n"];
}

/** The strides of an operand along axes. */
function stridesOf(
  { m, n, k, transposeA, transposeB }: MatmulSpec,
  axes: readonly Axis[],
  operand: "a" | "b",
): number[] {
  const strides: { readonly [A in Axis]: number } = operand === "a"
    ? { batch: m * k, m: transposeA ? 1 : k, n: 0, k: transposeA ? m : 1 }
    : { batch: k * n, m: 0, n: transposeB ? k : 1, k: transposeB ? 1 : n };
  return axes.map((axis) => strides[axis]);
}

/** A list of nodes being made. */
class Nodes {
  readonly list: Node[] = [];
  readonly #dtype: Aval["dtype"];

  /** `dtype` is that of the values to load. */
  constructor(dtype: Aval["dtype"]) {
    this.#dtype = dtype;
  }

  add(node: Node): number {
    return this.list.push(node) - 1;
  }

  /** Loads an element as f32. */
  load(input: number, strides: readonly number[]): number {
    const node = this.add({ kind: "load", input, view: { offset: 0, strides }, dtype: this.#dtype });
    return this.#dtype === "f32" ? node : this.add({ kind: "cast", args: [node], dtype: "f32" });
  }
}
