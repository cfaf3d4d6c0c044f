import { cudnnData } from "../../../ffi/cudnn_constants.ts";
import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import type { Precision, ProductPrecision } from "../../compile/plan.ts";
import { type Aval, bytesOf } from "../../trace/dtype.ts";
import type { ConvAttrs } from "../../trace/ops.ts";
import type { InstructionOf, ValueId } from "../../trace/program.ts";
import type { EpilogueKind } from "./epilogues.ts";
import { type Extents, extentsOf } from "../extents.ts";

/** A convolution or one of its gradients. */
export type ConvInstruction =
  | InstructionOf<"conv">
  | InstructionOf<"convInputGrad">
  | InstructionOf<"convFilterGrad">;

/** Everything that cuDNN's plan for a convolution depends on. */
export interface ConvSpec {
  readonly op: ConvInstruction["op"];
  /** NHWC. */
  readonly image: Extents;
  /** KRSC. */
  readonly filter: Extents;
  /** NPQK. */
  readonly result: Extents;
  readonly attrs: ConvAttrs;
  /** `bf16` for tensors of bf16; `f32` or `tf32`, the precision of products, for tensors of f32. */
  readonly precision: Precision;
  /** Applied to each pixel of a `conv` as it is written. */
  readonly epilogue: EpilogueKind;
}

/** The addresses of a convolution's tensors, with a bias if it has one. */
export interface ConvTensors {
  readonly image: bigint;
  readonly filter: bigint;
  readonly result: bigint;
  readonly bias?: bigint;
}

/** A tensor of a convolution. */
export type Role = "image" | "filter" | "result";

/** The tensors of each op in the order of its operands, the result last. */
export const roles = {
  conv: ["image", "filter", "result"],
  convInputGrad: ["result", "filter", "image"],
  convFilterGrad: ["image", "result", "filter"],
} as const satisfies { readonly [O in ConvSpec["op"]]: readonly Role[] };

/** The spec of an instruction; `products` is the precision of products of f32. */
export function convSpecOf(
  { op, attrs, inputs, output }: ConvInstruction,
  avals: readonly Aval[],
  products: ProductPrecision,
  epilogue: EpilogueKind = "none",
): ConvSpec {
  const extents = (value: ValueId): Extents => extentsOf(at(avals, value).shape);
  const [a, b, c] = [extents(inputs[0]), extents(inputs[1]), extents(output)];
  const { strides, padding, dilation, groups } = attrs;
  const precision = precisionOf(at(avals, output), products);
  const common = { op, precision, epilogue, attrs: { strides, padding, dilation, groups } };
  switch (op) {
    case "conv":
      return { ...common, image: a, filter: b, result: c };
    case "convInputGrad":
      return { ...common, image: c, filter: b, result: a };
    case "convFilterGrad":
      return { ...common, image: a, filter: c, result: b };
  }
}

/** The precision of a convolution or a product with this result. */
export function precisionOf({ dtype }: Aval, products: ProductPrecision): Precision {
  return dtype === "bf16" ? "bf16" : products;
}

/** The element type of a convolution's tensors, as cuDNN's number. */
export function dataTypeOf(precision: Precision): number {
  return precision === "bf16" ? cudnnData.CUDNN_DATA_BFLOAT16 : cudnnData.CUDNN_DATA_FLOAT;
}

/** Scratch bytes that every convolution gets; its place in the arena often has more (spare.ts). */
export function convWorkspace(instruction: ConvInstruction, values: readonly Aval[]): number {
  const bytes = [...instruction.inputs, instruction.output].map((value) => bytesOf(at(values, value)));
  // At most as much as its largest tensor takes, so that small networks stay small.
  return Math.min(8 * 2 ** 20, Math.max(64 * 2 ** 10, ...bytes));
}

/** A convolution bound to addresses. */
export interface BoundConv {
  /**
   * Issues it on the stream of cuDNN's handle. `mayWait` says that the host may wait for the card in this run, to time
   * engines: the stream is not being captured, and no other process waits for what the host issues after it.
   */
  run(mayWait: boolean): void;
  /** Frees what was made for these addresses. */
  dispose(): void;
}

/** Runs convolutions through one of cuDNN's two interfaces (docs/cuda.md). */
export interface Convolver {
  /** Tests whether the interface has a plan for a spec with an epilogue; if not, the epilogue stays a step of its own. */
  fuses(spec: ConvSpec, workspace: number): boolean;
  /** Binds a convolution to addresses, with `workspace` bytes of scratch at `scratch`. */
  bind(spec: ConvSpec, tensors: ConvTensors, scratch: bigint, workspace: number): BoundConv;
  /** Issues what follows on another stream. */
  useStream(stream: bigint): void;
  /** Frees everything. */
  close(): void;
}

/** A convolution's name in messages. */
export function describeConv(spec: ConvSpec): string {
  const operands = roles[spec.op].slice(0, 2).map((role) => `${role} [${spec[role].join(",")}]`);
  return `${spec.op}(${operands.join(", ")}) in ${spec.precision}`;
}

/** The error for a convolution that cuDNN cannot run. */
export function cannotRun(spec: ConvSpec, why: string): LocalgradError {
  return new LocalgradError(
    `cuDNN cannot run ${describeConv(spec)}: ${why}; use another precision, or device webgpu or cpu`,
  );
}
