let traces = 0;

/** True inside a traced function. */
export function tracing(): boolean {
  return traces > 0;
}

/** Runs the body of a traced function. */
export function duringTracing<T>(body: () => T): T {
  traces++;
  try {
    return body();
  } finally {
    traces--;
  }
}

// Frames under src/ are the library's own, wherever it was imported from.
const libraryRoot = import.meta.url.replace(/src\/trace\/site\.ts.*$/, "src/");

/**
 * The innermost stack frame outside the library, as `file:line:column`, if any. Tests next to sources count as users.
 */
export function userLine(): string | undefined {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 50;
  const stack = new Error().stack ?? "";
  Error.stackTraceLimit = limit;
  for (const line of stack.split("\n").slice(1)) {
    const place = line.match(/((?:file|https?|data|blob):[^\s()]+:\d+:\d+)/)?.[1];
    if (place === undefined) continue;
    if (!place.startsWith(libraryRoot) || /_test\.ts:/.test(place)) return place;
  }
  return undefined;
}

/** The innermost stack frame outside the library, in brackets, to end a message with. */
export function atUserLine(): string {
  const line = userLine();
  return line === undefined ? "" : ` (at ${line})`;
}
