/** Columns below which a redrawn line is unreadable; a terminal without a size yet reports 0. */
const LEAST = 20;

/** Width of the terminal in columns; undefined if there is none. */
export function columns(): number | undefined {
  try {
    return Deno.consoleSize().columns;
  } catch { // none of the standard streams is a terminal
    return undefined;
  }
}

/** True if text can be redrawn in place on a terminal of that width and kind; `term` is `TERM` if it is known. */
export function canDraw(columns: number | undefined, term: string | undefined): boolean {
  return columns !== undefined && columns >= LEAST && term !== "dumb";
}

/** True if lines on standard error can be redrawn in place. */
export function drawsOver(): boolean {
  return Deno.stderr.isTerminal() && canDraw(columns(), term());
}

function term(): string | undefined {
  const { state } = Deno.permissions.querySync({ name: "env", variable: "TERM" });
  return state === "granted" ? Deno.env.get("TERM") : undefined;
}
