/**
 * oneDNN's engine of one device: makes primitives for shapes, and keeps them.
 *
 * @module
 */
import { dnnlArgument } from "../../../../ffi/onednn_constants.ts";
import type { OnednnLibrary } from "../../../../ffi/onednn_library.ts";
import { type Convolution, type MadeConvolution, makeConvolution, SLOW } from "./convolution.ts";
import { type Layout, type Made, Maker } from "./maker.ts";

/** An engine, and what was made with it. */
export class OnednnEngine {
  readonly #maker: Maker;
  readonly #known = new Map<string, unknown>();

  /** Starts an engine. OpenMP has one thread from now on in this thread, for which primitives are made. */
  constructor(opened: NonNullable<OnednnLibrary["opened"]>) {
    this.#maker = new Maker(opened);
  }

  /** The engine's handle. */
  get handle(): bigint {
    return this.#maker.engine;
  }

  /** Frees everything. No thread may execute a primitive any more. */
  close(): void {
    this.#maker.close();
  }

  /** A convolution; undefined where oneDNN has none, or none that is fast. `format` demands one of the filter. */
  convolution(described: Convolution, format?: bigint): MadeConvolution | undefined {
    return this.#once(
      JSON.stringify(described) + (format ?? ""),
      () => makeConvolution(this.#maker, described, format),
    );
  }

  /** `c = a · b` of matrices, or `c += a · b`; undefined where oneDNN has none that is fast. */
  product(a: Layout, b: Layout, c: Layout, add = false): Made | undefined {
    return this.#once(JSON.stringify(["product", a, b, c, add]), () => {
      const { dnnl, engine, attributes, adding } = this.#maker;
      const [from, by, to] = [a, b, c].map((layout) => this.#maker.dense(layout)) as [bigint, bigint, bigint];
      const description = this.#maker.describe((out) =>
        dnnl.dnnl_matmul_primitive_desc_create(out, engine, from, by, 0n, to, add ? adding : attributes)
      );
      if (description === undefined) return undefined;
      const { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST } = dnnlArgument;
      const parts = [[DNNL_ARG_SRC, from], [DNNL_ARG_WEIGHTS, by], [DNNL_ARG_DST, to]] as const;
      const primitive = this.#maker.primitive(description, parts);
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
      const { dnnl, engine, attributes } = this.#maker;
      const [source, target] = [from, to].map((format) =>
        typeof format === "bigint" ? format : this.#maker.dense(format)
      ) as [bigint, bigint];
      const description = this.#maker.describe((out) =>
        dnnl.dnnl_reorder_primitive_desc_create(
          out,
          source,
          engine,
          target,
          engine,
          attributes,
        )
      );
      if (description === undefined) throw new Error("oneDNN cannot turn a filter into its own format");
      return this.#maker.primitive(description, [
        [dnnlArgument.DNNL_ARG_SRC, source],
        [dnnlArgument.DNNL_ARG_DST, target],
      ]);
    });
  }

  #once<T>(key: string, make: () => T): T {
    if (!this.#known.has(key)) this.#known.set(key, make());
    return this.#known.get(key) as T; // keys of different methods differ
  }
}
