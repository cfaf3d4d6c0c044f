import { i32, int } from "./wasm/scalars.ts";
import { copyWords, packTransposed } from "./blocks.ts";
import { type Correlation, correlationText } from "./conv_geometry.ts";
import type { Routine } from "./routine.ts";
import { TILE_COLUMNS, WORD } from "./tile.ts";

/**
 * A filter is packed for a correlation as panels `[taps][source channels][8 target channels]`, phase by phase, group by
 * group, block by block, in the order that the inner loop reads.
 */

const blocksOf = ({ groups, target }: Correlation): number => Math.ceil(target[2] / groups / TILE_COLUMNS);

const panelWords = ({ groups, source, phases }: Correlation, phase: number): number =>
  phases[phase].row.taps * phases[phase].column.taps * (source[2] / groups) * TILE_COLUMNS;

/** Words before a phase's panels. */
export function panelsBefore(correlation: Correlation, phase: number): number {
  let words = 0;
  for (let p = 0; p < phase; p++) {
    words += correlation.groups * blocksOf(correlation) * panelWords(correlation, p);
  }
  return words;
}

/** Bytes of a packed filter. */
export function packedBytes(correlation: Correlation): number {
  return panelsBefore(correlation, correlation.phases.length) * WORD;
}

/** Packs the KRSC filter of a forward convolution; the operands are the filter and its panels. */
export function packForward(correlation: Correlation): Routine {
  const { groups, target } = correlation;
  const blocks = blocksOf(correlation);
  const columns = target[2] / groups;
  const depth = panelWords(correlation, 0) / TILE_COLUMNS;
  return {
    key: `packForward ${[groups, columns, depth].join()}`,
    tasks: groups * blocks,
    operands: 2,
    scratch: 0,
    build({ f, operands: [from, to], task }) {
      const first = f.int(i32.mul(i32.remU(task, blocks), TILE_COLUMNS));
      const row = i32.add(i32.mul(i32.divU(task, blocks), columns), first);
      packTransposed(
        f,
        i32.add(from, i32.mul(row, depth * WORD)),
        depth,
        i32.add(to, i32.mul(task, depth * TILE_COLUMNS * WORD)),
        int(depth),
        i32.min(i32.sub(columns, first), TILE_COLUMNS),
      );
    },
  };
}

/** Packs a KRSC filter of `filterRows` × `filterColumns` taps for an input gradient; the operands are the same. */
export function packInputGrad(
  correlation: Correlation,
  filterRows: number,
  filterColumns: number,
): Routine {
  const { groups, source, target, phases } = correlation;
  const blocks = blocksOf(correlation);
  const [outputs, inputs] = [source[2] / groups, target[2] / groups];
  return {
    key: `packInputGrad ${filterRows},${filterColumns},${correlationText(correlation)}`,
    tasks: groups * blocks,
    operands: 2,
    scratch: 0,
    build({ f, operands: [from, to], task }) {
      const first = f.int(i32.mul(i32.remU(task, blocks), TILE_COLUMNS));
      const width = f.int(i32.min(i32.sub(inputs, first), TILE_COLUMNS));
      const [r, s, k, source, panel] = [0, 0, 0, 0, 0].map((value) => f.int(value));
      const firstOutput = i32.mul(i32.divU(task, blocks), outputs);
      const origin = f.int(i32.add(
        from,
        i32.mul(i32.add(i32.mul(firstOutput, filterRows * filterColumns * inputs), first), WORD),
      ));
      for (const [p, { row, column }] of phases.entries()) {
        const words = panelWords(correlation, p);
        f.set(
          panel,
          i32.add(to, i32.mul(i32.add(panelsBefore(correlation, p), i32.mul(task, words)), WORD)),
        );
        f.for(r, 0, row.taps, 1, () => {
          f.for(s, 0, column.taps, 1, () => {
            const tap = i32.add(
              i32.mul(i32.add(row.filterStart, i32.mul(r, row.filterStep)), filterColumns),
              i32.add(column.filterStart, i32.mul(s, column.filterStep)),
            );
            f.set(source, i32.add(origin, i32.mul(tap, inputs * WORD)));
            f.for(k, 0, outputs, 1, () => {
              copyWords(f, source, panel, width);
              f.increment(source, filterRows * filterColumns * inputs * WORD);
              f.increment(panel, TILE_COLUMNS * WORD);
            });
          });
        });
      }
    },
  };
}
