import { MAX_RUN } from "./loops.ts";

/**
 * What kernels are shaped by. A software adapter (llvmpipe) runs eight invocations as the lanes of one vector: each of
 * its loads is a loop over the lanes, some eighty cycles for four elements, and a barrier costs hundreds of products;
 * so it wants few invocations with large register blocks, and no workgroup memory. Hardware wants many invocations and
 * blocks that fit its registers: 8 × 8 is 64 accumulators and 16 loads of four elements for 256 products, neighbours
 * reading the same cache lines. Blocks for llvmpipe were chosen by measurement (bench/webgpu_blocks.ts); those for
 * hardware are unmeasured.
 */
export interface Variant {
  /** Which kind of adapter it is for. */
  readonly kind: "software" | "hardware";
  /** Invocations that keep the machine busy. */
  readonly busy: number;
  /** Terms of a sum that an invocation loops over, at most; {@link MAX_RUN}, but fewer in tests. */
  readonly run: number;
  /** Invocations in a workgroup of element-wise kernels. */
  readonly group: number;
  /** Invocations in a workgroup of register-blocked kernels. */
  readonly blockedGroup: number;
  /** 4×4 blocks a convolution or product holds along each side, at most. */
  readonly blocks: { readonly rows: number; readonly columns: number };
  /** The same for the filter gradient: output channels, input channels. */
  readonly filterBlocks: { readonly rows: number; readonly columns: number };
}

/** The table of variants. */
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
