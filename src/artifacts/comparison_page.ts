import { expectObject } from "../base/expect.ts";
import { barChart, lineChart } from "./chart.ts";
import type { Comparison, EpochSummary, RunSummary } from "./comparison.ts";
import {
  evaluatedAlike,
  formatBytes,
  formatError,
  formatPercent,
  formatTime,
  formatValue,
  headingOf,
} from "./format.ts";
import { htmlTable, page } from "./page.ts";
import { colour } from "./palette.ts";

type Measure = Exclude<keyof EpochSummary, "epoch">;

const CHARTS: readonly { readonly measure: Measure; readonly title: string; readonly percent?: true }[] = [
  { measure: "testError", title: "error", percent: true },
  { measure: "trainError", title: "Training error", percent: true },
  { measure: "meanIoU", title: "mean IoU", percent: true },
  { measure: "testLoss", title: "loss" },
  { measure: "trainLoss", title: "Training loss of the network's own head" },
];

const TESTED: readonly Measure[] = ["testError", "meanIoU", "testLoss"];

const MARKED = 60; // points of a curve up to which each is marked

/** A number for people; a dash for what was not measured. */
const optional = (value: number | undefined, format: (value: number) => string) =>
  value === undefined ? "–" : Number.isFinite(value) ? format(value) : "not finite";

/** The form of a run's errors. */
const errorFormat = ({ task }: RunSummary) => (value: number) =>
  task === "regression" ? formatValue(value) : formatError(value);

const loss = (value: number) => value.toFixed(4);

/** The results of runs as a table of text: a row for each. */
export function resultsTable({ runs }: Comparison): { heads: string[]; rows: string[][] } {
  const kind = kindOf(runs);
  const heads = [
    "run",
    "epochs",
    "evaluated on",
    headingOf(kind, "error"),
    "best",
    headingOf(kind, "mean IoU"),
    "highest",
    "in epoch",
    headingOf(kind, "loss"),
    "train error",
    "train loss",
    "planned",
    "of end-to-end",
    "allocated",
    "images/s",
    "time",
  ];
  const rows = runs.map((run) => [
    run.run,
    `${run.epochsDone} of ${run.epochs}`,
    kind === undefined ? run.evaluatedOn : "–",
    optional(run.last.testError, errorFormat(run)),
    optional(run.bestMeanIoU === undefined ? run.bestError : undefined, errorFormat(run)),
    optional(run.last.meanIoU, formatError),
    optional(run.bestMeanIoU, formatError),
    optional(run.bestEpoch, String),
    optional(run.last.testLoss, loss),
    optional(run.last.trainError, errorFormat(run)),
    optional(run.last.trainLoss, loss),
    formatBytes(run.plannedPeakBytes),
    formatPercent(run.plannedPeakBytes / run.endToEndPeakBytes, 1),
    optional(run.held?.bytes, formatBytes),
    optional(run.imagesPerSecond, (value) => String(Math.round(value))),
    optional(run.seconds, formatTime),
  ]);
  return withoutEmpty({ heads, rows });
}

/** Leaves out the columns in which nothing was measured, such as the time of runs of earlier versions. */
function withoutEmpty({ heads, rows }: { heads: string[]; rows: string[][] }) {
  const kept = heads.map((_, column) => rows.some((row) => row[column] !== "–"));
  const only = (row: readonly string[]) => row.filter((_, column) => kept[column]);
  return { heads: only(heads), rows: rows.map(only) };
}

/**
 * The settings in which runs differ as a table of text; undefined if they do not differ. It has a row for each run, or
 * for each setting if those are more, because tables are longer than wide.
 */
export function differencesTable(
  { differences, runs }: Comparison,
): { heads: string[]; rows: string[][] } | undefined {
  const names = Object.keys(differences);
  if (names.length === 0) return undefined;
  const cell = (name: string, run: number) => differences[name]?.[run] ?? "–";
  if (names.length > runs.length) {
    const rows = names.map((name) => [name, ...runs.map((_, i) => cell(name, i))]);
    return { heads: ["setting", ...runs.map(({ run }) => run)], rows };
  }
  return {
    heads: ["run", ...names],
    rows: runs.map(({ run }, i) => [run, ...names.map((name) => cell(name, i))]),
  };
}

/** A comparison as a self-contained HTML page, in the style of the reports of runs. */
export function comparisonPage(comparison: Comparison): string {
  expectObject("comparisonPage: the comparison", comparison, { differences: "object", runs: "array" });
  const { runs } = comparison;
  const title = runs.length === 1 ? runs.map(({ run }) => run).join() : `${runs.length} runs compared`;
  const settings = differencesTable(comparison);
  const results = resultsTable(comparison);
  const has = (measure: Measure) => runs.some(({ last }) => last[measure] !== undefined);
  const shown = CHARTS.filter(({ measure }) => measure !== "meanIoU" || has(measure));
  const same = runs.length === 1 ? "" : "<p>All settings are the same.</p>";
  return page(
    title,
    `${htmlTable(results.heads, results.rows, "figures")}
<section class="grid-2">${shown.map((chart) => chartOf(runs, chart)).join("")}</section>
<h2>Settings that differ</h2>${settings ? htmlTable(settings.heads, settings.rows, "settings") : same}
<h2>Memory</h2>${memory(runs)}`,
  );
}

/** The images that the runs were evaluated on; undefined if not all on the same. */
const kindOf = (runs: readonly RunSummary[]) => evaluatedAlike(runs.map(({ evaluatedOn }) => evaluatedOn));

function chartOf(runs: readonly RunSummary[], { measure, title, percent }: typeof CHARTS[0]): string {
  const heading = TESTED.includes(measure) ? capitalized(headingOf(kindOf(runs), title)) : title;
  const series = runs.map(({ run, curve }, i) => {
    const points = curve.flatMap((epoch): [number, number][] => {
      const value = epoch[measure];
      return value === undefined ? [] : [[epoch.epoch, value]];
    });
    return { name: run, points, colour: colour(i, runs.length), marked: points.length <= MARKED };
  });
  const fractions = percent && runs.every(({ task }) => task === undefined);
  const format = fractions ? (value: number) => formatPercent(value) : (value: number) => String(value);
  return lineChart(series, { title: heading, x: "epoch", whole: true, format });
}

const capitalized = (text: string) => text.slice(0, 1).toUpperCase() + text.slice(1);

function memory(runs: readonly RunSummary[]): string {
  const bars = runs.flatMap(({ run, plannedPeakBytes, held }) => [
    {
      name: `${run}, planned`,
      parts: [{ name: "planned step", value: plannedPeakBytes, colour: colour(0, 3) }],
    },
    ...held === undefined ? [] : [{
      name: `${run}, allocated`,
      parts: [
        { name: "allocated", value: held.bytes - held.dataBytes, colour: colour(1, 3) },
        { name: "data set", value: held.dataBytes, colour: colour(2, 3) },
      ],
    }],
  ]);
  return barChart("Planned and allocated memory", bars, formatBytes);
}
