import type { Cudnn } from "../../../ffi/cudnn.ts";
import { isUnsupported } from "../../../ffi/cudnn.ts";
import {
  attributeType,
  cudnnData,
  cudnnMode,
  heuristicMode,
  numericalNote,
  pointwiseMode,
} from "../../../ffi/cudnn_constants.ts";
import { LibraryError } from "../../../ffi/status.ts";
import type { Precision, ProductPrecision } from "../../compile/plan.ts";
import type { Aval, Shape } from "../../trace/dtype.ts";
import type { ConvAttrs } from "../../trace/ops.ts";
import { type Attribute, Descriptors, values } from "./descriptors.ts";
import type { EpilogueKind } from "./epilogues.ts";
import type { Convolution } from "./lower.ts";

/** A convolution or one of its gradients: everything that a plan of cuDNN's depends on. */
export interface Spec {
  readonly op: Convolution["op"];
  /** NHWC. */
  readonly image: Shape;
  /** KRSC. */
  readonly filter: Shape;
  /** NPQK. */
  readonly result: Shape;
  readonly attrs: ConvAttrs;
  /** `bf16` is what its tensors are; f32 ones are multiplied in `f32` or `tf32`. */
  readonly precision: Precision;
  /** What is done to each pixel of a `conv` as it is written. */
  readonly epilogue: EpilogueKind;
}

/** The spec of an instruction; `products` says how f32 is multiplied. */
export function specOf(
  { op, attrs, inputs, output }: Convolution,
  avals: readonly Aval[],
  products: ProductPrecision,
  epilogue: EpilogueKind = "none",
): Spec {
  const [a, b, c] = [inputs[0], inputs[1], output].map((value) => avals[value].shape);
  const { strides, padding, dilation, groups } = attrs;
  const precision = precisionOf(avals[output], products);
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

/** What an op with this result is computed in. */
export function precisionOf({ dtype }: Aval, products: ProductPrecision): Precision {
  return dtype === "bf16" ? "bf16" : products;
}

/** The element type of tensors, by cuDNN's number. */
export function dataTypeOf(precision: Precision): number {
  return precision === "bf16" ? cudnnData.CUDNN_DATA_BFLOAT16 : cudnnData.CUDNN_DATA_FLOAT;
}

/** Which tensors an op reads and writes, in the order of its operands, the result last. */
export const roles = {
  conv: ["image", "filter", "result"],
  convInputGrad: ["result", "filter", "image"],
  convFilterGrad: ["image", "result", "filter"],
} as const satisfies { readonly [O in Spec["op"]]: readonly ("image" | "filter" | "result")[] };

/** A tensor's name in a graph. */
const uid = { image: 1, filter: 2, result: 3, bias: 4, bare: 5 } as const;

/** The addresses of a convolution's tensors; a bias where there is one. */
export interface Tensors {
  readonly image: bigint;
  readonly filter: bigint;
  readonly result: bigint;
  readonly bias?: bigint;
}

/** What cuDNN plans for: a card through its handle, or one that is described and need not be there. */
export type PlanFor = { readonly handle: bigint } | { readonly description: Uint8Array<ArrayBuffer> };

/** An engine configuration that cuDNN's heuristics offer, turned into a plan when it is first looked at. */
export interface Candidate {
  /** The configuration. */
  readonly config: bigint;
  /** The plan and its workspace, or that it cannot be had; undefined until looked at. */
  outcome?: { readonly plan: bigint; readonly workspace: number } | { readonly refused: string };
}

/**
 * A convolution's graph with what can run it: what the heuristics rank, in their order, then what their fallback mode
 * has, which is ranked by nothing.
 */
export class ConvolutionPlans {
  readonly spec: Spec;
  readonly candidates: readonly Candidate[];
  readonly #descriptors: Descriptors;
  readonly #plan: Attribute[];

  /** Builds the graph and asks for engines. Raises a LibraryError whose status tells why there are none. */
  constructor(cudnn: Cudnn, spec: Spec, target: PlanFor) {
    this.spec = spec;
    this.#descriptors = new Descriptors(cudnn);
    try {
      const graph = operationGraph(this.#descriptors, spec, target);
      const device: bigint | undefined = "handle" in target
        ? undefined
        : this.#descriptors.build("CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR", [
          ["CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION", values.chars(target.description)],
        ]);
      this.#plan = "handle" in target
        ? [["CUDNN_ATTR_EXECUTION_PLAN_HANDLE", values.handle(target.handle)]]
        : [["CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP", values.descriptors([device!])]];
      this.candidates = [
        ...this.#offers(graph, heuristicMode.CUDNN_HEUR_MODE_A, device),
        ...this.#offers(graph, heuristicMode.CUDNN_HEUR_MODE_FALLBACK, device),
      ].map((config) => ({ config }));
    } catch (error) {
      this.#descriptors.close();
      throw error;
    }
  }

  /** The first plan that keeps to the precision, is deterministic, and needs no more than `workspace` bytes. */
  choose(workspace: number): { plan: bigint; workspace: number } | { refused: readonly string[] } {
    const refused: string[] = [];
    for (const candidate of this.candidates) {
      const outcome = candidate.outcome ??= this.#look(candidate.config);
      if ("refused" in outcome) refused.push(outcome.refused);
      else if (outcome.workspace > workspace) refused.push(`needs ${outcome.workspace} bytes of workspace`);
      else return outcome;
    }
    return { refused };
  }

  /** The names of a plan's tensors and the addresses they stand for, ready to be executed. */
  bind(tensors: Tensors, workspace: bigint): bigint {
    const { image, filter, result, bias } = tensors;
    const named: [number, bigint][] = [[uid.image, image], [uid.filter, filter], [uid.result, result]];
    if (bias !== undefined) named.push([uid.bias, bias]);
    return this.#descriptors.build("CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR", [
      ["CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS", values.int64(named.map(([id]) => id))],
      ["CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS", values.pointers(named.map(([, address]) => address))],
      ["CUDNN_ATTR_VARIANT_PACK_WORKSPACE", values.pointers([workspace])],
    ]);
  }

  /** Destroys what {@link bind} made. */
  unbind(pack: bigint): void {
    this.#descriptors.destroy(pack);
  }

  /** Destroys everything. */
  close(): void {
    this.#descriptors.close();
  }

  /** Engine configurations as cuDNN lists them. Its results need descriptors to be there for them. */
  #offers(graph: bigint, mode: number, device: bigint | undefined): bigint[] {
    const descriptors = this.#descriptors;
    const heuristics = unsupportedIsNothing(() =>
      descriptors.build("CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR", [
        ["CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH", values.descriptors([graph])],
        ["CUDNN_ATTR_ENGINEHEUR_MODE", values.heuristicMode(mode)],
        ...(device === undefined
          ? []
          : [["CUDNN_ATTR_ENGINEHEUR_DEVICEPROP", values.descriptors([device])] as const]),
      ])
    );
    if (heuristics === undefined) return [];
    const configs = Array.from(
      { length: OFFERS },
      () => descriptors.create("CUDNN_BACKEND_ENGINECFG_DESCRIPTOR"),
    );
    const count = descriptors.get(heuristics, "CUDNN_ATTR_ENGINEHEUR_RESULTS", values.descriptors(configs));
    configs.splice(count).forEach((spare) => descriptors.destroy(spare));
    descriptors.destroy(heuristics);
    return configs;
  }

  #look(config: bigint): NonNullable<Candidate["outcome"]> {
    const descriptors = this.#descriptors;
    const notes = this.#notes(config);
    if (notes.has(numericalNote.CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)) {
      return { refused: "not deterministic" };
    }
    if (notes.has(numericalNote.CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)) {
      return { refused: "rounds its operands" };
    }
    if (notes.has(numericalNote.CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)) {
      return { refused: "rounds its sums on the way" };
    }
    if (this.spec.precision === "f32" && notes.has(numericalNote.CUDNN_NUMERICAL_NOTE_TENSOR_CORE)) {
      return { refused: "uses tensor cores, which round single precision" };
    }
    try {
      const plan = descriptors.build("CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR", [
        ...this.#plan,
        ["CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG", values.descriptors([config])],
      ]);
      const size = values.int64([0]);
      descriptors.get(plan, "CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE", size);
      return { plan, workspace: Number((size.data as BigInt64Array)[0]) };
    } catch (error) {
      // An engine may decline at this point; anything but "unsupported" is our mistake or cuDNN's.
      if (error instanceof LibraryError && isUnsupported(error.status)) return { refused: error.message };
      throw error;
    }
  }

  #notes(config: bigint): Set<number> {
    const descriptors = this.#descriptors;
    const engine = descriptors.create("CUDNN_BACKEND_ENGINE_DESCRIPTOR");
    try {
      descriptors.get(config, "CUDNN_ATTR_ENGINECFG_ENGINE", values.descriptors([engine]));
      const data = new Int32Array(numericalNote.CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
      const count = descriptors.get(engine, "CUDNN_ATTR_ENGINE_NUMERICAL_NOTE", {
        type: attributeType.CUDNN_TYPE_NUMERICAL_NOTE,
        count: data.length,
        data,
      });
      return new Set(data.subarray(0, count));
    } finally {
      descriptors.destroy(engine);
    }
  }
}

/** Engines asked for in each mode, at most. */
const OFFERS = 16;

/** Gives undefined where cuDNN says that it cannot do this; other refusals are raised. */
function unsupportedIsNothing<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch (error) {
    if (error instanceof LibraryError && isUnsupported(error.status)) return undefined;
    throw error;
  }
}

/** cuDNN lists extents as batch, channels, height, width whatever the layout; the strides say that channels are last. */
function tensor(
  descriptors: Descriptors,
  id: number,
  [n, h, w, c]: Shape,
  precision: Precision,
  more: readonly Attribute[] = [],
): bigint {
  return descriptors.build("CUDNN_BACKEND_TENSOR_DESCRIPTOR", [
    ["CUDNN_ATTR_TENSOR_DATA_TYPE", values.dataType(dataTypeOf(precision))],
    ["CUDNN_ATTR_TENSOR_DIMENSIONS", values.int64([n, c, h, w])],
    ["CUDNN_ATTR_TENSOR_STRIDES", values.int64([h * w * c, 1, w * c, c])],
    ["CUDNN_ATTR_TENSOR_UNIQUE_ID", values.int64([id])],
    ["CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT", values.int64([16])],
    ...more,
  ]);
}

/** A tensor that lies nowhere, between two operations: single precision, so that only what is written is rounded. */
function virtualTensor(descriptors: Descriptors, id: number, shape: Shape): bigint {
  return tensor(descriptors, id, shape, "f32", [["CUDNN_ATTR_TENSOR_IS_VIRTUAL", values.boolean(true)]]);
}

/** Which attributes carry an op's parts. */
const operations = {
  conv: ["CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR", "FORWARD", "X", "W", "Y"],
  convInputGrad: [
    "CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR",
    "BWD_DATA",
    "DX",
    "W",
    "DY",
  ],
  convFilterGrad: [
    "CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR",
    "BWD_FILTER",
    "X",
    "DW",
    "DY",
  ],
} as const;

/** The graph of one convolution. With a described card it belongs to no handle. */
function operationGraph(descriptors: Descriptors, spec: Spec, target: PlanFor): bigint {
  const { strides, padding, dilation } = spec.attrs;
  const convolution = descriptors.build("CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR", [
    ["CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS", values.int64([2])],
    ["CUDNN_ATTR_CONVOLUTION_COMP_TYPE", values.dataType(cudnnData.CUDNN_DATA_FLOAT)],
    ["CUDNN_ATTR_CONVOLUTION_CONV_MODE", values.convolutionMode(cudnnMode.CUDNN_CROSS_CORRELATION)],
    ["CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS", values.int64([padding[0][0], padding[1][0]])],
    ["CUDNN_ATTR_CONVOLUTION_POST_PADDINGS", values.int64([padding[0][1], padding[1][1]])],
    ["CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES", values.int64(strides)],
    ["CUDNN_ATTR_CONVOLUTION_DILATIONS", values.int64(dilation)],
  ]);
  const [type, direction, image, filter, result] = operations[spec.op];
  const named = (name: string, value: Attribute[1]): Attribute => [
    `CUDNN_ATTR_OPERATION_CONVOLUTION_${direction}_${name}` as Attribute[0],
    value,
  ];
  const { precision } = spec;
  const written = spec.epilogue === "none"
    ? tensor(descriptors, uid.result, spec.result, precision)
    : virtualTensor(descriptors, uid.bare, spec.result);
  const operation = descriptors.build(type, [
    named("CONV_DESC", values.descriptors([convolution])),
    named(image, values.descriptors([tensor(descriptors, uid.image, spec.image, precision)])),
    named(filter, values.descriptors([tensor(descriptors, uid.filter, spec.filter, precision)])),
    named(result, values.descriptors([written])),
    named("ALPHA", values.float(1)),
    named("BETA", values.float(0)),
  ]);
  return descriptors.build("CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR", [
    [
      "CUDNN_ATTR_OPERATIONGRAPH_OPS",
      values.descriptors([operation, ...epilogueOperations(descriptors, spec, written)]),
    ],
    ...("handle" in target
      ? [["CUDNN_ATTR_OPERATIONGRAPH_HANDLE", values.handle(target.handle)] as const]
      : []),
  ]);
}

/** The operation on a convolution's result, which lies nowhere before it: add the bias. */
function epilogueOperations(descriptors: Descriptors, spec: Spec, bare: bigint): bigint[] {
  if (spec.epilogue === "none") return [];
  const sum = descriptors.build("CUDNN_BACKEND_POINTWISE_DESCRIPTOR", [
    ["CUDNN_ATTR_POINTWISE_MODE", values.pointwiseMode(pointwiseMode.CUDNN_POINTWISE_ADD)],
    ["CUDNN_ATTR_POINTWISE_MATH_PREC", values.dataType(cudnnData.CUDNN_DATA_FLOAT)],
  ]);
  const bias = tensor(descriptors, uid.bias, [1, 1, 1, spec.result[3]], spec.precision);
  const result = tensor(descriptors, uid.result, spec.result, spec.precision);
  return [
    descriptors.build("CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR", [
      ["CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR", values.descriptors([sum])],
      ["CUDNN_ATTR_OPERATION_POINTWISE_XDESC", values.descriptors([bare])],
      ["CUDNN_ATTR_OPERATION_POINTWISE_BDESC", values.descriptors([bias])],
      ["CUDNN_ATTR_OPERATION_POINTWISE_YDESC", values.descriptors([result])],
    ]),
  ];
}
