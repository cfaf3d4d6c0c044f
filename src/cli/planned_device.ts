/**
 * Devices to plan for: those of `devices.target`, and the CPU with oneDNN.
 *
 * @module
 */
import { LocalgradError } from "../base/errors.ts";
import type { Target } from "../compile/plan.ts";
import { type BackendName, target } from "../runtime/devices.ts";

/** The name of a device to plan for. */
export const plannedDevices = ["cuda", "webgpu", "cpu", "cpu-onednn"] as const satisfies readonly (
  | BackendName
  | "cpu-onednn"
)[];

/** A device to plan for: plain data, which can be sent to a thread. */
export interface PlannedDevice {
  readonly name: (typeof plannedDevices)[number];
  /** Threads of the CPU; default: as many as a device takes. */
  readonly threads?: number;
  /** True if steps overlap, on CUDA. */
  readonly overlap?: boolean;
}

/** What the compiler plans for. Disposing of it closes oneDNN. */
export function targetFor({ name, threads, overlap }: PlannedDevice): Promise<Target & Disposable> {
  const options = {
    ...(threads === undefined ? {} : { threads }),
    ...(overlap === undefined ? {} : { overlap }),
  };
  return name === "cpu-onednn" ? target("cpu", { ...options, engine: "onednn" }) : target(name, options);
}

/** The device itself; where oneDNN cannot be asked, the CPU without it, and the reason. */
export async function plannable(
  device: PlannedDevice,
): Promise<{ readonly device: PlannedDevice; readonly instead?: string }> {
  if (device.name !== "cpu-onednn") return { device };
  try {
    (await targetFor(device))[Symbol.dispose]();
    return { device };
  } catch (error) {
    if (!(error instanceof LocalgradError)) throw error;
    const { state } = await Deno.permissions.query({ name: "ffi" });
    const remedy = state === "granted"
      ? error.message
      : "oneDNN alone knows the sizes, and may not be loaded here: run deno task memory:onednn";
    return { device: { ...device, name: "cpu" }, instead: `planned for WebAssembly instead: ${remedy}` };
  }
}

/** A device for people: `cpu with oneDNN 3.2.0 (avx2), 2 threads`. */
export function describeDevice({ name, engine }: Target, threads: number): string {
  return engine === undefined ? name : `${name} with ${engine}, ${threads} thread${threads === 1 ? "" : "s"}`;
}
