import { formatError, formatPercent } from "../artifacts/format.ts";
import { valuesOf } from "../artifacts/network_values.ts";
import { LocalgradError } from "../base/errors.ts";
import type { Trainer } from "../local.ts";
import { loadWeights, readRun } from "../train.ts";
import { nonFinite } from "../training/divergence.ts";
import { type Flags, type Given, oneOf, parseFlags } from "./flags/flags.ts";
import { loadSet, openDevice, refuseTask, setupOf, trainerOf } from "./build.ts";
import type { AnySet } from "./datasets.ts";
import { type Settings, settingsFrom, trainingFlags } from "./settings.ts";
import { metricsFlag, metricsFrom } from "./flags/metric.ts";
import { placeFlags, precisionFrom } from "./flags/place.ts";
import { knowingClasses, storedSettings, withClasses } from "./stored_settings.ts";
import { classTable, confusionTable } from "./metric_tables.ts";
import { note, noteDevice, print } from "./terminal.ts";

const { dataset, "image-size": imageSize, model, batch, "test-limit": testLimit } = trainingFlags;
const WITH_WEIGHTS = ["dataset", "image-size", "model", "batch", "test-limit"] as const;

/** Flags of `eval`. */
export const evaluateFlags = {
  run: { value: "DIR", help: "folder of the run to evaluate" },
  checkpoint: { value: "best|last", help: "checkpoint of the run; default best" },
  weights: {
    value: "FILE",
    help: "evaluate a safetensors file, or the index of several, instead; needs --model",
  },
  dataset: { ...dataset, help: `with --weights: ${dataset.help}` },
  "image-size": { ...imageSize, help: `with --weights: ${imageSize.help}` },
  model: { ...model, help: "with --weights: the network" },
  batch: { ...batch, help: "with --weights: images per batch; default 128" },
  "test-limit": { ...testLimit, help: "with --weights: use the first N test images" },
  metrics: { ...metricsFlag, help: metricsFlag.help.replace(/; default.*/, "; default none") },
  ...placeFlags,
} as const satisfies Flags;

/** A network to evaluate: the settings of its trainer, and its weights. */
interface Candidate {
  readonly settings: Settings;
  /** The images, if they have been loaded already. */
  readonly loaded?: AnySet | undefined;
  /** A description for people. */
  readonly what: string;
  /** A description for programs: fields of the JSON result. */
  readonly facts: { readonly [name: string]: unknown };
  /** Loads the weights into a trainer. */
  readonly fill: (trainer: Trainer) => void;
}

/** `eval`: evaluates the network of a run, or of a file, on test images. */
export async function evaluate(args: readonly string[]): Promise<void> {
  const given = parseFlags("eval", evaluateFlags, args);
  const metrics = metricsFrom(given.metrics ?? "none");
  const { settings, loaded, what, facts, fill } = await candidate(given);
  const images = loaded ?? await loadSet(settings, given.data).catch((error) => {
    throw isDownload(error) ? notHere(settings) : error;
  });
  withClasses(settings, images); // rejects classes other than the run's
  await using device = await openDevice(given, settings);
  noteDevice(device);
  using trainer = await trainerOf(settings, device);
  fill(trainer);
  const { error, loss, images: count, ...others } = await trainer.evaluate(images, { metrics });
  if (!Number.isFinite(loss)) {
    const wrong = nonFinite((await trainer.snapshot()).tensors);
    const why = wrong === undefined ? "" : `, because ${wrong.name} contains ${wrong.value}`;
    throw new LocalgradError(`the test loss is ${loss} (${what})${why}; evaluate other weights`);
  }
  if (given.json) {
    const classes = metrics.length === 0 ? {} : { classNames: images.classes };
    print(
      JSON.stringify({ ...facts, testError: error, testLoss: loss, images: count, ...others, ...classes }),
    );
  } else {
    print(`test error  ${formatError(error)} of ${count} images (${what})`);
    const { meanIoU, topFiveError, perClass, confusion } = others;
    if (meanIoU !== undefined) print(`mean IoU    ${formatPercent(meanIoU)}`);
    if (topFiveError !== undefined) print(`top-5 error ${formatError(topFiveError)}`);
    print(`test loss   ${loss.toFixed(4)}`);
    const { classes } = images;
    if (perClass !== undefined) print(`\n${classTable(perClass, classes)}`);
    if (confusion !== undefined) print(`\n${confusionTable(confusion, classes)}`);
  }
}

/** Prepares the evaluation of a run or a file. */
function candidate(given: Given<typeof evaluateFlags>): Promise<Candidate> {
  const { run, weights } = given;
  if (run !== undefined && weights === undefined) return fromRun(run, given);
  if (run === undefined && weights !== undefined) return fromFile(weights, given);
  throw new LocalgradError("eval needs a run or a file: give either --run DIR or --weights FILE");
}

/** Returns true for the error of a download, which needs the disk and the network: the task `eval` allows neither. */
function isDownload(error: unknown): boolean {
  return error instanceof Deno.errors.NotCapable && /^Requires (write|net) access/.test(error.message);
}

function notHere({ dataset }: Settings): LocalgradError {
  return new LocalgradError(
    `${dataset} is not on this machine, and eval does not download it; give its folder or archive with --data, or run ` +
      `train, which downloads it`,
  );
}

async function fromRun(run: string, given: Given<typeof evaluateFlags>): Promise<Candidate> {
  for (const name of WITH_WEIGHTS) {
    if (given[name] !== undefined) {
      throw new LocalgradError(`--${name} needs --weights; a run is evaluated with its own settings`);
    }
  }
  const kind = oneOf("checkpoint", given.checkpoint ?? "best", ["best", "last"]);
  const { snapshot, settings: stored } = await readRun(run, kind);
  return {
    settings: { ...storedSettings(stored, run), ...precisionFrom(given) },
    what: `${kind} checkpoint, step ${snapshot.step}`,
    facts: { run, checkpoint: kind, step: snapshot.step },
    fill: (trainer) => trainer.restore(snapshot),
  };
}

async function fromFile(path: string, given: Given<typeof evaluateFlags>): Promise<Candidate> {
  if (given.checkpoint !== undefined) {
    throw new LocalgradError("--checkpoint needs --run; --weights names the file itself");
  }
  if (given.model === undefined) {
    throw new LocalgradError("--weights needs the network: --model NAME");
  }
  const { run: _run, checkpoint: _checkpoint, weights: _weights, metrics: _metrics, ...flags } = given;
  const asked = settingsFrom({ ...flags, method: "endToEnd", modules: "1" });
  refuseTask(asked);
  const { settings, loaded } = await knowingClasses(asked, given.data);
  const weights = await loadWeights(path);
  valuesOf(setupOf(settings).model, weights); // rejects a wrong file before anything else is loaded
  for (const text of weights.notes) note(text);
  return {
    settings,
    loaded,
    what: `${path} as ${settings.model}`,
    facts: { weights: path, model: settings.model },
    fill: (trainer) => trainer.load(weights),
  };
}
