import { escapeHtml } from "./chart.ts";
import { formatPercent } from "./format.ts";
import { htmlTable } from "./page.ts";

/** Up to this many classes all of them are shown; of more, only what is confused most. */
const SHOWN = 20;
const MOST = 12;

/**
 * A confusion matrix as HTML: images of each class (rows) by the class they were taken for (columns), shaded by their
 * share of the row; of many classes, a list of what is confused most.
 */
export function confusionTable(
  confusion: readonly (readonly number[])[],
  names: readonly string[] = [],
): string {
  const nameOf = (label: number) => names[label] ?? String(label);
  return confusion.length > SHOWN ? worst(confusion, nameOf) : matrix(confusion, nameOf);
}

function matrix(confusion: readonly (readonly number[])[], nameOf: (label: number) => string): string {
  const heads = confusion.map((_, label) => `<th scope="col">${escapeHtml(nameOf(label))}</th>`);
  const rows = confusion.map((row, label) => {
    const total = row.reduce((a, b) => a + b, 0);
    const cells = row.map((count, taken) => {
      const share = total === 0 ? 0 : count / total;
      const kind = taken === label ? "right" : "wrong";
      const shade = count === 0 ? "" : ` class="${kind}" style="--share: ${Math.round(100 * share)}%"`;
      return `<td${shade}>${count === 0 ? "·" : count}</td>`;
    });
    const recall = total === 0 ? "–" : formatPercent((row[label] ?? 0) / total, 1);
    return `<tr><th scope="row">${escapeHtml(nameOf(label))}</th>${cells.join("")}<td>${recall}</td></tr>`;
  });
  return `<div class="wide"><table class="confusion">
<thead><tr><th>is ↓ taken for →</th>${heads.join("")}<th scope="col">recall</th></tr></thead>
<tbody>${rows.join("\n")}</tbody></table></div>`;
}

function worst(confusion: readonly (readonly number[])[], nameOf: (label: number) => string): string {
  const pairs = confusion.flatMap((row, label) => row.map((count, taken) => ({ label, taken, count })));
  const wrong = pairs.filter(({ label, taken, count }) => label !== taken && count > 0);
  const most = wrong.toSorted((a, b) => b.count - a.count).slice(0, MOST);
  return htmlTable(
    ["class", "taken for", "images"],
    most.map(({ label, taken, count }) => [nameOf(label), nameOf(taken), String(count)]),
  );
}
