import type { LocalgradError } from "../../base/errors.ts";

/**
 * The validation of kernels or memory by WebGPU. Its result arrives late, perhaps after work that depends on it has been
 * issued; until then the results of that work are pending (see `WebGpuBuffer.pending`).
 */
export class Validation {
  /** The error that WebGPU reported, if any. */
  fault: string | undefined;
  /** True once the result has arrived. */
  settled = false;
  /** Resolves when the result arrives. */
  readonly done: Promise<void>;

  /** Takes WebGPU's error, or undefined if there is none. */
  constructor(fault: Promise<string | undefined>) {
    this.done = fault.then((fault) => {
      this.fault = fault;
      this.settled = true;
    });
  }

  /** True once WebGPU has accepted everything. */
  get passed(): boolean {
    return this.settled && this.fault === undefined;
  }
}

/** A validation under way, and the error for results that depend on it, should it fail. */
export interface Pending {
  readonly validation: Validation;
  error(): LocalgradError;
}

/** The kinds of error that WebGPU reports. */
const FILTERS = ["validation", "out-of-memory", "internal"] as const;

/** Runs an action on a device and directs its errors to a validation, so that they do not fail the whole device. */
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
