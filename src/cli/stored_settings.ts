import {
  boolean,
  brief,
  type Decoder,
  list,
  number,
  object,
  oneOf,
  optional,
  Place,
  text,
  whole,
} from "../base/decode.ts";
import { LocalgradError } from "../base/errors.ts";
import * as local from "../local.ts";
import * as models from "../models.ts";
import { augmentDecoder } from "./flags/augment.ts";
import type { Cut } from "./cut.ts";
import { type AnySet, DATASETS } from "./datasets.ts";
import { imageSizeDecoder } from "./flags/image_size.ts";
import { lossDecoder } from "./flags/loss.ts";
import { choices, type GivenOptions } from "./flags/method.ts";
import { optimizerDecoder } from "./flags/optimizer.ts";
import { ratesDecoder, stoppingDecoder } from "./flags/rate.ts";
import { loadSet } from "./build.ts";
import { batchNorms, datasetNames, type Settings } from "./settings.ts";
import { precisions } from "./flags/place.ts";

const positive: Decoder<number> = (value, at) => {
  const found = number(value, at);
  if (found > 0) return found;
  throw at.wrong(value, "a number above 0");
};

const publishedCut = object({ published: oneOf(local.splitNames), modules: whole(1) });
const balancedCut = object({ balanced: whole(1) });

/** Decodes a cut in settings. */
export const cutDecoder: Decoder<Cut> = (value, at) => {
  if (Array.isArray(value)) return list(text)(value, at);
  if (typeof value !== "object" || value === null) return whole(1)(value, at);
  return "balanced" in value ? balancedCut(value, at) : publishedCut(value, at);
};

const bySteps = object({ steps: whole(1) });
const byMinutes = object({ minutes: positive });

const saveEvery: Decoder<local.SaveEvery> = (value, at) =>
  typeof value === "object" && value !== null && "minutes" in value
    ? byMinutes(value, at)
    : bySteps(value, at);

/** Decodes the options of a method in settings. */
export const methodOptionsDecoder = object<GivenOptions>({
  momentum: optional(number),
  fusion: optional(oneOf(choices.fusion)),
  start: optional(oneOf(choices.start)),
  average: optional(oneOf(choices.average)),
  moves: optional(oneOf(choices.moves)),
  statistics: optional(oneOf(choices.statistics)),
  head: optional(oneOf(choices.head)),
  task: optional(oneOf(choices.task)),
  anchors: optional(oneOf(choices.anchors)),
  schedule: optional(oneOf(choices.schedule)),
  depth: optional(whole(1)),
  ahead: optional(whole(1)),
  joint: optional(whole(1)),
  context: optional(oneOf(choices.context)),
  weight: optional(positive),
  distance: optional(oneOf(choices.distance)),
  cascade: optional(whole(1)),
  patches: optional(whole(1)),
  cascadeWeight: optional(positive),
});

const settings = object<Settings>({
  dataset: oneOf(datasetNames),
  classes: optional(whole(1)),
  classNames: optional(list(text)),
  imageSize: optional(imageSizeDecoder),
  model: oneOf(models.modelNames),
  modules: cutDecoder,
  batchNorm: optional(oneOf(batchNorms)),
  recompute: optional(boolean),
  memoryLimit: optional(whole(1)),
  method: oneOf(local.methodNames),
  methodOptions: optional(methodOptionsDecoder),
  optimizer: optional(optimizerDecoder),
  loss: optional(lossDecoder),
  augment: optional(augmentDecoder),
  batch: whole(1),
  epochs: whole(1),
  evalEvery: optional(whole(1)),
  validation: optional(number),
  metrics: optional(list(oneOf(local.metricNames))),
  saveEvery: optional(saveEvery),
  scheduleEpochs: optional(whole(1)),
  lr: positive,
  rates: optional(ratesDecoder),
  earlyStopping: optional(stoppingDecoder),
  seed: whole(),
  precision: optional(oneOf(precisions)),
  trainLimit: optional(whole(1)),
  testLimit: optional(whole(1)),
  data: optional(text),
});

/**
 * Decodes the settings in a checkpoint of the run in `folder`.
 *
 * @throws {LocalgradError} if they are invalid, or the run was not made by `train`.
 */
export function storedSettings(stored: { readonly [name: string]: unknown }, folder: string): Settings {
  if (["dataset", "model", "method"].every((name) => !Object.hasOwn(stored, name))) {
    throw new LocalgradError(
      `the run in ${folder} was not made by train, so its model and data are unknown; resume it in its script`,
    );
  }
  return settings(stored, new Place({ file: folder, remedy: "use another checkpoint" }, "settings"));
}

/**
 * Adds the classes of a data set whose folders define them.
 *
 * @throws {LocalgradError} if the run has other classes.
 */
export function withClasses(settings: Settings, { name, classes }: AnySet): Settings {
  if (DATASETS[settings.dataset].classes !== undefined) return settings;
  const { classes: count = classes.length, classNames = classes } = settings;
  const [lost, added] = [missingFrom(classes, classNames), missingFrom(classNames, classes)];
  if (lost !== undefined || added !== undefined) {
    const differences = [
      ...(lost === undefined ? [] : [`has no class ${lost}`]),
      ...(added === undefined ? [] : [`has ${added}, which the run does not have`]),
    ];
    throw new LocalgradError(
      `${name} ${differences.join(" and ")}; give the images that the run was started with`,
    );
  }
  if (classNames.some((each, i) => each !== classes[i])) {
    throw new LocalgradError(`${name} has the run's classes in another order; start a new run`);
  }
  if (count === classes.length) return { ...settings, classes: classes.length, classNames: classes };
  throw new LocalgradError(
    `the run was started with ${count} classes, but ${name} now has ${classes.length}`,
  );
}

/**
 * Adds the classes of the data set. If that requires loading it, returns the images too.
 */
export async function knowingClasses(
  settings: Settings,
  path: string | undefined,
): Promise<{ settings: Settings; loaded?: AnySet }> {
  if (DATASETS[settings.dataset].classes !== undefined) return { settings };
  const loaded = await loadSet(settings, path);
  return { settings: withClasses(settings, loaded), loaded };
}

/** Describes the names missing from a list; undefined if it has all. */
function missingFrom(list: readonly string[], names: readonly string[]): string | undefined {
  const has = new Set(list);
  const [first, ...more] = names.filter((name) => !has.has(name));
  if (first === undefined) return undefined;
  return `${brief(first)}${more.length === 0 ? "" : ` and ${more.length} more`}`;
}
