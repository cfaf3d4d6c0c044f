import { errorOf, formatPercent } from "./format.ts";
import type { EpochLine } from "./metrics.ts";
import type { Configuration } from "./observer.ts";

/** The best of the evaluations of a run; all are undefined before the first. */
export interface Best {
  /** The evaluation whose state is the best checkpoint: the first of the highest mean IoU, or else of the lowest error. */
  readonly best: EpochLine | undefined;
  /** The lowest error. */
  readonly bestError: number | undefined;
  /** The highest mean IoU, of a segmentation. */
  readonly bestMeanIoU: number | undefined;
}

/** Finds the best of the evaluations of a run. */
export function bestOf(lines: readonly EpochLine[]): Best {
  const lowest = first(lines, ({ testError }) => testError);
  const highest = first(lines, ({ meanIoU }) => meanIoU === undefined ? undefined : -meanIoU);
  return { best: highest ?? lowest, bestError: lowest?.testError, bestMeanIoU: highest?.meanIoU };
}

/** The first line with the least value; undefined if none has one. */
function first(
  lines: readonly EpochLine[],
  valueOf: (line: EpochLine) => number | undefined,
): EpochLine | undefined {
  let found: { line: EpochLine; value: number } | undefined;
  for (const line of lines) {
    const value = valueOf(line);
    if (value !== undefined && (found === undefined || value < found.value)) found = { line, value };
  }
  return found?.line;
}

/** The figure that decides which state of a run is the best, for people. */
export interface DecidingFigure {
  /** `mean IoU` of a segmentation, otherwise what {@link errorOf} calls the error. */
  readonly name: string;
  /** Where it is the best. */
  readonly most: "lowest" | "highest";
  /** At its best; a dash before the first evaluation. */
  readonly best: string;
  /** In the last evaluation. */
  readonly last: string;
}

/** The figure that decides which state of a run is the best, from its evaluations. */
export function decidingFigure(configuration: Configuration, lines: readonly EpochLine[]): DecidingFigure {
  const last = lines.at(-1);
  const { bestError, bestMeanIoU } = bestOf(lines);
  if (bestMeanIoU !== undefined && last?.meanIoU !== undefined) {
    const [best, now] = [formatPercent(bestMeanIoU), formatPercent(last.meanIoU)];
    return { name: "mean IoU", most: "highest", best, last: now };
  }
  const { name, format } = errorOf(configuration);
  const text = (value: number | undefined) => value === undefined ? "–" : format(value);
  return { name, most: "lowest", best: text(bestError), last: text(last?.testError) };
}
