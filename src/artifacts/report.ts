import { LocalgradError } from "../base/errors.ts";
import { expectKind, expectObject, expectOptions, type Kinds } from "../base/expect.ts";
import { decidingFigure } from "./best.ts";
import { escapeHtml, lineChart, POINTS, type Series, thin } from "./chart.ts";
import type { Settings } from "./checkpoint.ts";
import { confusionTable } from "./confusion.ts";
import {
  errorOf,
  evaluatedAlike,
  evaluatedOn,
  formatBytes,
  formatError,
  formatPercent,
  formatTime,
  formatValue,
  headingOf,
} from "./format.ts";
import type { EpochLine, MetricsLine, StepLine } from "./metrics.ts";
import { choiceFacts, heldMemory, loadingFacts, stalenessFacts } from "./facts.ts";
import { memoryBars, type PlannedMemory, timelines } from "./memory_charts.ts";
import type { RunInfo } from "./observer.ts";
import { htmlTable, page } from "./page.ts";
import { colour } from "./palette.ts";
import { type Samples, samplesSection } from "./samples.ts";
import { settingsOf } from "./run_settings.ts";

/** A run as a report shows it. */
export interface RunReport {
  /** Facts known at its start. */
  readonly info: RunInfo;
  /** Its recorded steps and epochs. */
  readonly lines: readonly MetricsLine[];
  /** Its settings other than the trainer's configuration. */
  readonly settings: Settings;
  /** Its duration in seconds, if known. */
  readonly seconds?: number;
  /** What the finished network takes some images for, if known. */
  readonly samples?: Samples;
}

const RUN_KINDS = {
  info: "object",
  lines: "array",
  settings: "object",
  seconds: "number?",
  samples: "object?",
} as const satisfies Kinds<RunReport>;

const MARKED = 60; // points of a curve up to which each is marked

const steps = (run: RunReport) => run.lines.filter((line): line is StepLine => line.kind === "step");
const epochs = (run: RunReport) => run.lines.filter((line): line is EpochLine => line.kind === "epoch");

/** The name of a run's method. */
export function methodOf(run: RunReport): string {
  const { method } = run.info.configuration;
  const named = typeof method === "object" && method !== null && "name" in method;
  return named ? String(method.name) : "?";
}

/** The images that the runs were evaluated on; undefined if not all on the same. */
const kindOf = (runs: readonly RunReport[]) => evaluatedAlike(runs.map(({ info }) => evaluatedOn(info)));

const deciding = (run: RunReport) => decidingFigure(run.info.configuration, epochs(run));

/** Options of {@link report}. */
export interface ReportOptions {
  /** Paragraphs above everything else: what the runs show; default none. */
  readonly notes?: readonly string[];
}

/** One run, or several side by side, as a self-contained HTML page. */
export function report(runs: readonly RunReport[], options: ReportOptions = {}): string {
  expectKind("report: the runs", runs, "array");
  expectOptions("report", options, { notes: "array?" });
  const { notes = [] } = options;
  for (const run of runs) expectObject("report: a run", run, RUN_KINDS);
  const [first, ...others] = runs;
  if (first === undefined) throw new LocalgradError("report: needs at least one run");
  const model = String(first.info.configuration["model"]);
  const { dataset } = first.settings;
  const on = dataset === undefined ? "" : ` on ${dataset}`;
  const title = `${runs.map(methodOf).join(", ")}: ${model}${on}`;
  const above = notes.map((note) => `<p>${escapeHtml(note)}</p>\n`).join("");
  return page(title, above + (others.length === 0 ? single(first) : comparison(runs)));
}

function single(run: RunReport): string {
  return `${facts(run)}<section class="grid-2">${lossChart(run)}${errorChart([run])}${
    iouChart([run])
  }</section>
${confusionSection(run)}${samplesOf(run)}<h2>Planned memory of a training step</h2>${
    memoryBars(memories([run]))
  }${timelines(memories([run]))}
<h2>Configuration</h2>${configuration(run)}`;
}

const samplesOf = ({ samples, info }: RunReport) =>
  samples === undefined ? "" : samplesSection(samples, info.classNames);

/** The confusion matrix of the last evaluation that has one. */
function confusionSection(run: RunReport): string {
  const last = epochs(run).findLast(({ confusion }) => confusion !== undefined);
  if (last?.confusion === undefined) return "";
  return `<h2>Confusion after epoch ${last.epoch}</h2>${
    confusionTable(last.confusion, run.info.classNames)
  }\n`;
}

function comparison(runs: readonly RunReport[]): string {
  const rows = runs.map((run) => {
    const { best, last } = deciding(run);
    const { method, endToEnd } = run.info.memory;
    const time = run.seconds === undefined ? "" : formatTime(run.seconds);
    return [
      methodOf(run),
      String(run.info.modules.length),
      last,
      best,
      formatBytes(method.peakBytes),
      formatPercent(method.peakBytes / endToEnd.peakBytes, 1),
      time,
    ];
  });
  const heads = [
    "method",
    "modules",
    headingOf(kindOf(runs), runs.map(deciding)[0]?.name ?? "error"),
    "best",
    "planned peak",
    "of end-to-end",
    "time",
  ];
  const each = runs.map((run) =>
    `<details><summary>${escapeHtml(methodOf(run))}</summary>
<section class="grid-2">${lossChart(run)}${errorChart([run])}${iouChart([run])}</section>${
      confusionSection(run)
    }${samplesOf(run)}${configuration(run)}</details>`
  );
  return `${htmlTable(heads, rows)}<section class="grid-2">${errorChart(runs)}${iouChart(runs)}${
    memoryBars(memories(runs))
  }</section>
<h2>Memory through a training step</h2>${timelines(memories(runs))}
<h2>Runs</h2>${each.join("\n")}`;
}

function facts(run: RunReport): string {
  const { name, best, most, last } = deciding(run);
  const { method, endToEnd } = run.info.memory;
  const { imagesPerSecond: rate, meanAbsoluteError: absolute, meanIoU, testError } = epochs(run).at(-1) ?? {};
  const done = Math.floor((steps(run).at(-1)?.step ?? 0) / run.info.stepsPerEpoch);
  const all: [string, string][] = [
    [`${evaluatedOn(run.info)} ${name}`, last],
    [`${most} ${evaluatedOn(run.info)} ${name}`, best],
    ...(meanIoU === undefined || testError === undefined
      ? []
      : [[`${evaluatedOn(run.info)} error`, formatError(testError)] as [string, string]]),
    ...(absolute === undefined
      ? []
      : [[`${evaluatedOn(run.info)} mean absolute error`, formatValue(absolute)] as [string, string]]),
    ["epochs", `${done} of ${run.info.epochs}`],
    ["planned peak", formatBytes(method.peakBytes)],
    ["of end-to-end", formatPercent(method.peakBytes / endToEnd.peakBytes, 1)],
    ...choiceFacts(run.info.choice),
    ...heldMemory(epochs(run).at(-1)?.held),
    ...loadingFacts(epochs(run).at(-1)?.loading),
    ...stalenessFacts(epochs(run).at(-1)?.staleness),
    ...Object.entries(epochs(run).at(-1)?.metrics ?? {}).map(([name, value]): [string, string] => [
      name,
      String(Number(value.toPrecision(4))),
    ]),
    ["images/s", rate === undefined ? "–" : String(Math.round(rate))],
    ...(run.seconds === undefined ? [] : [["time", formatTime(run.seconds)] satisfies [string, string]]),
  ];
  const cards = all.map(([name, value]) =>
    `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd></div>`
  );
  return `<dl class="facts">${cards.join("")}</dl>`;
}

function lossChart(run: RunReport): string {
  const all = steps(run);
  const { modules } = run.info;
  const series = modules.map((name, module): Series => ({
    name: modules.length === 1 ? name : `${module + 1}: ${name}`,
    points: thin(all.map(({ step, losses }) => [step, losses[module] ?? NaN] as const), POINTS),
    colour: colour(module, modules.length),
  }));
  return lineChart(series, {
    title: modules.length === 1 ? "Training loss" : "Training loss of each module",
    x: "step",
    whole: true,
    format: (value) => String(value),
  });
}

function errorChart(runs: readonly RunReport[]): string {
  const series = runs.flatMap((run, i): Series[] => {
    const test: Series = {
      name: runs.length === 1 ? evaluatedOn(run.info) : methodOf(run),
      points: epochs(run).map(({ epoch, testError }) => [epoch, testError] as const),
      colour: colour(i, runs.length),
      marked: epochs(run).length <= MARKED,
    };
    if (runs.length > 1) return [test];
    const points = steps(run).map(({ step, accuracy, meanSquaredError }) =>
      [
        step / run.info.stepsPerEpoch,
        accuracy === undefined ? meanSquaredError ?? NaN : 1 - accuracy,
      ] as const
    );
    return [{ name: "training batches", points: thin(points, POINTS), colour: "var(--faint)" }, test];
  });
  const kind = kindOf(runs);
  const { name, tick } = errorOf(runs[0]?.info.configuration ?? {});
  const text = runs.length === 1 || kind === undefined ? name : `${kind} ${name}`;
  const title = text.slice(0, 1).toUpperCase() + text.slice(1);
  return lineChart(series, { title, x: "epoch", whole: true, format: tick });
}

/** The mean IoU of segmentations; nothing if none was evaluated. */
function iouChart(runs: readonly RunReport[]): string {
  const series = runs.map((run, i): Series => ({
    name: runs.length === 1 ? evaluatedOn(run.info) : methodOf(run),
    points: epochs(run).flatMap(({ epoch, meanIoU }): [number, number][] =>
      meanIoU === undefined ? [] : [[epoch, meanIoU]]
    ),
    colour: colour(i, runs.length),
    marked: epochs(run).length <= MARKED,
  }));
  if (series.every(({ points }) => points.length === 0)) return "";
  return lineChart(series, {
    title: "Mean IoU",
    x: "epoch",
    whole: true,
    format: (value) => formatPercent(value),
  });
}

/** Planned memory end to end, then of each method. */
function memories(runs: readonly RunReport[]): PlannedMemory[] {
  const methods = runs.filter((run) =>
    run.info.memory.method !== run.info.memory.endToEnd && methodOf(run) !== "endToEnd"
  );
  return [
    ...runs.slice(0, 1).map((run) => ({ name: "endToEnd", report: run.info.memory.endToEnd })),
    ...methods.map((run) => ({ name: methodOf(run), report: run.info.memory.method })),
  ];
}

function configuration(run: RunReport): string {
  return htmlTable(["setting", "value"], settingsOf(run));
}
