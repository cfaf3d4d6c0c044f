import type { Opened } from "../../src/backends/backend.ts";
import { openCpu } from "../../src/backends/cpu/backend.ts";

/** Opens the CPU with oneDNN, if it computes in bf16 on this processor. */
export async function openBf16(): Promise<Opened> {
  const opened = openCpu({ engine: "onednn" });
  if (!("backend" in opened) || opened.backend.target.precisions.includes("bf16")) return opened;
  await opened.backend.close();
  return {
    reason: "oneDNN multiplies no bf16 on this processor",
    remedy: "use one with AVX-512 BF16 or AMX",
  };
}
