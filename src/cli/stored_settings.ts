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
import type { ImageDataset, ImagePart } from "../data.ts";
import { DATASETS } from "../data/datasets.ts";
import * as local from "../local.ts";
import * as models from "../models.ts";
import type { Cut } from "./cut.ts";
import { choices, type GivenOptions } from "./method_flags.ts";
import { loadImages } from "./build.ts";
import { datasetNames, precisions, type Settings } from "./settings.ts";

const positive: Decoder<number> = (value, at) => {
  if (number(value, at) > 0) return value as number;
  throw at.wrong(value, "a number above 0");
};

const publishedCut = object({ published: oneOf(local.splitNames), modules: whole(1) });
const balancedCut = object({ balanced: whole(1) });

const cut: Decoder<Cut> = (value, at) => {
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

const methodOptions = object<GivenOptions>({
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
});

const settings = object<Settings>({
  dataset: oneOf(datasetNames),
  classes: optional(whole(1)),
  classNames: optional(list(text)),
  imageSize: optional(whole(1)),
  model: oneOf(models.modelNames),
  modules: cut,
  recompute: optional(boolean),
  method: oneOf(local.methodNames),
  methodOptions: optional(methodOptions),
  batch: whole(1),
  epochs: whole(1),
  evalEvery: optional(whole(1)),
  saveEvery: optional(saveEvery),
  scheduleEpochs: optional(whole(1)),
  lr: positive,
  seed: whole(),
  precision: optional(oneOf(precisions)),
  trainLimit: optional(whole(1)),
  testLimit: optional(whole(1)),
  data: optional(text),
});

/**
 * The settings in a checkpoint of the run in `folder`.
 *
 * @throws {LocalgradError} where they are not those of a run that `train` made.
 */
export function storedSettings(stored: { readonly [name: string]: unknown }, folder: string): Settings {
  if (["dataset", "model", "method"].every((name) => !Object.hasOwn(stored, name))) {
    throw new LocalgradError(
      `the run in ${folder} was not made by train, so its model and data are not known here; go on in its own script`,
    );
  }
  return settings(stored, new Place({ file: folder, remedy: "use another checkpoint" }, "settings"));
}

/**
 * The settings with the classes of a data set whose folders say them.
 *
 * @throws {LocalgradError} where the settings are of a run with other classes.
 */
export function withClasses(settings: Settings, { name, classes }: ImageDataset<ImagePart>): Settings {
  if (DATASETS[settings.dataset].classes !== undefined) return settings;
  const { classes: count = classes.length, classNames = classes } = settings;
  const [lost, added] = [missingFrom(classes, classNames), missingFrom(classNames, classes)];
  if (lost !== undefined || added !== undefined) {
    const differences = [
      ...(lost === undefined ? [] : [`has no class ${lost}`]),
      ...(added === undefined ? [] : [`has ${added}, which the run does not know`]),
    ];
    throw new LocalgradError(
      `${name} ${differences.join(" and ")}; give the images that the run was started with`,
    );
  }
  if (classNames.some((each, i) => each !== classes[i])) {
    throw new LocalgradError(`${name} has the run's classes in another order; start another run on it`);
  }
  if (count === classes.length) return { ...settings, classes: classes.length, classNames: classes };
  throw new LocalgradError(`the run was started with ${count} classes; ${name} has ${classes.length} now`);
}

/**
 * The settings with the classes. Where the data set says them only when it is loaded, it is loaded, and given back too.
 */
export async function knowingClasses(
  settings: Settings,
  path: string | undefined,
): Promise<{ settings: Settings; loaded?: ImageDataset<ImagePart> }> {
  if (DATASETS[settings.dataset].classes !== undefined) return { settings };
  const loaded = await loadImages(settings, path);
  return { settings: withClasses(settings, loaded), loaded };
}

/** The names that a list lacks, as text; undefined where it has all. */
function missingFrom(list: readonly string[], names: readonly string[]): string | undefined {
  const has = new Set(list);
  const missing = names.filter((name) => !has.has(name));
  if (missing.length === 0) return undefined;
  return `${brief(missing[0])}${missing.length === 1 ? "" : ` and ${missing.length - 1} more`}`;
}
