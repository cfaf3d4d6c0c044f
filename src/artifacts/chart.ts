/** A curve of a chart. */
export interface Series {
  /** Its name in the legend. */
  readonly name: string;
  /** Points `[x, y]`, by ascending x. */
  readonly points: readonly (readonly [number, number])[];
  /** A CSS colour. */
  readonly colour: string;
  /** Marks each point; default false. */
  readonly marked?: boolean;
  /** Fills the area down to the axis; default false. */
  readonly filled?: boolean;
}

/** Heading, axes and scale of a chart. */
export interface ChartOptions {
  /** Its heading. */
  readonly title: string;
  /** Label of the horizontal axis. */
  readonly x: string;
  /** Formats a value. */
  readonly format: (value: number) => string;
  /** Unit that ticks are round multiples of, such as 2²⁰ for bytes; default 1. */
  readonly unit?: number;
  /** Upper end of the scale, for charts that share one; default the highest value. */
  readonly top?: number;
  /** Puts ticks of the horizontal axis at whole numbers only; default false. */
  readonly whole?: boolean;
  /** Named sections of the horizontal axis, with a line at the end of each. */
  readonly stretches?: readonly { readonly from: number; readonly to: number; readonly name: string }[];
}

/** A part of a stacked bar. */
export interface Part {
  /** Its name in the legend. */
  readonly name: string;
  /** Its size. */
  readonly value: number;
  /** A CSS colour. */
  readonly colour: string;
}

/** Points of a curve beyond which more are indistinguishable at the size of a chart. */
export const POINTS = 240;

const WIDTH = 480;
const HEIGHT = 270;
const MARGIN = { left: 80, right: 16, top: 14, bottom: 46 }; // room for text of 16 px, see report.css
const NAMES = 10; // more names of sections than this would touch each other

/** Escapes text for HTML and its attributes. */
export function escapeHtml(text: string): string {
  const names: Record<string, string> = { "&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "#39" };
  return text.replace(/[&<>"']/g, (character) => `&${names[character]};`);
}

/** About `count` round numbers that span `low` … `high`. */
export function ticks(low: number, high: number, count = 5): number[] {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / count;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 2.5, 5].find((factor) => factor * unit >= rough * 0.999) ?? 10) * unit;
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  return Array.from(
    { length: Math.max(last - first, 1) + 1 },
    (_, i) => Number(((first + i) * step).toPrecision(12)),
  );
}

/** At most `count` points, each the mean of a group of the given ones. */
export function thin(points: readonly (readonly [number, number])[], count: number): [number, number][] {
  const groups = Math.min(count, points.length);
  return Array.from({ length: groups }, (_, i) => {
    const bound = (i: number) => Math.floor(i * points.length / groups);
    const group = points.slice(bound(i), bound(i + 1));
    const mean = (axis: 0 | 1) => group.reduce((sum, point) => sum + point[axis], 0) / group.length;
    return [mean(0), mean(1)];
  });
}

/** A line chart as an HTML figure with an inline SVG and a legend; the value axis starts at zero. */
export function lineChart(series: readonly Series[], options: ChartOptions): string {
  const all = series.flatMap(({ points }) => points).filter(([, y]) => Number.isFinite(y));
  const heading = `<figcaption>${escapeHtml(options.title)}</figcaption>`;
  if (all.length === 0) return `<figure>${heading}<p class="empty">nothing recorded yet</p></figure>`;
  const xs = all.map(([x]) => x);
  const [left, right] = [min(xs), Math.max(max(xs), min(xs) + 1e-9)];
  const unit = options.unit ?? 1;
  const levels = ticks(0, (options.top ?? max(all.map(([, y]) => y))) / unit).map((level) => level * unit);
  const top = max(levels);
  const X = (x: number) => MARGIN.left + (x - left) / (right - left) * (WIDTH - MARGIN.left - MARGIN.right);
  const floor = HEIGHT - MARGIN.bottom;
  const Y = (y: number) => floor - y / top * (floor - MARGIN.top);
  const grid = levels.map((y) =>
    `<line class="grid" x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${place(Y(y))}" y2="${
      place(Y(y))
    }"/>` +
    `<text class="tick end" x="${MARGIN.left - 7}" y="${place(Y(y) + 4)}">${
      escapeHtml(options.format(y))
    }</text>`
  );
  const marks = options.stretches === undefined
    ? ticks(left, right, 6).filter((x) => x >= left && x <= right && !(options.whole && x % 1)).map((x) =>
      `<text class="tick middle" x="${place(X(x))}" y="${floor + 17}">${Number(x.toPrecision(6))}</text>`
    )
    : options.stretches.map(({ from, to, name }, i, all) =>
      `<line class="grid" x1="${place(X(to))}" x2="${place(X(to))}" y1="${MARGIN.top}" y2="${floor}"/>` +
      (i % Math.ceil(all.length / NAMES) > 0
        ? ""
        : `<text class="tick middle" x="${place((X(from) + X(to)) / 2)}" y="${floor + 17}">${
          escapeHtml(name)
        }</text>`)
    );
  const curves = series.map(({ name, points: given, colour, marked, filled }) => {
    const points = given.filter(([, y]) => Number.isFinite(y))
      .map(([x, y]) => ({ x, y, cx: place(X(x)), cy: place(Y(y)) }));
    const [first, last] = [points[0], points.at(-1)];
    if (first === undefined || last === undefined) return "";
    const path = points.map(({ cx, cy }) => `${cx},${cy}`).join(" ");
    const area = filled
      ? `<polygon style="fill:${colour}" points="${first.cx},${floor} ${path} ${last.cx},${floor}"/>`
      : "";
    const dots = marked || points.length === 1
      ? points.map(({ x, y, cx, cy }) =>
        `<circle style="fill:${colour}" r="3" cx="${cx}" cy="${cy}">` +
        `<title>${escapeHtml(`${name}, ${options.x} ${x}: ${options.format(y)}`)}</title></circle>`
      ).join("")
      : "";
    return `${area}<polyline style="stroke:${colour}" points="${path}"/>${dots}`;
  });
  const axis =
    `<text class="tick middle" x="${(MARGIN.left + WIDTH - MARGIN.right) / 2}" y="${HEIGHT - 6}">` +
    `${escapeHtml(options.x)}</text>`;
  return `<figure>${heading}<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${
    escapeHtml(options.title)
  }">${grid.join("")}${marks.join("")}${axis}${curves.join("")}</svg>${legend(series)}</figure>`;
}

/** Horizontal stacked bars on one scale, as an HTML figure. */
export function barChart(
  title: string,
  bars: readonly { readonly name: string; readonly parts: readonly Part[] }[],
  format: (value: number) => string,
): string {
  const total = (parts: readonly Part[]) => parts.reduce((sum, part) => sum + part.value, 0);
  const full = Math.max(...bars.map(({ parts }) => total(parts)), 1);
  const rows = bars.map(({ name, parts }) => {
    const pieces = parts.filter(({ value }) => value > 0).map(({ name, value, colour }) =>
      `<span style="width:${(value / full * 100).toFixed(3)}%;background:${colour}" title="${
        escapeHtml(`${name}: ${format(value)}`)
      }"></span>`
    );
    return `<div class="bar-name">${escapeHtml(name)}</div><div class="bar">${pieces.join("")}</div>` +
      `<div class="bar-total">${escapeHtml(format(total(parts)))}</div>`;
  });
  const kinds = new Map(bars.flatMap(({ parts }) => parts.map((part) => [part.name, part] as const)));
  return `<figure><figcaption>${escapeHtml(title)}</figcaption><div class="bars">${rows.join("")}</div>${
    legend([...kinds.values()])
  }</figure>`;
}

function legend(entries: readonly { readonly name: string; readonly colour: string }[]): string {
  if (entries.length < 2) return "";
  const items = entries.map(({ name, colour }) =>
    `<li><i style="background:${colour}"></i>${escapeHtml(name)}</li>`
  );
  return `<ul class="legend">${items.join("")}</ul>`;
}

// Math.max(...values) would overflow the stack on a long run's values.
const min = (values: readonly number[]) => values.reduce((a, b) => Math.min(a, b), Infinity);
const max = (values: readonly number[]) => values.reduce((a, b) => Math.max(a, b), -Infinity);

function place(value: number): string {
  return String(Math.round(value * 10) / 10);
}
