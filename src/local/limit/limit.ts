import { LocalgradError } from "../../base/errors.ts";
import { mebibytes } from "../../base/mebibytes.ts";
import { checkModel } from "../partition.ts";
import { checkLimit, type LimitOptions, typicalSpeeds } from "./options.ts";
import { type Choices, Search, WORTHWHILE } from "./search.ts";
import type { PlannedWay } from "./way.ts";

/** A planned way to train; of one chosen within a memory limit also that, and what the next faster way would need. */
export interface TrainingPlan extends PlannedWay {
  /** The limit, in bytes. */
  readonly limit?: number;
  /** Of the ways that are faster, the one that needs least; undefined if there is none, or none was planned. */
  readonly next?: PlannedWay;
}

/** A way to train within a limit. */
export interface WayWithinLimit extends TrainingPlan {
  /** The limit, in bytes. */
  readonly limit: number;
}

/**
 * Chooses how to train within a memory limit: the plan with the least predicted time of a step that fits. Of what the
 * options leave open, recomputation and checkpoints change no bit of the results; methods, cuts and micro-batches do. The
 * choice depends on the device's kind: its workspaces are part of each plan. Allocates nothing.
 *
 * @throws {LocalgradError} if nothing fits; the message has the least that does.
 *
 * @example
 * ```ts
 * import { devices, local, models, optim } from "@localgrad/localgrad";
 * import { assert, assertEquals } from "@std/assert";
 *
 * const chosen = local.withinLimit({
 *   memoryLimit: "14MiB",
 *   model: models.resnet20(),
 *   method: [local.endToEnd(), local.dgl()],
 *   optimizer: optim.sgd({ momentum: 0.9 }),
 *   batch: 32,
 *   target: await devices.target("cpu", { threads: 2 }),
 * });
 * assert(chosen.peakBytes <= 14 * 2 ** 20);
 * assertEquals(chosen.method.name, "dgl");
 * ```
 */
export function withinLimit(options: LimitOptions): WayWithinLimit {
  const { limit, methods } = checkLimit("withinLimit", options);
  checkModel(options.model);
  const { memoryLimit: _limit, method: _method, modules, accumulate, recompute, ...run } = options;
  const choices: Choices = {
    limit: limit * (1 - UNPLANNED),
    methods,
    ...(modules === undefined || modules === "auto" ? {} : { modules }),
    accumulate: accumulate === "auto" ? microBatchesOf(options.batch) : [accumulate ?? 1],
    ...(recompute === undefined ? {} : { recompute }),
  };
  const search = new Search({ ...run, speeds: options.speeds ?? typicalSpeeds(options.target) }, choices);
  const best = search.best();
  if (best === undefined) throw tooLittle(limit, leanest(search.planned));
  const faster = search.planned.filter(({ seconds }) => seconds < best.seconds * (1 - WORTHWHILE));
  const next = faster.length === 0 ? undefined : leanest(faster);
  return { ...best, limit, ...(next === undefined ? {} : { next }) };
}

/** The share of a limit that is left to what no plan counts, such as the rounding of an allocator. */
const UNPLANNED = 1 / 512;

/** Fewer images than these in a micro-batch give batch norm poor statistics. */
const FEWEST_IMAGES = 16;

function microBatchesOf(batch: number): number[] {
  const counts = [1];
  for (let count = 2; batch / count >= FEWEST_IMAGES; count *= 2) counts.push(count);
  return counts;
}

function leanest(ways: readonly PlannedWay[]): PlannedWay {
  return ways.reduce((a, b) => b.peakBytes < a.peakBytes ? b : a);
}

function tooLittle(limit: number, { peakBytes, description }: PlannedWay): LocalgradError {
  return new LocalgradError(
    `memoryLimit: nothing that was tried fits into ${mebibytes(limit)}; the least limit is ${
      mebibytes(peakBytes / (1 - UNPLANNED))
    }, with ${description}. ` +
      'Allow that much, use a smaller batch, or leave more to choose: a list of methods, modules: "auto", ' +
      'accumulate: "auto"',
  );
}
