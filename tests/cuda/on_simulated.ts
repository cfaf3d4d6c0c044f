/** Helpers of tests on the simulated device. */

import { assertEquals } from "@std/assert";
import type { CudaBackend, CudaOptions } from "../../src/backends/cuda/backend.ts";
import { Device } from "../../src/runtime/arrays.ts";
import { skips } from "../gate.ts";
import { openSimulated, report, setMemory } from "./simulated.ts";

/** True if the simulated device cannot be built here. */
export const ignore = await skips("cuda-simulated", () => openSimulated());

/** Registers a test that gets a device; it fails if anything is left on the device or the device reports a fault. */
export function test(
  name: string,
  body: (device: Device, backend: CudaBackend) => Promise<void>,
  options: CudaOptions = {},
) {
  Deno.test({
    name: `cuda, simulated: ${name}`,
    ignore,
    fn: async () => {
      const opened = await openSimulated({ precision: "f32", ...options });
      if (!("backend" in opened)) throw new Error(opened.reason);
      const device = new Device(opened.backend);
      try {
        await body(device, opened.backend as CudaBackend);
      } finally {
        await device.close();
        setMemory(2 ** 32);
      }
      assertEquals(report(), "");
    },
  });
}

/** The largest difference, relative to the largest magnitude. */
export function apart(a: readonly number[], b: readonly number[]): number {
  assertEquals(a.length, b.length);
  const scale = Math.max(...b.map(Math.abs));
  return Math.max(...a.map((x, i) => Math.abs(x - b[i]))) / scale;
}
