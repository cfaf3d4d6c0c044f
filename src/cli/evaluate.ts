import { formatPercent } from "../artifacts/format.ts";
import { valuesOf } from "../artifacts/network_values.ts";
import { LocalgradError } from "../base/errors.ts";
import type { ImageDataset, ImagePart } from "../data.ts";
import { loadWeights, readRun } from "../train.ts";
import { nonFinite } from "../training/divergence.ts";
import { type Flags, type Given, oneOf, parseFlags } from "./flags.ts";
import { loadImages, openDevice, setupOf, trainerOf } from "./build.ts";
import { placeFlags, precisionFrom, type Settings, settingsFrom, trainingFlags } from "./settings.ts";
import { knowingClasses, storedSettings, withClasses } from "./stored_settings.ts";
import { note } from "./terminal.ts";

const { dataset, "image-size": imageSize, model, batch, "test-limit": testLimit } = trainingFlags;
const WITH_WEIGHTS = ["dataset", "image-size", "model", "batch", "test-limit"] as const;

/** Flags of `eval`. */
export const evaluateFlags = {
  run: { value: "DIR", help: "folder of the run to judge" },
  checkpoint: { value: "best|last", help: "which of its checkpoints; default best" },
  weights: {
    value: "FILE",
    help: "a safetensors file, or the index of several, to judge instead; needs --model",
  },
  dataset: { ...dataset, help: `with --weights: ${dataset.help}` },
  "image-size": { ...imageSize, help: `with --weights: ${imageSize.help}` },
  model: { ...model, help: "with --weights: its network" },
  batch: { ...batch, help: "with --weights: images judged at once; default 128" },
  "test-limit": { ...testLimit, help: "with --weights: use the first N test images" },
  ...placeFlags,
} as const satisfies Flags;

/** Something to judge: how to make its trainer, and what to put into it. */
interface Candidate {
  readonly settings: Settings;
  /** The images, where they had to be loaded already. */
  readonly loaded?: ImageDataset<ImagePart> | undefined;
  /** What it is, for people. */
  readonly what: string;
  /** What it is, for programs. */
  readonly facts: { readonly [name: string]: unknown };
  readonly fill: (trainer: Awaited<ReturnType<typeof trainerOf>>) => void;
}

/** `eval`: judges a run's network, or one from a file, on test images. */
export async function evaluate(args: readonly string[]): Promise<void> {
  const given = parseFlags("eval", evaluateFlags, args);
  if ((given.run === undefined) === (given.weights === undefined)) {
    throw new LocalgradError("eval needs the folder of a run or a file: give --run DIR or --weights FILE");
  }
  const { settings, loaded, what, facts, fill } =
    await (given.run === undefined ? fromFile(given) : fromRun(given));
  const images = loaded ?? await loadImages(settings, given.data).catch((error) => {
    throw isDownload(error) ? notHere(settings) : error;
  });
  withClasses(settings, images); // refuses others than the run's
  await using device = await openDevice(given, settings);
  note(`device ${device.choice}`);
  using trainer = await trainerOf(settings, device);
  fill(trainer);
  const { error, topFiveError, loss, images: count } = await trainer.evaluate(images);
  if (!Number.isFinite(loss)) {
    const spoilt = nonFinite((await trainer.snapshot()).tensors);
    const why = spoilt === undefined ? "" : `, for ${spoilt.name} holds ${spoilt.value}`;
    throw new LocalgradError(`the test loss is ${loss} (${what})${why}; judge other weights`);
  }
  if (given.json) {
    console.log(JSON.stringify({ ...facts, testError: error, topFiveError, testLoss: loss, images: count }));
  } else {
    console.log(`test error  ${formatPercent(error)} of ${count} images (${what})`);
    if (topFiveError !== undefined) console.log(`top-5 error ${formatPercent(topFiveError)}`);
    console.log(`test loss   ${loss.toFixed(4)}`);
  }
}

/** Whether an error is that of a download, which writes and reaches the network: eval's task may do neither. */
function isDownload(error: unknown): boolean {
  return error instanceof Deno.errors.NotCapable && /^Requires (write|net) access/.test(error.message);
}

function notHere({ dataset }: Settings): LocalgradError {
  return new LocalgradError(
    `${dataset} is not on this machine, and eval downloads nothing; give its folder or archive by --data, or let ` +
      `train download it`,
  );
}

async function fromRun(given: Given<typeof evaluateFlags>): Promise<Candidate> {
  for (const name of WITH_WEIGHTS) {
    if (given[name] !== undefined) {
      throw new LocalgradError(`--${name} goes with --weights; a run is judged as it was while training`);
    }
  }
  const kind = oneOf("checkpoint", given.checkpoint ?? "best", ["best", "last"]);
  const { snapshot, settings: stored } = await readRun(given.run!, kind);
  return {
    settings: { ...storedSettings(stored, given.run!), ...precisionFrom(given) },
    what: `${kind} checkpoint, step ${snapshot.step}`,
    facts: { run: given.run, checkpoint: kind, step: snapshot.step },
    fill: (trainer) => trainer.restore(snapshot),
  };
}

async function fromFile(given: Given<typeof evaluateFlags>): Promise<Candidate> {
  if (given.checkpoint !== undefined) {
    throw new LocalgradError("--checkpoint goes with --run; --weights takes the file itself");
  }
  if (given.model === undefined) {
    throw new LocalgradError("--weights needs the network they are of: --model NAME");
  }
  const { run: _run, checkpoint: _checkpoint, weights: path, ...flags } = given;
  const asked = settingsFrom({ ...flags, method: "endToEnd", modules: "1" });
  const { settings, loaded } = await knowingClasses(asked, given.data);
  const weights = await loadWeights(path!);
  valuesOf(setupOf(settings).model, weights); // refused before anything else is loaded
  for (const text of weights.notes) note(text);
  return {
    settings,
    loaded,
    what: `${path} as ${settings.model}`,
    facts: { weights: path, model: settings.model },
    fill: (trainer) => trainer.load(weights),
  };
}
