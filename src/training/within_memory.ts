import type { Recompute } from "../compile/recomputation.ts";
import { LocalgradError } from "../base/errors.ts";
import { mebibytes } from "../base/mebibytes.ts";
import { bytesOfSize } from "../base/size.ts";
import { type WayWithinLimit, withinLimit } from "../local/limit/limit.ts";
import { isList } from "../local/limit/options.ts";
import type { Method } from "../local/method.ts";
import type { Modules } from "../local/partition.ts";
import { precisionOn } from "../local/precision.ts";
import type { TrainerOptions } from "./trainer_options.ts";

/** Options of a trainer in which nothing is left to choose. */
export interface ChosenOptions
  extends Omit<TrainerOptions, "method" | "modules" | "accumulate" | "memoryLimit"> {
  readonly method: Method;
  readonly modules?: Modules;
  readonly accumulate?: number;
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
  const { memoryLimit, device, method, modules, accumulate, ...rest } = options;
  const { processes, backend: { target } } = device;
  if (memoryLimit === undefined || processes !== undefined) {
    const why = memoryLimit === undefined
      ? "is chosen within a memoryLimit, so give one"
      : "cannot be chosen for several processes, so give it";
    const given = <T>(name: string, value: T | "auto"): T => {
      if (value === "auto") throw new LocalgradError(`trainer: ${name}: "auto" ${why}`);
      return value;
    };
    if (isList(method)) throw new LocalgradError(`trainer: a method of a list ${why}`);
    const limit = memoryLimit === undefined ? undefined : bytesOfSize("trainer: memoryLimit", memoryLimit);
    const { recompute = limit === undefined ? false : { limit } } = rest;
    return {
      ...{ ...rest, device, method, recompute },
      ...(modules === undefined ? {} : { modules: given("modules", modules) }),
      ...(accumulate === undefined ? {} : { accumulate: given("accumulate", accumulate) }),
      ...(limit === undefined ? {} : { limit }),
    };
  }
  const { model, optimizer, loss, average, batchNorm, batch, recompute } = rest;
  const plan = withinLimit({
    ...{ memoryLimit, model, method, optimizer, batch, target },
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
    ...{ method: plan.method, modules: plan.modules, recompute: plan.recompute },
    ...(plan.accumulate === 1 ? {} : { accumulate: plan.accumulate }),
  };
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
