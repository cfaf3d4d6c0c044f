import { formatBytes, formatMean, formatPercent } from "../../artifacts/format.ts";
import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { keysOf } from "../../base/keys.ts";
import type { FrontierRow } from "./frontier.ts";
import { methodFlagOf } from "../flags/method.ts";

type Table = (heads: readonly string[], rows: readonly (readonly string[])[]) => string;

/** Plain end to end, which other rows are compared with; the largest if it is not among them. */
export function wholeOf(rows: readonly FrontierRow[]): FrontierRow {
  return rows.find(({ method, limit }) => method === "endToEnd" && limit === undefined) ??
    at(rows, rows.length - 1);
}

/** A row's method with its options: `augLocal, depth 3`. */
export function methodIn({ method, options }: Pick<FrontierRow, "method" | "options">): string {
  return [method, ...keysOf(options).map((name) => `${methodFlagOf(name)} ${options[name]}`)].join(", ");
}

/** The same, and whether it recomputes. */
export function nameOf(row: FrontierRow): string {
  return row.limit === undefined ? methodIn(row) : `${methodIn(row)}, recomputing`;
}

/**
 * Rows for people, with peak and time relative to end to end, or to the largest if that is not among them. `of` are the
 * rows that these are some of.
 */
export function frontierText(rows: readonly FrontierRow[], table: Table, of = rows): string {
  const whole = wholeOf(of);
  const timed = rows.some(({ stepSeconds }) => stepSeconds !== undefined);
  const known = rows.some(({ errors }) => errors !== undefined);
  return table(
    [
      ...["", "K", "split", "peak", "of end to end", "predicted time"],
      ...(timed ? ["measured step"] : []),
      ...(known ? ["error, %", "seeds"] : []),
      "best",
    ],
    rows.map((row) => {
      const { modules, split, peakBytes, seconds, stepSeconds, errors, best, worth } = row;
      return [
        nameOf(row),
        `${modules}`,
        modules === 1 ? "" : split,
        formatBytes(peakBytes),
        formatPercent(peakBytes / whole.peakBytes, 1),
        `${(seconds / whole.seconds).toFixed(2)} ×`,
        ...(timed ? [stepSeconds === undefined ? "" : `${(1000 * stepSeconds).toFixed(1)} ms`] : []),
        ...(known ? [errors === undefined ? "" : formatMean(errors), `${errors?.length ?? ""}`] : []),
        `${best ? "*" : ""}${worth ? "+" : ""}`,
      ];
    }),
  );
}

/** What the marks of a table mean. */
export const MARKS =
  "* no other needs less in as little time; + of those whose error is known: no other with + needs no more bytes and " +
  "time for an error less than a point higher";

/**
 * Replaces the rows of a network in a Markdown document, between `<!-- frontier NAME -->` and `<!-- /frontier -->`, by
 * those that are marked and plain end to end.
 *
 * @throws {LocalgradError} if the document has no such place.
 */
export function withFrontier(
  document: string,
  file: string,
  model: string,
  rows: readonly FrontierRow[],
  table: Table,
): string {
  const [begin, end] = [`<!-- frontier ${model} -->`, "<!-- /frontier -->"];
  const from = document.indexOf(begin) + begin.length, to = document.indexOf(end, from);
  if (from < begin.length || to < 0) {
    throw new LocalgradError(`${file} has no place for the frontier of ${model}: ${begin} and ${end}`);
  }
  const whole = wholeOf(rows);
  const shown = rows.filter((row) => row.best || row.worth || row === whole);
  const title = `The marked rows of ${rows.length}, and end to end:`;
  return `${document.slice(0, from)}\n\n${title}\n\n${frontierText(shown, table, rows)}\n\n${
    document.slice(to)
  }`;
}
