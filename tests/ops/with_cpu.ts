/** The CPU backend with a number of threads, open while a test uses it. */

import type { Backend } from "../../src/backends/backend.ts";
import { openCpu } from "../../src/backends/cpu/backend.ts";

/** Opens the CPU backend, passes it on, and closes it. */
export async function withCpu<T>(threads: number, use: (backend: Backend) => Promise<T>): Promise<T> {
  const opened = openCpu({ threads });
  if (!("backend" in opened)) throw new Error(opened.reason);
  try {
    return await use(opened.backend);
  } finally {
    await opened.backend.close();
  }
}
