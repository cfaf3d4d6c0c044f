/**
 * Descriptors and primitives of oneDNN.
 *
 * @module
 */
import { outU64, textAt } from "../../../../ffi/memory.ts";
import { checkOnednn, type Onednn } from "../../../../ffi/onednn.ts";
import {
  DNNL_MAX_NDIMS,
  dnnlArgument,
  dnnlEngine,
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

/** The dtypes of what oneDNN computes with. */
export type Floats = "f32" | "bf16";

/** A tensor: its dtype, its sizes, and the distance between elements of each axis. */
export interface Layout {
  readonly dtype: Floats;
  readonly sizes: readonly number[];
  readonly strides: readonly number[];
}

/** Makes descriptors and primitives of one engine, and frees them together. */
export class Maker {
  /** The library's functions. */
  readonly dnnl: Onednn;
  /** The engine's handle. */
  readonly engine: bigint;
  /** The attributes of a primitive. */
  readonly attributes: bigint;
  /** Those of one that adds its result to what is there. */
  readonly adding: bigint;
  readonly #close: (() => void)[] = [];
  #primitives = 0;

  /** Starts an engine. OpenMP has one thread from now on in this thread, for which primitives are made. */
  constructor({ onednn, openmp }: NonNullable<OnednnLibrary["opened"]>) {
    this.dnnl = onednn;
    openmp?.omp_set_num_threads(1);
    const made = outU64();
    const { dnnl_cpu } = dnnlEngine;
    checkOnednn(onednn, onednn.dnnl_engine_create(made.buffer, dnnl_cpu, 0n), "starting its engine");
    this.engine = made.value;
    this.#close.push(() => onednn.dnnl_engine_destroy(this.engine));
    this.attributes = this.#makeAttributes();
    this.adding = this.#makeAttributes();
    checkOnednn(onednn, onednn.dnnl_post_ops_create(made.buffer), "describing primitives");
    const sum = made.value;
    this.#close.push(() => onednn.dnnl_post_ops_destroy(sum));
    checkOnednn(onednn, onednn.dnnl_post_ops_append_sum(sum, 1, 0, 0), "describing primitives");
    const status = onednn.dnnl_primitive_attr_set_post_ops(this.adding, sum);
    checkOnednn(onednn, status, "describing primitives");
  }

  /** Attributes of primitives whose callers provide scratchpads. */
  #makeAttributes(): bigint {
    const made = outU64();
    checkOnednn(this.dnnl, this.dnnl.dnnl_primitive_attr_create(made.buffer), "describing primitives");
    const attributes = made.value;
    this.#close.push(() => this.dnnl.dnnl_primitive_attr_destroy(attributes));
    const mode = dnnlScratchpad.dnnl_scratchpad_mode_user;
    const status = this.dnnl.dnnl_primitive_attr_set_scratchpad_mode(attributes, mode);
    checkOnednn(this.dnnl, status, "describing primitives");
    return attributes;
  }

  /** Frees everything. No thread may execute a primitive any more. */
  close(): void {
    for (const close of this.#close.splice(0).toReversed()) close();
  }

  /** A primitive's description; undefined where oneDNN has no such primitive. */
  describe(create: (out: BigUint64Array<ArrayBuffer>) => number): bigint | undefined {
    const made = new BigUint64Array(1);
    const status = create(made);
    if (status === dnnlStatus.dnnl_unimplemented || status === dnnlStatus.dnnl_invalid_arguments) {
      return undefined;
    }
    checkOnednn(this.dnnl, status, "describing a primitive");
    const [description = 0n] = made;
    this.#close.push(() => this.dnnl.dnnl_primitive_desc_destroy(description));
    return description;
  }

  /** The primitive of a description; `data` are its arguments and their descriptors, in the order of addresses. */
  primitive(description: bigint, data: readonly (readonly [number, bigint])[]): Made {
    const dnnl = this.dnnl, made = outU64();
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
  dense({ dtype, sizes, strides }: Layout): bigint {
    return this.#descriptor((out) =>
      this.dnnl.dnnl_memory_desc_create_with_strides(
        out,
        sizes.length,
        dimensions(sizes),
        dnnlType[`dnnl_${dtype}`],
        dimensions(strides),
      )
    );
  }

  /** The descriptor of a tensor whose format oneDNN chooses. */
  any({ dtype, sizes }: Pick<Layout, "dtype" | "sizes">): bigint {
    return this.#descriptor((out) =>
      this.dnnl.dnnl_memory_desc_create_with_tag(
        out,
        sizes.length,
        dimensions(sizes),
        dnnlType[`dnnl_${dtype}`],
        dnnlTag.dnnl_format_tag_any,
      )
    );
  }

  /** The descriptor of `size` indices from `first` of one axis; undefined where its format cannot be cut there. */
  slice(
    descriptor: bigint,
    sizes: readonly number[],
    axis: number,
    first: number,
    size: number,
  ): bigint | undefined {
    const made = new BigUint64Array(1);
    const extents = dimensions(sizes.with(axis, size));
    const offsets = dimensions(sizes.map((_, each) => each === axis ? first : 0));
    const status = this.dnnl.dnnl_memory_desc_create_submemory(made, descriptor, extents, offsets);
    if (status === dnnlStatus.dnnl_unimplemented || status === dnnlStatus.dnnl_invalid_arguments) {
      return undefined;
    }
    checkOnednn(this.dnnl, status, "describing a part of a tensor");
    const [part = 0n] = made;
    this.#close.push(() => this.dnnl.dnnl_memory_desc_destroy(part));
    return part;
  }

  #descriptor(create: (out: BigUint64Array<ArrayBuffer>) => number): bigint {
    const made = new BigUint64Array(1);
    checkOnednn(this.dnnl, create(made), "describing a tensor");
    const [descriptor = 0n] = made;
    this.#close.push(() => this.dnnl.dnnl_memory_desc_destroy(descriptor));
    return descriptor;
  }
}

/** A `dnnl_dims_t`. */
export type Dims = BigInt64Array<ArrayBuffer>;

/** Sizes, strides or paddings as the library takes them. */
export function dimensions(sizes: readonly number[]): Dims {
  const dims = new BigInt64Array(DNNL_MAX_NDIMS);
  sizes.forEach((size, axis) => dims[axis] = BigInt(size));
  return dims;
}
