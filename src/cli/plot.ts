/**
 * Plots for the command line. Imported only to draw one, because it needs packages.
 *
 * @module
 */

import { compile, type TopLevelSpec } from "npm:vega-lite@6.4.1";
import { parse, View } from "npm:vega@6.2.0";

/** A line of a plot. */
export interface Line {
  /** Its name in the legend. */
  readonly name: string;
  /** `[x, y]`. */
  readonly points: readonly (readonly [number, number])[];
}

/** Draws a line chart as SVG: x are whole numbers, y are fractions, shown in percent. */
export async function fractionsChart(
  lines: readonly Line[],
  { title, x, y }: { readonly title: string; readonly x: string; readonly y: string },
): Promise<string> {
  const values = lines.flatMap(({ name, points }) => points.map(([x, y]) => ({ name, x, y })));
  const spec: TopLevelSpec = {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    title,
    width: 640,
    height: 320,
    background: "white",
    data: { values },
    mark: { type: "line", point: true },
    encoding: {
      x: {
        field: "x",
        type: "quantitative",
        title: x,
        axis: { tickMinStep: 1, format: "d", grid: false },
        scale: { zero: false },
      },
      y: { field: "y", type: "quantitative", title: y, axis: { format: "%" }, scale: { zero: false } },
      color: {
        field: "name",
        type: "nominal",
        title: null,
        sort: null,
        legend: lines.length === 1 ? null : { orient: "bottom", columns: 1, labelLimit: 600 },
      },
    },
  };
  return await drawn(spec);
}

/** A planned way to train, as {@link frontierChart} draws it. */
export interface Point {
  /** Its name in the legend. */
  readonly name: string;
  /** Does it recompute? */
  readonly recomputes: boolean;
  /** Its planned peak. */
  readonly mebibytes: number;
  /** The predicted time of a step, relative to end to end. */
  readonly time: number;
  /** The test error, a fraction, where it is known. */
  readonly error?: number;
  /** Is it on the staircase of peak and time? */
  readonly best: boolean;
}

/**
 * Draws planned peak against predicted time as SVG, with the staircase of the best, and below it, if errors are known,
 * against those.
 */
export async function frontierChart(points: readonly Point[], title: string): Promise<string> {
  const known = points.filter(({ error }) => error !== undefined);
  const panels = [
    panel(points, points.filter(({ best }) => best), {
      field: "time",
      title: "predicted time, × end to end",
    }),
    ...(known.length === 0
      ? []
      : [panel(known, lowest(known), { field: "error", title: "test error", format: "%" })]),
  ];
  return await drawn({
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    title,
    background: "white",
    vconcat: panels,
  });
}

/** The points from left to right that are lower than all before. */
function lowest(points: readonly Point[]): Point[] {
  let least = Infinity;
  return points.toSorted((a, b) => a.mebibytes - b.mebibytes).filter(({ error = Infinity }) => {
    if (error >= least) return false;
    least = error;
    return true;
  });
}

/** One of several charts below each other. */
type Panel = Extract<TopLevelSpec, { vconcat: unknown }>["vconcat"][number];

/** Points over their planned peak, and the staircase through some: what a limit buys is what lies to its left. */
function panel(
  points: readonly Point[],
  stairs: readonly Point[],
  { field, title, format }: {
    readonly field: "time" | "error";
    readonly title: string;
    readonly format?: string;
  },
): Panel {
  const x = {
    field: "mebibytes",
    type: "quantitative",
    title: "planned peak, MiB",
    axis: { grid: false },
  } as const;
  const axis = format === undefined ? {} : { axis: { format } };
  const y = { field, type: "quantitative", title, ...axis, scale: { zero: false } } as const;
  return {
    width: 640,
    height: 320,
    layer: [
      {
        data: { values: [...stairs] },
        mark: { type: "line", interpolate: "step-after", color: "#999" },
        encoding: { x, y },
      },
      {
        data: {
          values: points.map((point) => ({ ...point, way: point.recomputes ? "recomputing" : "plain" })),
        },
        mark: { type: "point", size: 50 },
        encoding: {
          ...{ x, y },
          color: { field: "name", type: "nominal", title: null, sort: null, legend: { labelLimit: 600 } },
          shape: { field: "way", type: "nominal", title: null, sort: ["plain", "recomputing"] },
        },
      },
    ],
  };
}

async function drawn(spec: TopLevelSpec): Promise<string> {
  const view = new View(parse(compile(spec).spec), { renderer: "none" });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}
