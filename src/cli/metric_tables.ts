import { formatPercent } from "../artifacts/format.ts";
import type { ClassScore } from "../local.ts";

/** Lines of cells, the first column to the left and the others to the right. */
function aligned(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => [...row[i] ?? ""].length)));
  return rows.map((row) =>
    row.map((cell, i) => i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)).join("  ")
  ).join("\n");
}

/** The scores of classes, a line for each. */
export function classTable(scores: readonly ClassScore[], names: readonly string[]): string {
  const percent = (share: number | undefined) => share === undefined ? "–" : formatPercent(share, 1);
  const pixels = scores.some(({ iou }) => iou !== undefined);
  return aligned([
    ["class", pixels ? "pixels" : "images", "recall", "precision", ...(pixels ? ["IoU"] : [])],
    ...scores.map(({ images, recall, precision, iou }, label) => [
      names[label] ?? String(label),
      String(images),
      percent(recall),
      percent(precision),
      ...(pixels ? [percent(iou)] : []),
    ]),
  ]);
}

/** A confusion matrix: a line for each class, a column for each that its images were taken for, by number. */
export function confusionTable(confusion: readonly (readonly number[])[], names: readonly string[]): string {
  return aligned([
    ["class, by what it was taken for", ...confusion.map((_, label) => String(label))],
    ...confusion.map((row, label) => [`${label} ${names[label] ?? ""}`.trimEnd(), ...row.map(String)]),
  ]);
}
