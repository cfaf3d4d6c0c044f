import { at } from "../../base/at.ts";
import type { Precision, ProductPrecision } from "../../compile/plan.ts";
import { type Aval, bytesOf } from "../../trace/dtype.ts";
import type { InstructionOf } from "../../trace/program.ts";
import { precisionOf } from "./conv.ts";
import type { EpilogueKind } from "./epilogues.ts";

/** A product of row-major matrices: everything that cuBLASLt's choice of an algorithm depends on. */
export interface MatmulSpec {
  /** Matrices in a batch. */
  readonly batch: number;
  /** Rows of the result. */
  readonly m: number;
  /** Columns of the result. */
  readonly n: number;
  /** Terms of each element of the result. */
  readonly k: number;
  /** True if the first operand is stored transposed, as `[k, m]`. */
  readonly transposeA: boolean;
  /** True if the second operand is stored transposed, as `[n, k]`. */
  readonly transposeB: boolean;
  /** `bf16` for matrices of bf16; `f32` or `tf32` for matrices of f32. */
  readonly precision: Precision;
  /** Applied to each row of the result as it is written. */
  readonly epilogue: EpilogueKind;
}

/** The addresses of a product's matrices. */
export interface MatmulTensors {
  readonly a: bigint;
  readonly b: bigint;
  readonly result: bigint;
  readonly bias?: bigint;
}

/** The spec of a `matmul`; `products` is the precision of products of f32. */
export function matmulSpecOf(
  { attrs, inputs, output }: InstructionOf<"matmul">,
  avals: readonly Aval[],
  products: ProductPrecision,
  epilogue: EpilogueKind = "none",
): MatmulSpec {
  const a = at(avals, inputs[0]).shape, result = at(avals, output), { shape } = result;
  const precision = precisionOf(result, products);
  return {
    batch: shape.length === 3 ? at(shape, 0) : 1,
    ...{ m: at(shape, shape.length - 2), n: at(shape, shape.length - 1) },
    k: at(a, a.length - (attrs.transposeA ? 2 : 1)),
    ...{ transposeA: attrs.transposeA, transposeB: attrs.transposeB, precision, epilogue },
  };
}

/** The most scratch a product gets: NVIDIA's recommendation for the newest cards, too small to raise a plan's peak. */
const MAX_WORKSPACE = 4 * 2 ** 20;

/** Scratch bytes of a product. */
export function matmulWorkspace(
  { inputs, output }: InstructionOf<"matmul">,
  values: readonly Aval[],
): number {
  const bytes = [...inputs, output].map((value) => bytesOf(at(values, value)));
  return Math.min(MAX_WORKSPACE, Math.max(64 * 2 ** 10, ...bytes));
}

/** A product's name in messages. */
export function describeMatmul({ batch, m, n, k, precision }: MatmulSpec): string {
  return `${batch > 1 ? `${batch} × ` : ""}[${m},${k}] × [${k},${n}] in ${precision}`;
}
