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
  const view = new View(parse(compile(spec).spec), { renderer: "none" });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}
