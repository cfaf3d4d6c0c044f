import { note } from "./terminal.ts";

/** A signal that Ctrl-C (or a request to terminate) gives; disposing of it restores the usual effect of those. */
export interface Interruption extends Disposable {
  /** Aborted at the first Ctrl-C; another, a second later, ends the process at once. */
  readonly signal: AbortSignal;
  /** What a command that was stopped exits with: 128 and the signal's number, as shells have it. 0 where none came. */
  readonly exitCode: number;
}

/** Ctrl-C, a request to end, and a terminal or connection that was closed. */
const NUMBERS = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const;

/** Listens for Ctrl-C until disposed of; `text` says what comes of it. */
export function interruption(text = "stopping after this step, saving …"): Interruption {
  const controller = new AbortController();
  const names = Object.keys(NUMBERS) as (keyof typeof NUMBERS)[];
  let first = 0, exitCode = 0;
  const listeners = names.filter((name) => name === "SIGINT" || Deno.build.os !== "windows").map((name) => {
    const stop = () => {
      if (controller.signal.aborted) {
        // What started this process may pass one Ctrl-C on a second time.
        if (performance.now() - first > 1000) Deno.exit(128 + NUMBERS[name]);
        return;
      }
      first = performance.now();
      exitCode = 128 + NUMBERS[name];
      controller.abort();
      note(text);
    };
    Deno.addSignalListener(name, stop);
    return [name, stop] as const;
  });
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode;
    },
    [Symbol.dispose]() {
      for (const [name, stop] of listeners) Deno.removeSignalListener(name, stop);
    },
  };
}
