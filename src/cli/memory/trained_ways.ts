/**
 * Ways to train whose errors are kept with the repository, for the frontier.
 *
 * @module
 */

import { at } from "../../base/at.ts";
import { object, oneOf, optional, Place, text, whole } from "../../base/decode.ts";
import { LocalgradError } from "../../base/errors.ts";
import * as local from "../../local.ts";
import type { Cut } from "../cut.ts";
import { type Kept, readAllKept } from "../reproduce/kept_results.ts";
import type { GivenOptions } from "../flags/method.ts";
import type { MethodName, Settings } from "../settings.ts";
import { cutDecoder, methodOptionsDecoder } from "../stored_settings.ts";

/** A way to train, and the test error that it reached. */
export interface TrainedWay {
  readonly method: MethodName;
  readonly options: GivenOptions;
  /** The cut; balanced boundaries depend on the device, so they are those that it was trained with. */
  readonly cut: Cut;
  /** The mean over seeds of the error after the last epoch, as a fraction. */
  readonly error: number;
  /** The errors over seeds. */
  readonly errors: readonly number[];
  /** The measured median time of a step without recomputation, in seconds, of the first seed that was timed. */
  readonly stepSeconds?: number;
}

interface Trained {
  readonly model: string;
  readonly dataset: string;
  readonly batch: number;
  readonly modules: Cut;
  readonly method: MethodName;
  readonly options?: GivenOptions;
}

const trained = object<Trained>({
  model: text,
  dataset: text,
  batch: whole(1),
  modules: cutDecoder,
  method: oneOf(local.methodNames),
  options: optional(methodOptionsDecoder),
});

/**
 * Reads the ways that a network was trained in with this batch on this data set.
 *
 * @throws {LocalgradError} if their budgets differ, such as the number of epochs: their errors do not compare.
 */
export async function trainedWays(
  folder: string,
  { model, dataset, batch }: Pick<Settings, "model" | "dataset" | "batch">,
): Promise<TrainedWay[]> {
  const ways = (await readAllKept(folder)).map((kept) => ({ kept, way: trainedIn(kept, folder) }))
    .filter(({ way }) => way.model === model && way.dataset === dataset && way.batch === batch);
  const budgets = Map.groupBy(ways, ({ kept }) => budgetOf(kept));
  if (budgets.size > 1) {
    const [one, other] = [...budgets.values()].map((each) =>
      `${at(each, 0).kept.row}, seed ${at(each, 0).kept.seed}`
    );
    throw new LocalgradError(
      `${folder}: the budgets of ${one}, and of ${other}, differ; keep them in two folders`,
    );
  }
  return [...Map.groupBy(ways, ({ kept }) => kept.row).values()].map((seeds) => {
    const { kept: { result: { cut } }, way: { method, modules, options = {} } } = at(seeds, 0);
    const errors = seeds.map(({ kept }) => kept.result.finalError);
    const timing = seeds.find(({ kept }) => kept.timing !== undefined)?.kept.timing;
    return {
      ...{ method, options, cut: cut === undefined || !isBalanced(modules) ? modules : boundariesIn(cut) },
      error: errors.reduce((a, b) => a + b) / errors.length,
      errors,
      ...(timing === undefined ? {} : { stepSeconds: timing.secondsPerStep }),
    };
  });
}

function trainedIn({ row, seed, settings }: Kept, folder: string): Trained {
  const file = `${folder}/${row}-seed${seed}.json`;
  return trained(settings, new Place({ file, remedy: "remove it" }, "settings"));
}

/** What all rows of a table share. */
function budgetOf(
  { settings: { model: _model, modules: _modules, method: _method, options: _options, ...shared } }: Kept,
): string {
  return JSON.stringify(Object.entries(shared).toSorted(([a], [b]) => a < b ? -1 : 1));
}

function isBalanced(cut: Cut): boolean {
  return typeof cut === "object" && "balanced" in cut;
}

/** The boundaries of modules named by their blocks: `layer1.0`, `layer1.1–layer2.0`; methods make the stem one again. */
function boundariesIn(names: readonly string[]): string[] {
  return names.slice(0, -1).flatMap((name) => name === "stem" ? [] : name.split("–").slice(-1));
}
