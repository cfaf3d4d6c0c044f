import type { LocalgradError } from "../../base/errors.ts";

/**
 * Whether WebGPU accepts what it was asked for: kernels, or memory. It says so after a while, when what it is needed for
 * may have been issued already; so results stand in doubt until then (see `WebGpuBuffer.pending`).
 */
export class Validation {
  /** What is wrong, once that is known. */
  fault: string | undefined;
  /** Whether the validation is there. */
  settled = false;
  /** Resolves when it is. */
  readonly done: Promise<void>;

  constructor(faults: Promise<string | undefined>) {
    this.done = faults.then((fault) => {
      this.fault = fault;
      this.settled = true;
    });
  }

  /** Whether it is there and there is no fault. */
  get holds(): boolean {
    return this.settled && this.fault === undefined;
  }
}

/** A validation that is not there yet, and the error to raise if it is against what was computed. */
export interface Pending {
  readonly validation: Validation;
  error(): LocalgradError;
}

/** What an error of WebGPU's can be about. */
const FILTERS = ["validation", "out-of-memory", "internal"] as const;

/** Does something on a device whose errors go into the validation instead of spoiling the device. */
export function validated<T>(
  device: GPUDevice,
  action: () => T,
): { readonly value: T; readonly validation: Validation } {
  for (const filter of FILTERS) device.pushErrorScope(filter);
  let errors: Promise<(GPUError | null)[]>;
  let value: T;
  try {
    value = action();
  } finally {
    errors = Promise.all(FILTERS.map(() => device.popErrorScope()));
  }
  const first = errors.then((all) => all.find((error) => error !== null)?.message.trim());
  return { value, validation: new Validation(first.catch((error) => String(error))) };
}
