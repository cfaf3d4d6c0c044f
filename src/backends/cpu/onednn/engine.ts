/**
 * oneDNN's engine of one device: makes primitives for shapes, and keeps them.
 *
 * @module
 */
import { outU64, textAt } from "../../../../ffi/memory.ts";
import { checkOnednn, type Onednn } from "../../../../ffi/onednn.ts";
import {
  DNNL_MAX_NDIMS,
  dnnlArgument,
  dnnlEngine,
  dnnlKind,
  dnnlQuery,
  dnnlScratchpad,
  dnnlStatus,
  dnnlTag,
  dnnlType,
} from "../../../../ffi/onednn_constants.ts";
import type { OnednnLibrary } from "../../../../ffi/onednn_library.ts";
import type { Primitive } from "./primitives.ts";

/** A primitive, and what its callers provide. */
export interface Made extends Primitive {
  /** The implementation that oneDNN chose. */
  readonly implementation: string;
  /** Bytes of scratch memory of each thread that executes it. */
  readonly scratch: number;
}

/** A tensor: its sizes, and the distance between elements of each axis. */
export interface Layout {
  readonly sizes: readonly number[];
  readonly strides: readonly number[];
}

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

/** Implementations that WebAssembly outdoes: plain loops, and convolutions by im2col. */
const SLOW = /^ref|simple|^(x64:)?gemm/;

/** An engine, and what was made with it. */
export class OnednnEngine {
  readonly #dnnl: Onednn;
  readonly #engine: bigint;
  readonly #attributes: bigint;
  readonly #known = new Map<string, unknown>();
  readonly #close: (() => void)[] = [];
  #primitives = 0;

  /** Starts an engine. OpenMP has one thread from now on in this thread, for which primitives are made. */
  constructor({ onednn, openmp }: NonNullable<OnednnLibrary["opened"]>) {
    this.#dnnl = onednn;
    openmp?.omp_set_num_threads(1);
    const made = outU64();
    const { dnnl_cpu } = dnnlEngine;
    checkOnednn(onednn, onednn.dnnl_engine_create(made.buffer, dnnl_cpu, 0n), "starting its engine");
    this.#engine = made.value;
    this.#close.push(() => onednn.dnnl_engine_destroy(this.#engine));
    checkOnednn(onednn, onednn.dnnl_primitive_attr_create(made.buffer), "describing primitives");
    this.#attributes = made.value;
    this.#close.push(() => onednn.dnnl_primitive_attr_destroy(this.#attributes));
    const mode = dnnlScratchpad.dnnl_scratchpad_mode_user;
    checkOnednn(
      onednn,
      onednn.dnnl_primitive_attr_set_scratchpad_mode(this.#attributes, mode),
      "describing primitives",
    );
  }

  /** The engine's handle. */
  get handle(): bigint {
    return this.#engine;
  }

  /** Frees everything. No thread may execute a primitive any more. */
  close(): void {
    for (const close of this.#close.splice(0).toReversed()) close();
  }

  /** A convolution; undefined where oneDNN has none, or none that is fast. `format` demands one of the filter. */
  convolution(described: Convolution, format?: bigint): MadeConvolution | undefined {
    return this.#once(JSON.stringify(described) + (format ?? ""), () => this.#convolution(described, format));
  }

  /** `c = a · b` of matrices; undefined where oneDNN has none that is fast. */
  product(a: Layout, b: Layout, c: Layout): Made | undefined {
    return this.#once(JSON.stringify(["product", a, b, c]), () => {
      const dnnl = this.#dnnl;
      const [from, by, to] = [a, b, c].map((layout) => this.#dense(layout)) as [bigint, bigint, bigint];
      const description = this.#description((out) =>
        dnnl.dnnl_matmul_primitive_desc_create(out, this.#engine, from, by, 0n, to, this.#attributes)
      );
      if (description === undefined) return undefined;
      const { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST } = dnnlArgument;
      const parts = [[DNNL_ARG_SRC, from], [DNNL_ARG_WEIGHTS, by], [DNNL_ARG_DST, to]] as const;
      const primitive = this.#primitive(description, parts);
      return SLOW.test(primitive.implementation) ? undefined : primitive;
    });
  }

  /** A copy of a tensor from one format to another; `layout` is the one that is not a handle. */
  reorder(from: Layout | bigint, to: Layout | bigint): Made {
    const key = JSON.stringify(
      ["reorder", from, to],
      (_, value) => typeof value === "bigint" ? `${value}` : value,
    );
    return this.#once(key, () => {
      const dnnl = this.#dnnl;
      const [source, target] = [from, to].map((format) =>
        typeof format === "bigint" ? format : this.#dense(format)
      ) as [bigint, bigint];
      const description = this.#description((out) =>
        dnnl.dnnl_reorder_primitive_desc_create(
          out,
          source,
          this.#engine,
          target,
          this.#engine,
          this.#attributes,
        )
      );
      if (description === undefined) throw new Error("oneDNN cannot turn a filter into its own format");
      return this.#primitive(description, [
        [dnnlArgument.DNNL_ARG_SRC, source],
        [dnnlArgument.DNNL_ARG_DST, target],
      ]);
    });
  }

  #once<T>(key: string, make: () => T): T {
    if (!this.#known.has(key)) this.#known.set(key, make());
    return this.#known.get(key) as T; // keys of different methods differ
  }

  #convolution(described: Convolution, format: bigint | undefined): MadeConvolution | undefined {
    const dnnl = this.#dnnl, engine = this.#engine, attributes = this.#attributes;
    const image = this.#dense(described.image), y = this.#dense(described.y);
    const filter = format ?? this.#any(described.filter.sizes);
    const { strides, dilates, before, after } = described;
    const geometry = [strides, dilates, before, after].map(dimensions) as [Dims, Dims, Dims, Dims];
    const { dnnl_forward_training: training, dnnl_convolution_direct: direct } = dnnlKind;
    const hint = (filter: bigint) =>
      this.#description((out) =>
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
    const forward = hint(described.kind === "forward" ? filter : this.#any(described.filter.sizes));
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
      const primitive = this.#primitive(description, parts);
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
        const description = this.#description((out) =>
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
        const description = this.#description((out) =>
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

  /** A primitive's description; undefined where oneDNN has no such primitive. */
  #description(create: (out: BigUint64Array<ArrayBuffer>) => number): bigint | undefined {
    const made = new BigUint64Array(1);
    const status = create(made);
    if (status === dnnlStatus.dnnl_unimplemented || status === dnnlStatus.dnnl_invalid_arguments) {
      return undefined;
    }
    checkOnednn(this.#dnnl, status, "describing a primitive");
    const [description = 0n] = made;
    this.#close.push(() => this.#dnnl.dnnl_primitive_desc_destroy(description));
    return description;
  }

  #primitive(description: bigint, data: readonly (readonly [number, bigint])[]): Made {
    const dnnl = this.#dnnl, made = outU64();
    const query = dnnl.dnnl_primitive_desc_query(
      description,
      dnnlQuery.dnnl_query_impl_info_str,
      0,
      made.buffer,
    );
    checkOnednn(dnnl, query, "asking for an implementation");
    const implementation = textAt(made.value) ?? "";
    checkOnednn(dnnl, dnnl.dnnl_primitive_create(made.buffer, description), "making a primitive");
    const handle = made.value;
    this.#close.push(() => dnnl.dnnl_primitive_destroy(handle));
    const scratchpad = dnnl.dnnl_primitive_desc_query_md(description, dnnlQuery.dnnl_query_scratchpad_md, 0);
    const scratch = Number(dnnl.dnnl_memory_desc_get_size(scratchpad));
    const parts = data.map(([argument, format], at) => [argument, format, at] as const);
    if (scratch > 0) parts.push([dnnlArgument.DNNL_ARG_SCRATCHPAD, scratchpad, 3]);
    return { id: this.#primitives++, handle, parts, implementation, scratch };
  }

  /** The descriptor of a tensor whose elements lie where a layout says. */
  #dense({ sizes, strides }: Layout): bigint {
    return this.#descriptor((out) =>
      this.#dnnl.dnnl_memory_desc_create_with_strides(
        out,
        sizes.length,
        dimensions(sizes),
        dnnlType.dnnl_f32,
        dimensions(strides),
      )
    );
  }

  /** The descriptor of a tensor whose format oneDNN chooses. */
  #any(sizes: readonly number[]): bigint {
    return this.#descriptor((out) =>
      this.#dnnl.dnnl_memory_desc_create_with_tag(
        out,
        sizes.length,
        dimensions(sizes),
        dnnlType.dnnl_f32,
        dnnlTag.dnnl_format_tag_any,
      )
    );
  }

  #descriptor(create: (out: BigUint64Array<ArrayBuffer>) => number): bigint {
    const made = new BigUint64Array(1);
    checkOnednn(this.#dnnl, create(made), "describing a tensor");
    const [descriptor = 0n] = made;
    this.#close.push(() => this.#dnnl.dnnl_memory_desc_destroy(descriptor));
    return descriptor;
  }
}

type Dims = BigInt64Array<ArrayBuffer>;

/** A `dnnl_dims_t`. */
function dimensions(sizes: readonly number[]): Dims {
  const dims = new BigInt64Array(DNNL_MAX_NDIMS);
  sizes.forEach((size, axis) => dims[axis] = BigInt(size));
  return dims;
}
