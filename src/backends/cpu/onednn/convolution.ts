/**
 * oneDNN's primitives for convolutions and their gradients.
 *
 * @module
 */
import { dnnlArgument, dnnlKind, dnnlQuery } from "../../../../ffi/onednn_constants.ts";
import type { Shape } from "../../../trace/dtype.ts";
import type { ConvAttrs } from "../../../trace/ops.ts";
import type { ConvShapes } from "../conv.ts";
import { dimensions, type Dims, type Floats, type Layout, type Made, type Maker } from "./maker.ts";

/** A convolution of some images, or one of its gradients. */
export interface Convolution {
  readonly kind: "forward" | "inputGrad" | "filterGrad";
  readonly image: Layout;
  /** `[O, I, H, W]`, or `[groups, O, I, H, W]`. */
  readonly filter: Layout;
  readonly y: Layout;
  /** Of height and width. */
  readonly strides: readonly number[];
  /** Rows and columns between taps: 0 for an ordinary convolution. */
  readonly dilates: readonly number[];
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** A convolution's primitive, and the format that oneDNN chose for the filter or its gradient. */
export interface MadeConvolution {
  readonly primitive: Made;
  readonly filterFormat: bigint;
  readonly filterBytes: number;
}

/** Shapes of a convolution, and the dtype of its operands and result. */
export interface TypedShapes extends ConvShapes {
  readonly dtype: Floats;
}

/** The number of elements of a shape. */
export const product = (sizes: readonly number[]): number => sizes.reduce((all, size) => all * size, 1);

/** An NHWC image as oneDNN orders axes: N, C, H, W. */
function imageLayout(dtype: Floats, images: number, [, h = 1, w = 1, c = 1]: Shape): Layout {
  return { dtype, sizes: [images, c, h, w], strides: [h * w * c, 1, w * c, c] };
}

/** A KRSC filter: [groups,] O, I, H, W. */
export function filterLayout(dtype: Floats, [k = 1, r = 1, s = 1, c = 1]: Shape, groups: number): Layout {
  const sizes = [k / groups, c, r, s], strides = [r * s * c, 1, s * c, c];
  if (groups === 1) return { dtype, sizes, strides };
  return { dtype, sizes: [groups, ...sizes], strides: [k / groups * r * s * c, ...strides] };
}

/** The convolution of some images, as oneDNN describes it. */
export function described(
  kind: Convolution["kind"],
  images: number,
  { dtype, image, filter, y }: TypedShapes,
  { strides, padding, dilation, groups }: ConvAttrs,
): Convolution {
  return {
    kind,
    image: imageLayout(dtype, images, image),
    // Partial gradients stay f32 until they are added.
    filter: filterLayout(kind === "filterGrad" ? "f32" : dtype, filter, groups),
    y: imageLayout(dtype, images, y),
    strides,
    dilates: dilation.map((distance) => distance - 1),
    before: padding.map(([first]) => first),
    after: padding.map(([, last]) => last),
  };
}

/** Implementations that WebAssembly outdoes: plain loops, and convolutions by im2col. */
export const SLOW = /^ref|simple|^x64:gemm|^gemm:(jit|ref)$/;

/** A convolution; undefined where oneDNN has none, or none that is fast. `format` demands one of the filter. */
export function makeConvolution(
  maker: Maker,
  described: Convolution,
  format?: bigint,
): MadeConvolution | undefined {
  const { dnnl, engine, attributes } = maker;
  const image = maker.dense(described.image), y = maker.dense(described.y);
  const filter = format ?? maker.any(described.filter);
  const { strides, dilates, before, after } = described;
  const geometry = [strides, dilates, before, after].map(dimensions) as [Dims, Dims, Dims, Dims];
  const { dnnl_forward_training: training, dnnl_convolution_direct: direct } = dnnlKind;
  const hint = (filter: bigint) =>
    maker.describe((out) =>
      dnnl.dnnl_convolution_forward_primitive_desc_create(
        out,
        engine,
        training,
        direct,
        image,
        filter,
        0n,
        y,
        ...geometry,
        attributes,
      )
    );
  const { dtype } = described.image; // a filter's gradient may be f32 where images are bf16
  const forward = hint(described.kind === "forward" ? filter : maker.any({ ...described.filter, dtype }));
  if (forward === undefined) return undefined;
  const { DNNL_ARG_SRC, DNNL_ARG_DST, DNNL_ARG_WEIGHTS } = dnnlArgument;
  const { DNNL_ARG_DIFF_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS } = dnnlArgument;
  const { dnnl_query_weights_md, dnnl_query_diff_weights_md } = dnnlQuery;
  const finish = (
    description: bigint | undefined,
    query: number,
    [a, b, c]: readonly [[number, bigint], [number, bigint], [number, bigint]],
    filterAt: 1 | 2,
  ): MadeConvolution | undefined => {
    if (description === undefined) return undefined;
    const chosen = dnnl.dnnl_primitive_desc_query_md(description, query, 0);
    const parts = [a, b, c].map(([argument, format], at) =>
      [argument, at === filterAt ? chosen : format] as const
    );
    const primitive = maker.primitive(description, parts);
    if (SLOW.test(primitive.implementation)) return undefined;
    const filterBytes = Number(dnnl.dnnl_memory_desc_get_size(chosen));
    return { primitive, filterFormat: chosen, filterBytes };
  };
  switch (described.kind) {
    case "forward":
      return finish(forward, dnnl_query_weights_md, [
        [DNNL_ARG_SRC, image],
        [DNNL_ARG_WEIGHTS, filter],
        [DNNL_ARG_DST, y],
      ], 1);
    case "inputGrad": {
      const description = maker.describe((out) =>
        dnnl.dnnl_convolution_backward_data_primitive_desc_create(
          out,
          engine,
          direct,
          image,
          filter,
          y,
          ...geometry,
          forward,
          attributes,
        )
      );
      return finish(description, dnnl_query_weights_md, [
        [DNNL_ARG_DIFF_DST, y],
        [DNNL_ARG_WEIGHTS, filter],
        [DNNL_ARG_DIFF_SRC, image],
      ], 1);
    }
    case "filterGrad": {
      const description = maker.describe((out) =>
        dnnl.dnnl_convolution_backward_weights_primitive_desc_create(
          out,
          engine,
          direct,
          image,
          filter,
          0n,
          y,
          ...geometry,
          forward,
          attributes,
        )
      );
      return finish(description, dnnl_query_diff_weights_md, [
        [DNNL_ARG_SRC, image],
        [DNNL_ARG_DIFF_DST, y],
        [DNNL_ARG_DIFF_WEIGHTS, filter],
      ], 2);
    }
  }
}
