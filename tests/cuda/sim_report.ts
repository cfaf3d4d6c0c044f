import { textOf } from "../../ffi/memory.ts";

/** What is left on the simulated device that this process has opened, and its faults; empty after a clean end. */
export function reportOfSimulated(): string {
  const simulated = Deno.dlopen(Deno.env.get("LOCALGRAD_LIBCUDA") ?? "", {
    sim_report: { parameters: ["buffer", "i32"], result: "i32" },
  });
  const text = new Uint8Array(4096);
  simulated.symbols.sim_report(text, text.length);
  simulated.close();
  return textOf(text);
}
