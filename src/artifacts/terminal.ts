/** Columns below which a line drawn over itself says nothing; a terminal that has none yet says 0. */
const LEAST = 20;

/** Columns of the terminal; undefined where there is none. */
export function columns(): number | undefined {
  try {
    return Deno.consoleSize().columns;
  } catch { // neither input, output nor error is a terminal
    return undefined;
  }
}

/** Whether text can be drawn over on a terminal of so many columns, of the kind that `TERM` names where it is known. */
export function canDraw(columns: number | undefined, term: string | undefined): boolean {
  return columns !== undefined && columns >= LEAST && term !== "dumb";
}

/** Whether lines on standard error can be drawn over. */
export function drawsOver(): boolean {
  return Deno.stderr.isTerminal() && canDraw(columns(), term());
}

function term(): string | undefined {
  const { state } = Deno.permissions.querySync({ name: "env", variable: "TERM" });
  return state === "granted" ? Deno.env.get("TERM") : undefined;
}
