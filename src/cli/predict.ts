import { dirname } from "node:path";
import { formatPercent } from "../artifacts/format.ts";
import type { Weights } from "../artifacts/weights.ts";
import { readCheckpoint } from "../artifacts/checkpoint.ts";
import { LocalgradError } from "../base/errors.ts";
import { pairFrom } from "../base/expect.ts";
import type { Signature } from "../data/signature.ts";
import { modelOf, predictorOf, readNetwork } from "../predict/load.ts";
import type { FilePrediction, Predictor } from "../predict/predictor.ts";
import { openDevice } from "./build.ts";
import { DATASETS } from "./datasets.ts";
import { type Flags, oneOf, parseFlags, wholeNumber } from "./flags/flags.ts";
import { extentsOf } from "./flags/image_size.ts";
import { decoding } from "./on_demand.ts";
import { mapsOf, refuseFolder, refuseOther, writeMaps } from "./predict_maps.ts";
import { placeFlags, precisionFrom } from "./flags/place.ts";
import { storedSettings } from "./stored_settings.ts";
import { note, noteDevice, print, textTable } from "./terminal.ts";

const { device, precision, overlap, engines, json } = placeFlags;
const { "no-graph": noGraph, "sync-launches": syncLaunches } = placeFlags;

/** Flags of `predict`. */
export const predictFlags = {
  run: { value: "DIR|FILE", help: "folder of the run, or the file of an exported network" },
  checkpoint: { value: "best|last", help: "checkpoint of the run; default best" },
  top: { value: "N", help: "number of classes to show; default 5" },
  maps: { value: "DIR", help: "of a network that labels pixels: new folder for a label map of each picture" },
  batch: { value: "N", help: "most pictures that are computed at once; default 32" },
  device,
  precision,
  "no-graph": noGraph,
  overlap,
  "sync-launches": syncLaunches,
  engines,
  json: { help: `${json.help}: one line for each picture` },
} as const satisfies Flags;

/** Arguments of `predict` other than flags. */
export const predictOperands = "FILE…|DIR";

/** `predict`: predicts the classes of pictures, or of their pixels, with the network of a run. Returns the exit code. */
export async function predict(args: readonly string[]): Promise<number> {
  const paths: string[] = [];
  const given = parseFlags("predict", predictFlags, args, paths);
  if (given.run === undefined) {
    throw new LocalgradError("predict needs the folder of a run, or an exported file: --run DIR");
  }
  if (paths.length === 0) throw new LocalgradError("predict needs pictures: give files, or a folder of them");
  if (given.maps !== undefined) await refuseFolder(given.maps);
  const top = wholeNumber("top", given.top ?? "5", 1);
  const batch = wholeNumber("batch", given.batch ?? "32", 1);
  const checkpoint = given.checkpoint === undefined ? {} : {
    checkpoint: oneOf("checkpoint", given.checkpoint, ["best", "last"]),
  };
  const weights = await readNetwork(given.run, { ...checkpoint, onNote: note });
  const signature = weights.signature ?? await earlierSignature(given.run, weights);
  const model = modelOf(weights, signature);
  refuseOther(model, given);
  const decoder = (await decoding()).pictures();
  const listed = (await Promise.all(paths.map(async (path) => {
    const folder = await isFolder(path) ? path : dirname(path);
    return (folder === path ? await decoder.list(path) : [path]).map((file) => ({ file, folder }));
  }))).flat();
  const files = listed.map(({ file }) => file);
  const maps = given.maps === undefined ? undefined : mapsOf(given.maps, listed);
  await using device = await openDevice(given, precisionFrom(given));
  noteDevice(device);
  await using predictor = predictorOf(weights, {
    device,
    model,
    decoder,
    batch,
    ...precisionFrom(given),
    ...(signature === undefined ? {} : { signature }),
    onNote: note,
  });
  if (maps !== undefined) return await writeMaps(predictor, maps, batch, given.json === true);
  return await printAll(predictor, files, top, batch, given.json === true);
}

/** Predicts files batch by batch and prints them. One that cannot be decoded is reported, and the others go on. */
async function printAll(
  predictor: Predictor,
  files: readonly string[],
  top: number,
  batch: number,
  json: boolean,
): Promise<number> {
  const rows: string[][] = [];
  let failed = 0;
  for (let first = 0; first < files.length; first += batch) {
    const results = await Promise.allSettled(
      files.slice(first, first + batch).map(async (file) => ({
        file,
        ...await predictor.predict(file, { top }),
      })),
    );
    for (const result of results) {
      if (result.status === "fulfilled" && json) print(lineOf(result.value));
      else if (result.status === "fulfilled") rows.push(rowOf(result.value));
      else if (result.reason instanceof LocalgradError) {
        note(`error: ${result.reason.message}`);
        failed++;
      } else throw result.reason;
    }
  }
  if (rows.length > 0) {
    const places = Math.min(top, predictor.model.classes);
    const heads = Array.from({ length: places }, (_, i) => i === 0 ? "most probable" : ordinal(i + 1));
    print(textTable(["picture", ...heads], rows));
  }
  return failed === 0 ? 0 : 2;
}

const ordinal = (n: number) => `${n}${["th", "st", "nd", "rd"][n] ?? "th"}`;

function rowOf({ file, top }: FilePrediction): string[] {
  return [file, ...top.map(({ name, probability }) => `${name} ${formatPercent(probability)}`)];
}

function lineOf({ file, top }: FilePrediction): string {
  return JSON.stringify({ file, top });
}

async function isFolder(path: string): Promise<boolean> {
  return await Deno.stat(path).then(({ isDirectory }) => isDirectory, () => false);
}

/**
 * The signature of a run that an earlier version made with `train`: its data set says how images are normalised, and
 * names the classes, unless they are those of a folder, which are numbered.
 */
export async function earlierSignature(run: string, { network }: Weights): Promise<Signature | undefined> {
  if (network === undefined || !await isFolder(run)) return undefined;
  const { settings } = await readCheckpoint(`${run}/last.safetensors`);
  if (!Object.hasOwn(settings, "dataset")) return undefined;
  const { dataset, imageSize, classNames } = storedSettings(settings, run);
  const { names, size = extentsOf(imageSize ?? 224), preprocessing } = DATASETS[dataset];
  const [height, width] = pairFrom("the size of images", size);
  const classes = classNames ?? names;
  note(
    `${run} was made by an earlier version, which did not keep class names and preprocessing: those of --dataset ` +
      `${dataset} are used${
        classes === undefined ? ", and classes are numbered; train again to have their names" : ""
      }`,
  );
  return { classes: classes ?? [], height, width, channels: 3, ...preprocessing };
}
