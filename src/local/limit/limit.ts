import { LocalgradError } from "../../base/errors.ts";
import { mebibytes } from "../../base/mebibytes.ts";
import { checkModel } from "../partition/partition.ts";
import { checkLimit, type LimitOptions, typicalSpeeds } from "./options.ts";
import { type Choices, Search, WORTHWHILE } from "./search.ts";
import type { PlannedWay } from "./way.ts";

/** A planned way to train; of one chosen within a memory limit also that, and what the next faster way would need. */
export interface TrainingPlan extends PlannedWay {
  /** The limit, in bytes. */
  readonly limit?: number;
  /** What of it is left to others, in bytes. */
  readonly reserve?: number;
  /** Of the ways that are faster, the one that needs least; undefined if there is none, or none was planned. */
  readonly next?: PlannedWay;
}

/** A way to train within a limit. */
export interface WayWithinLimit extends TrainingPlan {
  /** The limit, in bytes. */
  readonly limit: number;
}

/**
 * Chooses how to train within a memory limit: the plan with the least predicted time of a step that fits, or of an image
 * if the batch is a list. Of what the options leave open, recomputation and checkpoints change no bit of the results;
 * methods, cuts, batches and micro-batches do. The choice depends on the device's kind: its workspaces are part of each
 * plan. Allocates nothing.
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
  const { limit, reserve, methods, batches } = checkLimit("withinLimit", options);
  checkModel(options.model);
  const { memoryLimit: _limit, reserve: _reserve, method: _method, modules, accumulate, recompute, ...run } =
    options;
  const speeds = options.speeds ?? typicalSpeeds(options.target);
  const searches = batches.map((batch) => {
    const choices: Choices = {
      limit: (limit - reserve) * (1 - UNPLANNED),
      methods,
      ...(modules === undefined || modules === "auto" ? {} : { modules }),
      accumulate: accumulate === "auto" ? microBatchesOf(batch) : [accumulate ?? 1],
      ...(recompute === undefined ? {} : { recompute }),
    };
    return new Search({ ...run, batch, speeds }, choices);
  });
  const best = fastest(searches.flatMap((search): PlannedWay | [] => search.best() ?? []));
  const planned = searches.flatMap((search) => search.planned);
  const named = (way: PlannedWay) => batches.length === 1 ? way : withBatch(way);
  if (best === undefined) throw tooLittle(limit, reserve, named(leanest(planned)));
  const faster = planned.filter((way) => perImage(way) < perImage(best) * (1 - WORTHWHILE));
  const next = faster.length === 0 ? {} : { next: named(leanest(faster)) };
  return { ...named(best), limit, ...(reserve === 0 ? {} : { reserve }), ...next };
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

/** The predicted time of an image, in seconds. */
function perImage({ seconds, batch }: PlannedWay): number {
  return seconds / batch;
}

function fastest(ways: readonly PlannedWay[]): PlannedWay | undefined {
  return ways.toSorted((a, b) => perImage(a) - perImage(b))[0];
}

/** A way whose description has its batch, which was chosen. */
function withBatch(way: PlannedWay): PlannedWay {
  return { ...way, description: `${way.description}, batch ${way.batch}` };
}

function leanest(ways: readonly PlannedWay[]): PlannedWay {
  return ways.reduce((a, b) => b.peakBytes < a.peakBytes ? b : a);
}

function tooLittle(limit: number, reserve: number, { peakBytes, description }: PlannedWay): LocalgradError {
  const beside = reserve === 0 ? "" : `, ${mebibytes(reserve)} of which are reserved`;
  return new LocalgradError(
    `memoryLimit: nothing that was tried fits into ${mebibytes(limit)}${beside}; the least limit is ${
      mebibytes(reserve + peakBytes / (1 - UNPLANNED))
    }, with ${description}. ` +
      'Allow that much, use smaller batches, or leave more to choose: a list of methods, modules: "auto", ' +
      'accumulate: "auto"',
  );
}
