import { escapeHtml } from "./chart.ts";
import style from "./report.css" with { type: "text" };

/** A self-contained HTML page in the style of reports; `body` is HTML, `title` is text. */
export function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>
${style}</style>
<main>
<header><p>localgrad</p><h1>${escapeHtml(title)}</h1></header>
${body}
</main>
</html>
`;
}

/**
 * An HTML table of text cells, which is scrolled where it is wider than the page.
 *
 * @param kind Its class in the style, such as `figures`, whose cells are not broken, or `settings`, whose are.
 */
export function htmlTable(
  heads: readonly string[],
  rows: readonly (readonly string[])[],
  kind?: "figures" | "settings",
): string {
  const row = (cells: readonly string[], tag: string) =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join("")}</tr>`;
  return `<div class="wide" tabindex="0"><table${kind === undefined ? "" : ` class="${kind}"`}><thead>${
    row(heads, "th")
  }</thead><tbody>${rows.map((cells) => row(cells, "td")).join("")}</tbody></table></div>`;
}
