import type { Recompute } from "../compile/recomputation.ts";
import { LocalgradError } from "../base/errors.ts";
import { mebibytes } from "../base/mebibytes.ts";
import { bytesOfSize } from "../base/size.ts";
import { type WayWithinLimit, withinLimit } from "../local/limit/limit.ts";
import { isList, reserveIn } from "../local/limit/options.ts";
import type { Method } from "../local/method.ts";
import type { Modules } from "../local/partition/partition.ts";
import { precisionOn } from "../local/precision.ts";
import type { TrainerOptions } from "./trainer_options.ts";

/** Options of a trainer in which nothing is left to choose. */
export interface ChosenOptions
  extends Omit<TrainerOptions, "method" | "modules" | "accumulate" | "batch" | "memoryLimit" | "reserve"> {
  readonly method: Method;
  readonly modules?: Modules;
  readonly accumulate?: number;
  readonly batch: number;
  readonly recompute: Recompute;
  /** What each process of several may need, in bytes. */
  readonly limit?: number;
  /** What was chosen within the limit of a process alone. */
  readonly plan?: WayWithinLimit;
}

/**
 * Chooses what the options of a trainer leave open within their memory limit. Each of several processes keeps to the limit
 * by recomputing, and a pipeline by the modules of each; methods and cuts are those of all, and stay.
 *
 * @throws {LocalgradError} if nothing fits, or something is left open without a limit or to several processes.
 */
export function chosenOptions(options: TrainerOptions): ChosenOptions {
  const { memoryLimit, reserve, device, method, modules, accumulate, batch, ...rest } = options;
  const { processes, backend: { target } } = device;
  if (memoryLimit === undefined && reserve !== undefined) {
    throw new LocalgradError("trainer: reserve is of a memoryLimit, so give one");
  }
  if (memoryLimit === undefined || processes !== undefined) {
    const why = memoryLimit === undefined
      ? "is chosen within a memoryLimit, so give one"
      : "cannot be chosen for several processes, so give it";
    const given = <T>(name: string, value: T | "auto"): T => {
      if (value === "auto") throw new LocalgradError(`trainer: ${name}: "auto" ${why}`);
      return value;
    };
    if (isList(method)) throw new LocalgradError(`trainer: a method of a list ${why}`);
    if (isList(batch)) throw new LocalgradError(`trainer: a batch of a list ${why}`);
    const limit = memoryLimit === undefined ? undefined : limitOf(memoryLimit, reserve);
    const { recompute = limit === undefined ? false : { limit } } = rest;
    return {
      ...{ ...rest, device, method, batch, recompute },
      ...(modules === undefined ? {} : { modules: given("modules", modules) }),
      ...(accumulate === undefined ? {} : { accumulate: given("accumulate", accumulate) }),
      ...(limit === undefined ? {} : { limit }),
    };
  }
  const { model, optimizer, loss, average, batchNorm, recompute } = rest;
  const plan = isChosen(memoryLimit) ? memoryLimit : withinLimit({
    ...{ memoryLimit, model, method, optimizer, batch, target },
    ...(reserve === undefined ? {} : { reserve }),
    precision: precisionOn(target, rest.precision),
    ...(modules === undefined ? {} : { modules }),
    ...(accumulate === undefined ? {} : { accumulate }),
    ...(recompute === undefined ? {} : { recompute }),
    ...(loss === undefined ? {} : { loss }),
    ...(average === undefined ? {} : { average }),
    ...(batchNorm === undefined ? {} : { batchNorm }),
  });
  return {
    ...{ ...rest, device, plan },
    ...{ method: plan.method, modules: plan.modules, batch: plan.batch, recompute: plan.recompute },
    ...(plan.accumulate === 1 ? {} : { accumulate: plan.accumulate }),
  };
}

/** Returns true for a way that was chosen within a limit. */
function isChosen(limit: number | string | WayWithinLimit): limit is WayWithinLimit {
  return typeof limit === "object" && limit !== null && "limit" in limit && "method" in limit;
}

/** What a limit leaves to a step, in bytes. */
function limitOf(limit: number | string | WayWithinLimit, reserve?: number | string): number {
  if (isChosen(limit)) return limit.limit - (limit.reserve ?? 0);
  const bytes = bytesOfSize("trainer: memoryLimit", limit);
  return bytes - reserveIn("trainer", reserve, bytes);
}

/** Refuses the step of one of several processes that needs more than its limit. */
export function expectWithin(limit: number, peakBytes: number): void {
  if (peakBytes <= limit) return;
  throw new LocalgradError(
    `trainer: this process needs at least ${mebibytes(peakBytes)}, more than the memoryLimit of ${
      mebibytes(limit)
    }; ` +
      "allow that much, or use smaller batches, more modules or more processes",
  );
}
