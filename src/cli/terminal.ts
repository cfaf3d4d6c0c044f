import { formatBytes } from "../artifacts/format.ts";
import { drawsOver } from "../artifacts/terminal.ts";

let told = -Infinity;
/** Whether the cursor stands behind a line that is to be drawn over. */
let drawn = false;

/**
 * Says something to the person at the terminal; results go to standard output, this does not. It does not fail where
 * nobody reads it any more, nor where it goes to a file whose disk is full, which `console` throws for.
 */
export function note(text: string): void {
  try {
    console.error(drawn ? `\n${text}` : text);
  } catch { // what cannot be told is not to end a run
  }
  drawn = false;
}

/** Shows how something goes on: drawn over itself on a terminal, else a line now and then. */
function showCourse(text: string, whole: boolean): void {
  const now = performance.now();
  const terminal = drawsOver();
  if (!whole && now - told < (terminal ? 100 : 5000)) return;
  told = now;
  drawn = terminal && !whole;
  const shown = terminal ? `\r\x1b[2K${text}${whole ? "\n" : ""}` : `${text}\n`;
  try {
    Deno.stderr.writeSync(new TextEncoder().encode(shown));
  } catch { // whoever read this is gone
  }
}

/** Shows how the download of a data set goes on. */
export function showDownload(name: string, received: number, total: number | undefined): void {
  const of = total === undefined ? "" : ` of ${formatBytes(total)} (${Math.floor(received / total * 100)} %)`;
  showCourse(`downloading ${name}: ${formatBytes(received)}${of}`, received === total);
}

let began: number | undefined;

/** Shows how the check of a folder's files goes on, where it takes long enough to wonder. */
export function showCheck(done: number, total: number): void {
  began ??= performance.now();
  if (performance.now() - began > 5000) showCourse(`checking files: ${done} of ${total}`, done === total);
}

/** Columns of text: the first left-aligned, the others right-aligned. */
export function textTable(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [heads, ...rows];
  const widths = heads.map((_, column) => Math.max(...all.map((row) => row[column].length)));
  const line = (row: readonly string[]) =>
    row.map((cell, column) => column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column])).join(
      "  ",
    );
  return [line(heads), widths.map((width) => "─".repeat(width)).join("  "), ...rows.map(line)].join("\n");
}

/** The same as a Markdown table. */
export function markdownTable(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(heads), line(heads.map((_, column) => column === 0 ? "---" : "---:")), ...rows.map(line)].join(
    "\n",
  );
}
