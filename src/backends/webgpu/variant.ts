import { MAX_RUN } from "./loops.ts";

/**
 * The shape of kernels for one kind of adapter.
 *
 * A software adapter (llvmpipe) runs eight invocations as the lanes of one vector. Each load is a loop over the lanes,
 * some eighty cycles for four elements, and a barrier costs as much as hundreds of products; so it runs best with few
 * invocations, large register blocks and no workgroup memory. Hardware needs many invocations, and blocks that fit its
 * registers: 8 × 8 takes 64 accumulators and 16 loads of four elements for 256 products, and neighbours read the same
 * cache lines. The blocks for llvmpipe were chosen by measurement (bench/webgpu_blocks.ts); those for hardware have not
 * been measured.
 */
export interface Variant {
  /** The kind of adapter. */
  readonly kind: "software" | "hardware";
  /** The number of invocations that keep the device busy. */
  readonly busy: number;
  /** The most terms of a sum that one invocation loops over: {@link MAX_RUN}, or fewer in tests. */
  readonly run: number;
  /** The workgroup size of element-wise kernels. */
  readonly group: number;
  /** The workgroup size of register-blocked kernels. */
  readonly blockedGroup: number;
  /** The most 4×4 blocks along each side of a tile of a convolution or matrix product. */
  readonly blocks: { readonly rows: number; readonly columns: number };
  /** The same for the filter gradient: output channels, input channels. */
  readonly filterBlocks: { readonly rows: number; readonly columns: number };
}

/** The variant for each kind of adapter. */
export const variants: { readonly [K in Variant["kind"]]: Variant } = {
  software: {
    kind: "software",
    busy: 512,
    run: MAX_RUN,
    group: 64,
    blockedGroup: 16,
    blocks: { rows: 2, columns: 4 },
    filterBlocks: { rows: 4, columns: 2 },
  },
  hardware: {
    kind: "hardware",
    busy: 16384,
    run: MAX_RUN,
    group: 64,
    blockedGroup: 64,
    blocks: { rows: 2, columns: 2 },
    filterBlocks: { rows: 2, columns: 2 },
  },
};
