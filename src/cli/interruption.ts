import { note } from "./terminal.ts";

/** A signal that Ctrl-C (or a request to terminate) gives; disposing of it restores the usual effect of those. */
export interface Interruption extends Disposable {
  /** Aborted at the first Ctrl-C; another, a second later, ends the process at once. */
  readonly signal: AbortSignal;
}

/** Listens for Ctrl-C until disposed of; `text` says what comes of it. */
export function interruption(text = "stopping after this step, saving …"): Interruption {
  const controller = new AbortController();
  const signals: readonly Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM"];
  let first = 0;
  const stop = () => {
    if (controller.signal.aborted) {
      // What started this process may pass one Ctrl-C on a second time.
      if (performance.now() - first > 1000) Deno.exit(130);
      return;
    }
    first = performance.now();
    controller.abort();
    note(text);
  };
  for (const signal of signals) Deno.addSignalListener(signal, stop);
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      for (const signal of signals) Deno.removeSignalListener(signal, stop);
    },
  };
}
