import { cString, textOf } from "../../ffi/memory.ts";

/** The simulated device that this process has opened, for scripts of several processes (simulated.ts builds another). */
function opened() {
  return Deno.dlopen(Deno.env.get("LOCALGRAD_LIBCUDA") ?? "", {
    sim_report: { parameters: ["buffer", "i32"], result: "i32" },
    sim_fail: { parameters: ["buffer", "i32", "i32"], result: "void" },
  });
}

/** What is left on it, and its faults; empty after a clean end. */
export function reportOfSimulated(): string {
  const simulated = opened();
  const text = new Uint8Array(4096);
  simulated.symbols.sim_report(text, text.length);
  simulated.close();
  return textOf(text);
}

/** Makes the next call of a kind fail. */
export function failSimulated(what: string): void {
  const simulated = opened();
  simulated.symbols.sim_fail(cString(what), 1, 1);
  simulated.close();
}
