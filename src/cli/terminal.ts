import { formatBytes } from "../artifacts/format.ts";
import { drawsOver } from "../artifacts/terminal.ts";
import { at } from "../base/at.ts";
import { refusal } from "../base/system.ts";
import type { Device } from "../runtime/arrays.ts";

/** Time of the last progress line. */
let shownAt = -Infinity;
/** True while the cursor is at the end of a line that will be overwritten. */
let open = false;

/** True while nothing is to be printed. */
let silent = false;

/** Stops all output of this process, or lets it go on. */
export function silence(on: boolean): void {
  silent = on;
}

/**
 * Prints a result to standard output.
 *
 * @throws {LocalgradError} if it cannot be written, such as to a file on a full disk.
 */
export function print(text: string): void {
  if (silent) return;
  try {
    console.log(text);
  } catch (error) {
    throw refusal(error, "standard output cannot be written");
  }
}

/**
 * Prints a message for people to standard error; results go to standard output. Does not fail if the reader is gone or
 * the disk of a log is full, for which `console` throws.
 */
export function note(text: string): void {
  if (silent) return;
  try {
    console.error(open ? `\n${text}` : text);
  } catch { // a message that cannot be printed must not end a run
  }
  open = false;
}

/** Prints what a run computes on. What was passed over for it, with the remedies, takes the doctor more than a line. */
export function noteDevice({ name, choice, backend: { description } }: Device): void {
  const hint = choice.endsWith(description) ? "" : "; deno task doctor says what would be faster";
  note(`device ${name}: ${description}${hint}`);
}

/** Shows progress: a line that is overwritten on a terminal, else a line now and then. */
function showProgress(text: string, done: boolean): void {
  if (silent) return;
  const now = performance.now();
  const terminal = drawsOver();
  if (!done && now - shownAt < (terminal ? 100 : 5000)) return;
  shownAt = now;
  open = terminal && !done;
  const shown = terminal ? `\r\x1b[2K${text}${done ? "\n" : ""}` : `${text}\n`;
  try {
    Deno.stderr.writeSync(new TextEncoder().encode(shown));
  } catch { // the reader is gone
  }
}

/** Shows the progress of a download. */
export function showDownload(name: string, received: number, total: number | undefined): void {
  const of = total === undefined ? "" : ` of ${formatBytes(total)} (${Math.floor(received / total * 100)} %)`;
  showProgress(`downloading ${name}: ${formatBytes(received)}${of}`, received === total);
}

let began: number | undefined;

/** Shows the progress of checking files, after five seconds. */
export function showCheck(done: number, total: number): void {
  began ??= performance.now();
  if (performance.now() - began > 5000) showProgress(`checking files: ${done} of ${total}`, done === total);
}

/** Formats a table as text: the first column left-aligned, the others right-aligned. */
export function textTable(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [heads, ...rows];
  const widths = heads.map((_, column) => Math.max(...all.map((row) => at(row, column).length)));
  const line = (row: readonly string[]) =>
    widths.map((width, column) => {
      const cell = at(row, column);
      return column === 0 ? cell.padEnd(width) : cell.padStart(width);
    }).join("  ");
  return [line(heads), widths.map((width) => "─".repeat(width)).join("  "), ...rows.map(line)].join("\n");
}

/** Formats the same as a Markdown table. */
export function markdownTable(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(heads), line(heads.map((_, column) => column === 0 ? "---" : "---:")), ...rows.map(line)].join(
    "\n",
  );
}
