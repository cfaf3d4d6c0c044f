import { i32 } from "./wasm/scalars.ts";
import { f32x4, v128 } from "./wasm/vectors.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";
import { transposeSquare } from "./blocks.ts";
import type { Correlation } from "./conv_geometry.ts";
import { FAN } from "./long_sum.ts";
import type { Routine } from "./routine.ts";
import { LANES, TILE_COLUMNS, WORD } from "./tile.ts";

// A filter's gradient is the sum of partial gradients. Its terms are cut into chunks of units; a chunk has one or two.

/** The most chunks of a gradient. */
export const MOST_CHUNKS = 16;
/**
 * Bytes of workspace for the chunks' partial gradients, without those that sums are carried to. For large filters the
 * tasks divide the output channels instead.
 */
export const WORKSPACE_BYTES = 4 * 2 ** 20;

/** The layout of a filter's partial gradients. */
export interface PartialGradients {
  readonly chunks: number;
  /** Partial gradients of a chunk: {@link partialsOf}. */
  readonly partials: number;
  /** Blocks of eight output channels in a group. */
  readonly blocks: number;
  /** Filter elements for one output channel. */
  readonly depth: number;
  /** Words of one partial gradient: `[group][block][depth][8]`. */
  readonly partialWords: number;
}

/** Partial gradients of a chunk: the sum of its units and, if there are many, one that the sum is carried to. */
export function partialsOf(chunkUnits: number): number {
  return chunkUnits > FAN ? 2 : 1;
}

/** The number of units after which their sum is carried. */
export function unitsTogether(chunkUnits: number): number {
  return Math.max(FAN, Math.ceil(Math.sqrt(chunkUnits)));
}

/** Adds a vector to the one `bytes` after it, and clears it. */
export function carry(f: FunctionBuilder, at: Local<"i32">, bytes: number): void {
  f.do(v128.store(at, f32x4.add(v128.load(at, bytes), v128.load(at)), bytes));
  f.do(v128.store(at, f32x4.constant(0)));
}

/** Adds partial gradients in order and turns panels `[depth][8]` into rows of the KRSC filter. */
export function sumGradients(
  { groups, target }: Correlation,
  plan: PartialGradients,
): Routine {
  const { blocks, depth, partialWords } = plan;
  const chunks = plan.chunks * plan.partials;
  const groupColumns = target[2] / groups;
  return {
    key: `sumGradients ${[groups, groupColumns, chunks, depth].join()}`,
    tasks: groups * blocks,
    operands: 2,
    scratch: 0,
    build({ f, operands: [from, to], task }) {
      const column = f.int(i32.mul(i32.remU(task, blocks), TILE_COLUMNS));
      const row = f.int(i32.add(i32.mul(i32.divU(task, blocks), groupColumns), column));
      const width = f.int(i32.min(TILE_COLUMNS, i32.sub(groupColumns, column)));
      f.increment(from, i32.mul(task, depth * TILE_COLUMNS * WORD));
      f.increment(to, i32.mul(row, depth * WORD));
      const [half, element, chunk, at, out] = [0, 0, 0, 0, 0].map((value) => f.int(value));
      /** Sums of `count` successive filter elements, four output channels each. */
      const sums = (count: number) => {
        const vectors = Array.from({ length: count }, () => f.local("v128"));
        f.set(at, i32.add(i32.add(from, i32.mul(element, TILE_COLUMNS * WORD)), i32.mul(half, WORD)));
        vectors.forEach((x, e) => f.set(x, v128.load(at, e * TILE_COLUMNS * WORD)));
        f.for(chunk, 1, chunks, 1, () => {
          f.increment(at, partialWords * WORD);
          vectors.forEach((x, e) => f.set(x, f32x4.add(x, v128.load(at, e * TILE_COLUMNS * WORD))));
        });
        f.set(out, i32.add(to, i32.mul(i32.add(i32.mul(half, depth), element), WORD)));
        return vectors;
      };
      f.for(half, 0, width, LANES, () => {
        f.for(element, 0, depth & -LANES, LANES, () => {
          const rows = transposeSquare(f, sums(LANES));
          rows.forEach((vector, k) => {
            f.if(i32.ltS(i32.add(half, k), width), () => f.do(v128.store(out, vector, k * depth * WORD)));
          });
        });
        f.for(element, depth & -LANES, depth, 1, () => {
          const [vector] = sums(1);
          for (let k = 0; k < LANES; k++) {
            f.if(
              i32.ltS(i32.add(half, k), width),
              () => f.do(v128.store32Lane(out, vector, k, k * depth * WORD)),
            );
          }
        });
      });
    },
  };
}
