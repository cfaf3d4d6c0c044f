/** Small pictures as SVG, from figures alone: the same figures give the same bytes. */

import { colour } from "../../src/artifacts/palette.ts";
import { escape } from "./markdown.ts";

const WIDTH = 600;

/** An SVG of this height, on white. */
function svg(height: number, parts: readonly string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="13">
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
${parts.join("\n")}
</svg>
`;
}

function text(x: number, y: number, content: string, anchor: "start" | "middle" | "end" = "start"): string {
  const at = anchor === "start" ? "" : ` text-anchor="${anchor}"`;
  return `<text x="${round(x)}" y="${round(y)}"${at}>${escape(content)}</text>`;
}

const round = (value: number) => Number(value.toFixed(1));

/** A bar of {@link bars}. */
export interface Bar {
  readonly name: string;
  readonly mebibytes: number;
  readonly fits: boolean;
}

/** Bars of memory, those above the limit in another colour. */
export function bars(rows: readonly Bar[], limit: number): string {
  const [left, scale] = [190, 330 / Math.max(limit, ...rows.map(({ mebibytes }) => mebibytes))];
  const end = 26 * rows.length + 12;
  const drawn = rows.map(({ name, mebibytes, fits }, i) => {
    const y = 26 * i + 8;
    const width = mebibytes * scale;
    return `${text(left - 8, y + 14, name, "end")}
<rect x="${left}" y="${y}" width="${round(width)}" height="18" rx="3" fill="${fits ? "#59a14f" : "#e15759"}"/>
${text(left + width + 6, y + 14, `${mebibytes} MiB`)}`;
  });
  const x = left + limit * scale;
  const mark = `<path d="M${round(x)} 2V${end}" stroke="#1b1f26" stroke-dasharray="4 3"/>`;
  return svg(end + 22, [...drawn, mark, text(x, end + 14, `limit ${limit} MiB`, "middle")]);
}

/** A line of {@link curves}: its points from left to right. */
export interface Curve {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

const PLOT = { left: 60, right: 420, top: 16, bottom: 210 };

/** Lines over a common axis, on a scale from zero, with their names beside them. */
export function curves(lines: readonly Curve[], axes: { readonly x: string; readonly y: string }): string {
  const all = lines.flatMap(({ points }) => points);
  const [first, last] = [Math.min(...all.map(([x]) => x)), Math.max(...all.map(([x]) => x))];
  const step = tickOf(Math.max(...all.map(([, y]) => y)));
  const top = step * Math.ceil(Math.max(...all.map(([, y]) => y)) / step - 1e-9);
  const { left, right, bottom } = PLOT;
  const across = (x: number) => left + (right - left) * (x - first) / Math.max(last - first, 1);
  const up = (y: number) => bottom - (bottom - PLOT.top) * y / top;
  const grid = Array.from({ length: Math.round(top / step) + 1 }, (_, i) => {
    const y = up(i * step);
    const value = String(Number((i * step).toPrecision(6)));
    return `<path d="M${left} ${round(y)}H${right}" stroke="#ddd"/>\n${text(left - 8, y + 4, value, "end")}`;
  });
  const drawn = lines.map(({ points }, i) => {
    const path = points.map(([x, y]) => `${round(across(x))},${round(up(y))}`).join(" ");
    return `<polyline points="${path}" fill="none" stroke="${colour(i, lines.length)}" stroke-width="2"/>`;
  });
  const each = Math.min(18, (bottom - PLOT.top) / lines.length);
  const names = lines.map(({ name }, i) => {
    const y = PLOT.top + 6 + i * each;
    const mark = `<rect x="${right + 16}" y="${round(y - 4)}" width="14" height="4" fill="${
      colour(i, lines.length)
    }"/>`;
    return `${mark}\n${text(right + 36, y + 3, name)}`;
  });
  const labels = [
    text(left, bottom + 18, String(first), "middle"),
    text(right, bottom + 18, String(last), "middle"),
    text((left + right) / 2, bottom + 18, axes.x, "middle"),
    `<text x="14" y="113" text-anchor="middle" transform="rotate(-90 14 113)">${escape(axes.y)}</text>`,
  ];
  return svg(bottom + 30, [...grid, ...drawn, ...names, ...labels]);
}

/** The distance of about five lines of a grid up to `most`: 1, 2 or 5 times a power of ten. */
function tickOf(most: number): number {
  const rough = Math.max(most, 1e-9) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5].find((times) => times * power >= rough) ?? 10);
}

/** A picture of {@link tiles}. */
export interface Tile {
  /** As a PNG in base64. */
  readonly png: string;
  /** Lines below it. */
  readonly lines: readonly string[];
  /** False marks a mistake. */
  readonly right?: boolean;
}

/** Pictures in rows, each with its lines below it; those that are wrong have a red frame. */
export function tiles(all: readonly Tile[], size: number): string {
  const columns = Math.floor((WIDTH - 10) / (size + 24));
  const most = Math.max(...all.map(({ lines }) => lines.length));
  const height = size + 14 + 15 * most;
  const drawn = all.map(({ png, lines, right = true }, i) => {
    const x = 10 + (i % columns) * (WIDTH - 10) / columns;
    const y = 8 + Math.floor(i / columns) * height;
    const image =
      `<image x="${round(x)}" y="${y}" width="${size}" height="${size}" style="image-rendering:pixelated" ` +
      `href="data:image/png;base64,${png}"/>`;
    const frame =
      `<rect x="${round(x - 2)}" y="${y - 2}" width="${size + 4}" height="${size + 4}" fill="none" ` +
      `stroke="#e15759" stroke-width="2"/>`;
    return [image, ...right ? [] : [frame], ...lines.map((line, n) => text(x, y + size + 15 * (n + 1), line))]
      .join("\n");
  });
  return svg(8 + height * Math.ceil(all.length / columns), drawn);
}
