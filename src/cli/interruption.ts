import { note } from "./terminal.ts";

/** A signal that Ctrl-C (or a request to terminate) gives; disposing of it restores the usual effect of those. */
export interface Interruption extends Disposable {
  /** Aborted at the first Ctrl-C; a second one ends the process at once. */
  readonly signal: AbortSignal;
}

/** Listens for Ctrl-C until disposed of. */
export function interruption(): Interruption {
  const controller = new AbortController();
  const signals: readonly Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM"];
  const stop = () => {
    if (controller.signal.aborted) Deno.exit(130);
    controller.abort();
    note("stopping after this step, saving …");
  };
  for (const signal of signals) Deno.addSignalListener(signal, stop);
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      for (const signal of signals) Deno.removeSignalListener(signal, stop);
    },
  };
}
