import { LocalgradError } from "../../base/errors.ts";
import { expectOptions, type Kinds, shown } from "../../base/expect.ts";
import { bytesOfSize } from "../../base/size.ts";
import { expectRecompute, type Recompute } from "../../compile/recomputation.ts";
import type { Target } from "../../compile/plan.ts";
import { expectMethod, type Method } from "../method.ts";
import type { Modules } from "../partition.ts";
import { SETUP_KINDS, type SetupOptions } from "../setup.ts";
import { expectSpeeds, type Speeds, TYPICAL } from "../step_time.ts";

/** Options of {@link withinLimit}. What is given stays; what is left out, is a list or is `"auto"` is chosen. */
export interface LimitOptions extends Omit<SetupOptions, "method" | "modules" | "accumulate"> {
  /** The most bytes that a step may need, as planned, or a size: `"2GiB"`, `"512MiB"`, `"80GB"`. */
  memoryLimit: number | string;
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
  /** Images per step. */
  batch: number;
  /** The kind of device. */
  target: Target;
  /** The device's speeds, to predict times by; only their ratios matter. Default typical ones of its backend. */
  speeds?: Speeds;
}

/** The kinds of those options. */
export const LIMIT_KINDS = {
  ...SETUP_KINDS,
  memoryLimit: "any",
  method: "any",
  accumulate: "any?",
  recompute: "any?",
  batch: "number",
  target: "object",
  speeds: "object?",
} as const satisfies Kinds<LimitOptions>;

/** Refuses impossible options; returns the limit in bytes and the methods. */
export function checkLimit(who: string, options: LimitOptions): {
  readonly limit: number;
  readonly methods: readonly Method[];
} {
  expectOptions(who, options, LIMIT_KINDS);
  const { method, modules, accumulate, speeds } = options;
  const methods = isList(method) ? method : [method];
  if (methods.length === 0) {
    throw new LocalgradError(`${who}: the list of methods is empty; give at least one`);
  }
  for (const each of methods) expectMethod(who, each);
  for (const [name, value] of Object.entries({ modules, accumulate })) {
    if (typeof value === "string" && value !== "auto") {
      throw new LocalgradError(`${who}: ${name} may be "auto", not ${shown(value)}`);
    }
  }
  if (speeds !== undefined) expectSpeeds(who, speeds);
  expectRecompute(who, options.recompute ?? false);
  return { limit: bytesOfSize(`${who}: memoryLimit`, options.memoryLimit), methods };
}

/** Returns true for a list of methods. */
export function isList(method: Method | readonly Method[]): method is readonly Method[] {
  return Array.isArray(method);
}

/**
 * Speeds whose ratios are typical of a backend's devices: of one core of a CPU, 4 operations a byte; of a card, about 100,
 * as of half the peaks in the data sheet of an H200, and 2 µs to start a kernel.
 */
export function typicalSpeeds({ name }: Pick<Target, "name">): Speeds {
  return name === "cuda" || name === "webgpu" ? CARD : TYPICAL;
}

const CARD: Speeds = { operations: 250e12, bytes: 2.4e12, launch: 2e-6 };
