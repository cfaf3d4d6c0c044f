import { LocalgradError } from "../base/errors.ts";
import { expectKind, expectObject, expectOptions, type Kinds } from "../base/expect.ts";
import type { MemoryClass, MemoryReport } from "../compile/plan.ts";
import { moduleIn } from "../local/places.ts";
import { decidingFigure } from "./best.ts";
import { barChart, escapeHtml, lineChart, type Series, thin } from "./chart.ts";
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
import type { BlockAge, Choice, HeldMemory, Loading, RunInfo } from "./observer.ts";
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

const POINTS = 240; // more are indistinguishable at the size of a chart

const MARKED = 60; // points of a curve up to which each is marked

const CLASSES: readonly MemoryClass[] = [
  "parameters",
  "optimizer",
  "auxiliary",
  "state",
  "activations",
  "workspace",
  "scratch",
  "messages",
  "constants",
  "results",
  "inputs",
  "data",
];

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
${confusionSection(run)}${samplesOf(run)}<h2>Planned memory of a training step</h2>${memorySection([run])}
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
    memoryBars(runs)
  }</section>
<h2>Memory through a training step</h2>${timelines(runs)}
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

/** What was chosen within a memory limit, for people. */
function choiceFacts(choice: Choice | undefined): [name: string, value: string][] {
  if (choice === undefined) return [];
  const { limit, reserve, description, peakBytes, next } = choice;
  const data = reserve === undefined ? "" : `, ${formatBytes(reserve)} of it for data`;
  return [
    ["memory limit", `${formatBytes(limit)}${data}`],
    ["chosen within it", `${description}, needs ${formatBytes(peakBytes)}`],
    ...(next === undefined ? [] : [
      ["next faster", `${next.description}, needs ${formatBytes(next.peakBytes)}`] satisfies [
        string,
        string,
      ],
    ]),
  ];
}

/** The loading of streamed images, for people. */
function loadingFacts(loading: Loading | undefined): [name: string, value: string][] {
  if (loading === undefined) return [];
  return [
    ["images/s decoded", String(Math.round(loading.imagesPerSecond))],
    ["waiting for images", formatPercent(loading.waiting, 1)],
  ];
}

/** The age of tracked blocks, for people; none unless the exchange was stale. */
export function stalenessFacts(staleness: BlockAge | undefined): [name: string, value: string][] {
  if (staleness === undefined) return [];
  const { mean, most } = staleness;
  return [["staleness", `${mean.toFixed(1)} steps, at most ${most}`]];
}

/** The measured memory of a device, for people: localgrad's count, and the driver's if there is one. */
export function heldMemory(held: HeldMemory | undefined): [name: string, value: string][] {
  if (held === undefined) return [];
  const { bytes, dataBytes, driver, residentBytes } = held;
  const own: [string, string] = [
    "allocated",
    formatBytes(bytes - dataBytes) + (dataBytes === 0 ? "" : `, plus ${formatBytes(dataBytes)} of data`),
  ];
  const whole: [string, string][] = residentBytes === undefined
    ? []
    : [["whole process", `${formatBytes(residentBytes)} resident`]];
  if (driver === undefined) return [own, ...whole];
  const { usedBytes, takenBytes } = driver;
  const rest = formatBytes(Math.max(0, usedBytes - takenBytes));
  return [
    own,
    ["driver count", `${formatBytes(takenBytes)}, plus ${rest} of context and other programs`],
    ...whole,
  ];
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
function memories(runs: readonly RunReport[]): { name: string; report: MemoryReport }[] {
  const methods = runs.filter((run) =>
    run.info.memory.method !== run.info.memory.endToEnd && methodOf(run) !== "endToEnd"
  );
  return [
    ...runs.slice(0, 1).map((run) => ({ name: "endToEnd", report: run.info.memory.endToEnd })),
    ...methods.map((run) => ({ name: methodOf(run), report: run.info.memory.method })),
  ];
}

function memoryBars(runs: readonly RunReport[]): string {
  const used = memories(runs);
  const classes = CLASSES.filter((name) => used.some(({ report }) => (report.breakdown[name] ?? 0) > 0));
  const bars = used.map(({ name, report }) => ({
    name,
    parts: classes.map((kind, i) => ({
      name: kind,
      value: report.breakdown[kind] ?? 0,
      colour: colour(i, classes.length),
    })),
  }));
  return barChart("Planned peak memory by category", bars, formatBytes);
}

function memorySection(runs: readonly RunReport[]): string {
  return `${memoryBars(runs)}${timelines(runs)}`;
}

function timelines(runs: readonly RunReport[]): string {
  const all = memories(runs);
  const top = Math.max(...all.map(({ report }) => highest(report)));
  const charts = all.map(({ name, report }) => timeline(name, report, top));
  return `<section class="grid-${charts.length === 2 ? 2 : 3}">${charts.join("")}</section>`;
}

const highest = ({ timeline }: MemoryReport) =>
  timeline.reduce((most, { liveBytes }) => Math.max(most, liveBytes), 0);

/** Live bytes of temporaries at each op, with a section for each module, on a scale up to `top`. */
function timeline(name: string, { timeline }: MemoryReport, top: number): string {
  const stretches: { from: number; to: number; name: string }[] = [];
  timeline.forEach(({ scope }, at) => {
    const module = moduleIn(scope);
    const last = stretches.at(-1);
    if (module === undefined || last?.name === `${module + 1}`) {
      if (last !== undefined) last.to = at;
    } else stretches.push({ from: at, to: at, name: `${module + 1}` });
  });
  const points = timeline.map(({ liveBytes }, at) => [at, liveBytes] as const);
  const shown = stretches.length > 1 && stretches.length <= 20 ? { stretches } : {};
  return lineChart([{ name, points: peaks(points), colour: colour(0, 1), filled: true }], {
    title: `Live temporaries: ${name}`,
    x: stretches.length > 1 ? "module" : "op of the step",
    whole: true,
    format: formatBytes,
    unit: 1024 ** Math.floor(Math.log(Math.max(top, 1)) / Math.log(1024)),
    top,
    ...shown,
  });
}

/** At most twice {@link POINTS} points, which include the highest of every group. */
function peaks(points: readonly (readonly [number, number])[]): (readonly [number, number])[] {
  const each = Math.ceil(points.length / (2 * POINTS));
  const result: (readonly [number, number])[] = [];
  for (let at = 0; at < points.length; at += each) {
    result.push(points.slice(at, at + each).reduce((a, b) => b[1] > a[1] ? b : a));
  }
  return result;
}

function configuration(run: RunReport): string {
  return htmlTable(["setting", "value"], settingsOf(run));
}
