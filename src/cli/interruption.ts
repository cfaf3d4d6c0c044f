import { note } from "./terminal.ts";

/** Listens for Ctrl-C and requests to terminate; disposing of it restores their usual effect. */
export interface Interruption extends Disposable {
  /** Aborted at the first Ctrl-C; another one, at least a second later, ends the process immediately. */
  readonly signal: AbortSignal;
  /** Exit code of an interrupted command: 128 plus the signal's number, as in shells; 0 without a signal. */
  readonly exitCode: number;
}

/**
 * Ctrl-C, a request to terminate, and a closed terminal or connection, with their numbers. SIGUSR1 counts as Ctrl-C: Open
 * MPI's launcher passes it on, while it answers Ctrl-C by killing its processes after a second.
 */
const SIGNALS = [["SIGINT", 2], ["SIGTERM", 15], ["SIGHUP", 1], ["SIGUSR1", 2]] as const;

/** Listens for signals until disposed of; prints `text` at the first one. */
export function interruption(text = "stopping after this step, saving …"): Interruption {
  const controller = new AbortController();
  let first = 0, exitCode = 0;
  const signals = SIGNALS.filter(([name]) => name === "SIGINT" || Deno.build.os !== "windows");
  const listeners = signals.map(([name, number]) => {
    const stop = () => {
      if (controller.signal.aborted) {
        // The parent process may forward the same Ctrl-C again.
        if (performance.now() - first > 1000) Deno.exit(128 + number);
        return;
      }
      first = performance.now();
      exitCode = 128 + number;
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
