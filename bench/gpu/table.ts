/** Tables of the results. */
import { formatBytes, formatPercent } from "../../src/artifacts/format.ts";
import { textTable } from "../../src/cli/terminal.ts";
import { type Measurement, type Row, rowName, stepName } from "./row.ts";

/** A row with its result. */
export type Result =
  & { readonly row: Row }
  & ({ readonly measured: Measurement } | { readonly missing: string });

/**
 * The largest differences from our losses at the first and the third step that rounding of operands explains; it grows
 * tenfold every 4.5 steps.
 */
const ALLOWED: { readonly [P in Row["precision"]]: number } = { f32: 1e-4, tf32: 1e-2, bf16: 5e-2 };

/** The largest relative difference of any module's loss, at the first and at the third step. */
function lossDifference(a: Measurement, b: Measurement): readonly [number, number] {
  const at = (step: number) =>
    Math.max(...a.losses[step].map((loss, i) => Math.abs(loss - b.losses[step][i]) / Math.abs(loss)));
  return [at(0), at(2)];
}

/** Tests whether two systems computed the same step. */
function sameLosses([first, third]: readonly [number, number], precision: Row["precision"]): boolean {
  return first <= ALLOWED[precision] && third <= 10 * ALLOWED[precision];
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const digits = (value: number) => value.toPrecision(value < 1000 ? 3 : 4);

/** Names of the steps whose losses differ between systems, and of the rows at fault. */
export function disagreements(results: readonly Result[]): string[] {
  return steps(results).flatMap(({ measured, ours }) =>
    measured.flatMap(({ row, measured }) => {
      if (ours === undefined || measured === ours) return [];
      const [first, third] = lossDifference(ours, measured);
      if (sameLosses([first, third], row.precision)) return [];
      return [
        `${rowName(row)}: losses differ from ours by ${first.toExponential(1)}, ${third.toExponential(1)}`,
      ];
    })
  );
}

type Measured = Extract<Result, { measured: unknown }>;

/** The results by training step, in order. */
function steps(results: readonly Result[]) {
  return [...Map.groupBy(results, ({ row }) => stepName(row))].map(([name, rows]) => {
    const measured = rows.filter((result): result is Measured => "measured" in result);
    const ours = measured.find(({ row }) => row.system === "localgrad")?.measured;
    return { name, rows, measured, ours };
  });
}

/** One table for each training step: speed, memory, launches, agreement, and the time by class of kernel. */
export function tables(results: readonly Result[]): string {
  return steps(results).map(({ name, rows, measured, ours }) => {
    const heads = ["", "images/s", "ms", "peak", "driver", "launches", "losses apart"];
    const lines = measured.map(({ row, measured }) => {
      const ms = median(measured.milliseconds);
      const { peakBytes, usedBytes } = measured.memory;
      const bytes = (count: number | undefined) => count === undefined ? "–" : formatBytes(count);
      const apart = ours === undefined || measured === ours
        ? "–"
        : lossDifference(ours, measured).map((difference) => difference.toExponential(0)).join(", ");
      const speed = [String(Math.round(1000 * row.batch / ms)), digits(ms)];
      const rest = [bytes(peakBytes), bytes(usedBytes), String(Math.round(measured.launches)), apart];
      return [`${row.system} ${row.mode}`, ...speed, ...rest];
    });
    const missing = rows.flatMap((result) =>
      "missing" in result ? [`${result.row.system} ${result.row.mode}: not measured: ${result.missing}`] : []
    );
    return [
      name,
      ...(lines.length > 0 ? [textTable(heads, lines)] : []),
      ...missing,
      ...verdict(measured, ours),
      ...(measured.length > 0 ? [byClass(measured)] : []),
    ].join("\n");
  }).join("\n\n");
}

/** Ours compared with PyTorch's best, with the plan, and with the roofline. */
function verdict(measured: readonly Measured[], ours: Measurement | undefined): string[] {
  if (ours === undefined) return [];
  const own = median(ours.milliseconds);
  const others = measured.filter(({ row }) => row.system !== "localgrad");
  const best = others.toSorted((a, b) => median(a.measured.milliseconds) - median(b.measured.milliseconds))
    .at(0);
  const { plannedBytes, takenBytes, usedBytes } = ours.memory;
  return [
    ...(best === undefined
      ? []
      : [`${digits(median(best.measured.milliseconds) / own)} × PyTorch's best (${best.row.mode})`]),
    ...(plannedBytes === undefined || takenBytes === undefined || usedBytes === undefined ? [] : [
      `planned ${formatBytes(plannedBytes)}; taken from the driver ${formatBytes(takenBytes)}, besides ` +
      `${formatBytes(Math.max(0, usedBytes - takenBytes))} of context and others`,
    ]),
    ...(ours.roofline === undefined ? [] : [
      `roofline ${digits(ours.roofline.milliseconds)} ms: ${formatBytes(ours.roofline.bytes)} and ` +
      `${digits(ours.roofline.operations / 1e9)} GFLOP a step; ${
        formatPercent(ours.roofline.milliseconds / own, 0)
      } of it is reached`,
    ]),
  ];
}

/** Milliseconds on the card by class of kernel. PyTorch's kernels are sorted by their names, which is a guess. */
function byClass(measured: readonly Measured[]): string {
  const names = [...new Set(measured.flatMap(({ measured }) => Object.keys(measured.classes)))].sort();
  const rows = measured.map(({ row, measured }) => [
    `${row.system} ${row.mode}`,
    ...names.map((name) => measured.classes[name] === undefined ? "–" : digits(measured.classes[name])),
  ]);
  const least = measured.flatMap(({ measured: { roofline } }) =>
    roofline === undefined ? [] : [[
      "roofline",
      ...names.map((name) => name in roofline.classes ? digits(roofline.classes[name]) : "–"),
    ]]
  );
  return textTable(["ms by class", ...names], [...rows, ...least]);
}
