import type { MemoryClass, MemoryReport } from "../compile/plan.ts";
import { moduleIn } from "../local/places.ts";
import { barChart, lineChart, POINTS } from "./chart.ts";
import { formatBytes } from "./format.ts";
import { colour } from "./palette.ts";

/** The planned memory of a training step, with the name of its method. */
export interface PlannedMemory {
  readonly name: string;
  readonly report: MemoryReport;
}

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

/** The parts of each peak, as stacked bars. */
export function memoryBars(used: readonly PlannedMemory[]): string {
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

/** The live temporaries through each step, on one scale. */
export function timelines(all: readonly PlannedMemory[]): string {
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
