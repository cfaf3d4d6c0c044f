/**
 * oneDNN's engine of one device: makes primitives for shapes, and keeps them.
 *
 * @module
 */
import { dnnlArgument } from "../../../../ffi/onednn_constants.ts";
import type { OnednnLibrary } from "../../../../ffi/onednn_library.ts";
import { type Convolution, type MadeConvolution, makeConvolution, SLOW } from "./convolution.ts";
import { type Layout, type Made, Maker } from "./maker.ts";

/** Channels of a part of a filter: a multiple of every block of a format. */
const LEAST_CHANNELS = 64;

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

  /**
   * Copies of `parts` equal parts of a filter from one format to another, cut along its output or its input channels, or
   * one copy of the whole where the formats cannot be cut so. `plain` is the layout that is not a handle.
   */
  reorder(plain: Layout, format: bigint, to: "plain" | "format", parts: number): readonly Made[] {
    return this.#once(JSON.stringify(["reorder", plain, `${format}`, to, parts]), () => {
      const layout = this.#maker.dense(plain);
      const [source, target] = to === "format" ? [layout, format] : [format, layout];
      const made = parts === 1 ? undefined : [0, 1].flatMap((axis) => {
        const cut = this.#reorderParts(plain.sizes, source, target, axis, parts);
        return cut === undefined ? [] : [cut];
      })[0];
      return made ?? [this.#reorder(source, target)];
    });
  }

  #reorderParts(
    sizes: readonly number[],
    source: bigint,
    target: bigint,
    axis: number,
    parts: number,
  ): readonly Made[] | undefined {
    const size = (sizes[axis] ?? 0) / parts;
    if (size % LEAST_CHANNELS !== 0) return undefined;
    const made: Made[] = [];
    for (let part = 0; part < parts; part++) {
      const [from, to] = [source, target].map((each) =>
        this.#maker.slice(each, sizes, axis, part * size, size)
      );
      if (from === undefined || to === undefined) return undefined;
      made.push(this.#reorder(from, to));
    }
    return made;
  }

  #reorder(source: bigint, target: bigint): Made {
    const { dnnl, engine, attributes } = this.#maker;
    const description = this.#maker.describe((out) =>
      dnnl.dnnl_reorder_primitive_desc_create(out, source, engine, target, engine, attributes)
    );
    if (description === undefined) throw new Error("oneDNN cannot turn a filter into its own format");
    return this.#maker.primitive(description, [
      [dnnlArgument.DNNL_ARG_SRC, source],
      [dnnlArgument.DNNL_ARG_DST, target],
    ]);
  }

  #once<T>(key: string, make: () => T): T {
    if (!this.#known.has(key)) this.#known.set(key, make());
    return this.#known.get(key) as T; // keys of different methods differ
  }
}
