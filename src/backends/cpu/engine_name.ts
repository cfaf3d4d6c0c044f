import { variable } from "../../base/environment.ts";
import { LocalgradError } from "../../base/errors.ts";
import { shown } from "../../base/expect.ts";

/** The engine for convolutions and products on the CPU; `auto` is oneDNN if it can be used, else WebAssembly. */
export type CpuEngine = "auto" | "wasm" | "onednn";

const engines: readonly CpuEngine[] = ["auto", "wasm", "onednn"];

/** The engine that is asked for by the option, else by `LOCALGRAD_CPU`; default `auto`. */
export function cpuEngine(option?: string): CpuEngine {
  const name = option ?? variable("LOCALGRAD_CPU") ?? "auto";
  const found = engines.find((each) => each === name);
  if (found !== undefined) return found;
  const where = option === undefined ? "LOCALGRAD_CPU: " : "";
  throw new LocalgradError(
    `${where}the CPU backend has no engine ${shown(name)}; choose ${engines.join(", ")}`,
  );
}
