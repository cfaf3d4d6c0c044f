import { cudnnData, cudnnMode, pointwiseMode } from "../../../ffi/cudnn_constants.ts";
import type { Precision } from "../../compile/plan.ts";
import { type ConvSpec, dataTypeOf } from "./conv.ts";
import type { Extents } from "../extents.ts";
import { type Attribute, type Descriptors, values } from "./descriptors.ts";

/** The card that cuDNN plans for: one that is open, by its handle, or one that is described and need not exist. */
export type PlanFor = { readonly handle: bigint } | { readonly description: Uint8Array<ArrayBuffer> };

/** The identifiers of a graph's tensors; `bare` is a convolution's result before its epilogue. */
export const uid = { image: 1, filter: 2, result: 3, bias: 4, bare: 5 } as const;

/**
 * A tensor descriptor of an NHWC (or KRSC) shape. cuDNN lists extents as batch, channels, height, width whatever the
 * layout; the strides tell that channels are last.
 */
function tensor(
  descriptors: Descriptors,
  id: number,
  [n, h, w, c]: Extents,
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

/** A tensor between two operations that never reaches memory; f32, so that only the final result is rounded. */
function virtualTensor(descriptors: Descriptors, id: number, shape: Extents): bigint {
  return tensor(descriptors, id, shape, "f32", [["CUDNN_ATTR_TENSOR_IS_VIRTUAL", values.boolean(true)]]);
}

/** For each op: its descriptor type, and the ends of the names of its attributes. */
const operations = {
  conv: {
    type: "CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR",
    direction: "FORWARD",
    image: "FORWARD_X",
    filter: "FORWARD_W",
    result: "FORWARD_Y",
  },
  convInputGrad: {
    type: "CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR",
    direction: "BWD_DATA",
    image: "BWD_DATA_DX",
    filter: "BWD_DATA_W",
    result: "BWD_DATA_DY",
  },
  convFilterGrad: {
    type: "CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR",
    direction: "BWD_FILTER",
    image: "BWD_FILTER_X",
    filter: "BWD_FILTER_DW",
    result: "BWD_FILTER_DY",
  },
} as const;

/** The name of an attribute of a convolution. */
function attribute<S extends string>(end: S): `CUDNN_ATTR_OPERATION_CONVOLUTION_${S}` {
  return `CUDNN_ATTR_OPERATION_CONVOLUTION_${end}`;
}

/** The operation graph of one convolution with its epilogue. For a described card it belongs to no handle. */
export function operationGraph(descriptors: Descriptors, spec: ConvSpec, target: PlanFor): bigint {
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
  const { type, direction, image, filter, result } = operations[spec.op];
  const { precision } = spec;
  const written = spec.epilogue === "none"
    ? tensor(descriptors, uid.result, spec.result, precision)
    : virtualTensor(descriptors, uid.bare, spec.result);
  const operation = descriptors.build(type, [
    [attribute(`${direction}_CONV_DESC` as const), values.descriptors([convolution])],
    [attribute(image), values.descriptors([tensor(descriptors, uid.image, spec.image, precision)])],
    [attribute(filter), values.descriptors([tensor(descriptors, uid.filter, spec.filter, precision)])],
    [attribute(result), values.descriptors([written])],
    [attribute(`${direction}_ALPHA` as const), values.float(1)],
    [attribute(`${direction}_BETA` as const), values.float(0)],
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

/** The operations that follow a convolution: the addition of the bias to `bare`, if the spec has one. */
function epilogueOperations(descriptors: Descriptors, spec: ConvSpec, bare: bigint): bigint[] {
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
