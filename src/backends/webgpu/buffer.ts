import { LocalgradError } from "../../base/errors.ts";
import type { DeviceBuffer } from "../backend.ts";
import type { Pending } from "./validation.ts";

/** The memory of a device array. */
export class WebGpuBuffer implements DeviceBuffer {
  /** Validations, still under way, of the kernels and memory that its contents were computed with. */
  pending: readonly Pending[] = [];

  constructor(readonly bytes: number, readonly gpu: GPUBuffer) {}
}

/** Checks that a device buffer is one of this backend's. */
export function own(buffer: DeviceBuffer): WebGpuBuffer {
  if (!(buffer instanceof WebGpuBuffer)) {
    throw new LocalgradError("webgpu: this array belongs to another device; copy it to this one first");
  }
  return buffer;
}
