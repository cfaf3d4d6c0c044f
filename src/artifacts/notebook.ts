import type { ProgressOutput } from "./progress_output.ts";

/** What is needed of Deno's Jupyter kernel. */
export interface Kernel {
  /** Sends a message to the notebook. Declared to return a promise, but Deno 2.9.6 returns nothing. */
  broadcast(type: string, content: { readonly [name: string]: unknown }): Promise<void> | void;
}

/** The kernel that this code runs in; undefined outside notebooks, where Deno throws. */
export function kernel(): Kernel | undefined {
  try {
    const found: unknown = Reflect.get(Deno, "jupyter");
    return isKernel(found) ? found : undefined;
  } catch {
    return undefined;
  }
}

const isKernel = (value: unknown): value is Kernel =>
  typeof value === "object" && value !== null && "broadcast" in value;

const COLUMNS = 100;
const CLEAR = "\r\x1b[2K";

/** Output of a run's progress in the cell of a notebook: one display that is replaced, so that lines can be redrawn. */
export function notebookOutput(kernel: Kernel | undefined): ProgressOutput | undefined {
  if (kernel === undefined) return undefined;
  let text = "";
  let id: string | undefined;
  const send = async () => {
    const type = id === undefined ? "display_data" : "update_display_data";
    id ??= crypto.randomUUID();
    const content = { data: { "text/plain": text }, metadata: {}, transient: { display_id: id } };
    try {
      await kernel.broadcast(type, content);
    } catch { // a notebook that is gone must not end a run
    }
  };
  return {
    terminal: true,
    columns: () => COLUMNS,
    write(more) {
      const whole = more.split(CLEAR);
      text = whole.reduce(
        (kept, each) => kept.slice(0, kept.lastIndexOf("\n") + 1) + each,
        `${text}${whole.shift()}`,
      );
      if (!more.endsWith(CLEAR)) void send(); // the next text follows at once
    },
    now: () => performance.now(),
  };
}
