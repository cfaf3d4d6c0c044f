import { LocalgradError } from "../../base/errors.ts";
import { expectOptions, expectWhole, type Kinds, shown } from "../../base/expect.ts";
import { mebibytes } from "../../base/mebibytes.ts";
import { bytesOfSize } from "../../base/size.ts";
import { expectRecompute, type Recompute } from "../../compile/recomputation.ts";
import type { Target } from "../../compile/plan.ts";
import { expectMethod, type Method } from "../method.ts";
import { expectMicroBatches } from "../micro_batches.ts";
import type { Modules } from "../partition/partition.ts";
import { SETUP_KINDS, type SetupOptions } from "../setup.ts";
import { expectSpeeds, type Speeds, TYPICAL } from "../step_time.ts";

/** Options of {@link withinLimit}. What is given stays; what is left out, is a list or is `"auto"` is chosen. */
export interface LimitOptions extends Omit<SetupOptions, "method" | "modules" | "accumulate"> {
  /** The most bytes that a step and the `reserve` may need, as planned, or a size: `"2GiB"`, `"512MiB"`, `"80GB"`. */
  memoryLimit: number | string;
  /**
   * What of the limit is left to others on the device: bytes or a size. Give `data.residentBytes(dataset)` if the limit is
   * to hold for a whole run, whose data set stays on the device. Default 0.
   */
  reserve?: number | string;
  /**
   * The method, or those to choose from. `endToEnd()` may become `endToEnd({ checkpoint: true })`, whose results have the
   * same bits.
   */
  method: Method | readonly Method[];
  /** The cut; `"auto"`, as if left out, chooses the number of modules and their boundaries. */
  modules?: Modules | "auto";
  /** Micro-batches of a step's batch; `"auto"` chooses their number. Default 1, because batch norms see one at a time. */
  accumulate?: number | "auto";
  /** What to recompute in the backward pass; default as little as possible within the limit. */
  recompute?: Recompute;
  /** Images per step; of a list, the size that takes the least predicted time an image. Other sizes learn differently. */
  batch: number | readonly number[];
  /** The kind of device. */
  target: Target;
  /** The device's speeds, to predict times by; only their ratios matter. Default typical ones of its backend. */
  speeds?: Speeds;
}

/** The kinds of those options. */
export const LIMIT_KINDS = {
  ...SETUP_KINDS,
  memoryLimit: "any",
  reserve: "any?",
  method: "any",
  accumulate: "any?",
  recompute: "any?",
  batch: "any",
  target: "object",
  speeds: "object?",
} as const satisfies Kinds<LimitOptions>;

/** Refuses impossible options; returns the limit and the reserve in bytes, the methods and the batches. */
export function checkLimit(who: string, options: LimitOptions): {
  readonly limit: number;
  readonly reserve: number;
  readonly methods: readonly Method[];
  readonly batches: readonly number[];
} {
  expectOptions(who, options, LIMIT_KINDS);
  const { method, modules, accumulate, speeds } = options;
  const methods = isList(method) ? method : [method];
  if (methods.length === 0) {
    throw new LocalgradError(`${who}: the list of methods is empty; give at least one`);
  }
  for (const each of methods) expectMethod(who, each);
  const batches = batchesOf(who, options.batch);
  for (const [name, value] of Object.entries({ modules, accumulate })) {
    if (typeof value === "string" && value !== "auto") {
      throw new LocalgradError(`${who}: ${name} may be "auto", not ${shown(value)}`);
    }
  }
  if (typeof accumulate === "number") {
    for (const batch of batches) expectMicroBatches(who, accumulate, batch);
  }
  if (speeds !== undefined) expectSpeeds(who, speeds);
  expectRecompute(who, options.recompute ?? false);
  const limit = bytesOfSize(`${who}: memoryLimit`, options.memoryLimit);
  return { limit, reserve: reserveIn(who, options.reserve, limit), methods, batches };
}

/** The bytes of a limit that are left to others; refuses as many as the limit has. */
export function reserveIn(who: string, reserve: number | string = 0, limit: number): number {
  const bytes = reserve === 0 ? 0 : bytesOfSize(`${who}: reserve`, reserve);
  if (bytes < limit) return bytes;
  throw new LocalgradError(
    `memoryLimit: ${mebibytes(bytes)} are reserved, which leaves nothing of ${mebibytes(limit)}; allow more`,
  );
}

/** Returns true for a list to choose from. */
export function isList<T>(choice: T | readonly T[]): choice is readonly T[] {
  return Array.isArray(choice);
}

/** The sizes of a batch to choose from; refuses impossible ones. */
export function batchesOf(who: string, batch: number | readonly number[]): readonly number[] {
  const batches = isList(batch) ? batch : [batch];
  if (batches.length === 0) {
    throw new LocalgradError(`${who}: the list of batches is empty; give at least one`);
  }
  for (const each of batches) expectWhole(`${who}: batch`, each);
  return batches;
}

/**
 * Speeds whose ratios are typical of a backend's devices: of one core of a CPU, 4 operations a byte; of a card, about 100,
 * as of half the peaks in the data sheet of an H200, and 2 µs to start a kernel.
 */
export function typicalSpeeds({ name }: Pick<Target, "name">): Speeds {
  return name === "cuda" || name === "webgpu" ? CARD : TYPICAL;
}

const CARD: Speeds = { operations: 250e12, bytes: 2.4e12, launch: 2e-6 };
