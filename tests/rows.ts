import { openCpu } from "../src/backends/cpu/backend.ts";
import { openWebgpu } from "../src/backends/webgpu/backend.ts";
import type { Device } from "../src/runtime/arrays.ts";
import { open, type OpenOptions } from "../src/runtime/devices.ts";
import { skips } from "./gate.ts";

/**
 * The name of a device in the titles of tests. `cpu` is WebAssembly alone, so that a test means the same with and without
 * oneDNN; `cpu-onednn` demands it.
 */
export type Row = "reference" | "cpu" | "cpu-onednn" | "webgpu";

/** Opens the device of a row. */
export function openRow(row: Row, options: OpenOptions = {}): Promise<Device> {
  if (row === "cpu-onednn") return open("cpu", { ...options, engine: "onednn" });
  return open(row, row === "cpu" ? { ...options, engine: "wasm" } : options);
}

/** Those of the rows that are here, and whether their tests are skipped; a skip is announced, see `skips`. */
export async function rows<R extends Row>(...names: readonly R[]): Promise<{ row: R; ignore: boolean }[]> {
  const found: { row: R; ignore: boolean }[] = [];
  for (const row of names) {
    const ignore = row === "cpu-onednn"
      ? await skips(row, () => openCpu({ engine: "onednn" }))
      : row === "webgpu" && await skips(row, openWebgpu);
    found.push({ row, ignore });
  }
  return found;
}
