import { dirname } from "node:path";
import { holdsRun } from "../../artifacts/run_folder.ts";
import { abridged, decodeJson, type Decoder, json, number, object, record } from "../../base/decode.ts";
import { LocalgradError } from "../../base/errors.ts";
import {
  exists,
  makeFolder,
  openAlone,
  readIfThere,
  refuseFile,
  refuseLink,
  removeIfThere,
  removeParts,
  writeWhole,
} from "../../base/files.ts";
import type { ImageDataset, ImagePart } from "../../data.ts";
import type { Observer, SaveEvery } from "../../local.ts";
import { parameterSplit } from "../../local/parameters.ts";
import type { Device } from "../../runtime/arrays.ts";
import { progress, readMetrics, readRun, RunFolder } from "../../train.ts";
import { measured, type RunResult, runResult } from "./results.ts";
import { trainerOf } from "../build.ts";
import type { Settings } from "../settings.ts";

/** The settings that must not change when a reproduction is resumed, as JSON. */
export type Identity = { readonly [name: string]: unknown };

/**
 * Opens the folder of a reproduction: makes a new one, or resumes one of the same identity. It is locked until the result
 * is disposed of.
 *
 * @throws {LocalgradError} if it contains something else, or a reproduction that has other settings or is running.
 */
export async function openReproduction(folder: string, identity: Identity): Promise<Disposable> {
  const path = `${folder}/reproduction.json`;
  await refuseFile(folder);
  if (!await exists(path)) {
    await refuseOther(folder);
    await makeFolder(folder);
    await writeWhole(path, JSON.stringify(identity, undefined, 2) + "\n");
  }
  const lock = await openAlone(path);
  try {
    refuseChange(folder, await readJson(path, record(json)) ?? {}, identity);
    await removeParts(folder);
    return lock;
  } catch (error) {
    lock.close();
    throw error;
  }
}

/** Refuses settings other than those that a folder or file has results of. */
export function refuseChange(folder: string, before: Identity, identity: Identity): void {
  for (const name of new Set([...Object.keys(before), ...Object.keys(identity)])) {
    const [then, now] = [before[name], identity[name]].map((value) =>
      typeof value === "string" ? value : JSON.stringify(value)
    );
    if (then === now) continue;
    const flag = flagOf(name);
    const how = then === undefined
      ? `without ${flag}, not with ${now}`
      : `with ${flag} ${abridged(then)}, not ${now === undefined ? "without" : now}`;
    throw new LocalgradError(`${folder} was started ${how}; give the same or choose another folder`);
  }
}

/** The flag of a setting that has one: `--train-limit` of `trainLimit`. */
function flagOf(name: string): string {
  return /^(table|device|epochs|lr|batch|precision|trainLimit|testLimit)$/.test(name)
    ? `--${name.replace(/[A-Z]/, (letter) => `-${letter.toLowerCase()}`)}`
    : abridged(name, 40);
}

async function refuseOther(folder: string): Promise<void> {
  try {
    for await (const { name } of Deno.readDir(folder)) {
      throw new LocalgradError(`${folder} contains other files, such as ${name}; choose another folder`);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Reads a JSON file; undefined if it does not exist. */
async function readJson<T>(path: string, of: Decoder<T>): Promise<T | undefined> {
  const bytes = await readIfThere(path);
  return bytes && decodeJson(bytes, { file: path, remedy: "remove it to continue" }, of);
}

/** Options of {@link runToEnd}. */
export interface RunOptions {
  /** The folder of the run, with `result.json` once it has finished. */
  readonly folder: string;
  readonly settings: Settings;
  readonly images: ImageDataset<ImagePart>;
  /** Opens a device for this run alone, so that its memory is that of the run. */
  readonly open: () => Promise<Device>;
  readonly signal: AbortSignal;
  /** Interval of checkpoints within an epoch, if any. */
  readonly saveEvery?: SaveEvery;
}

/** Reads the results of a row by seed, from folders `seed<n>`, any of which may be missing. */
export async function resultsIn(folder: string): Promise<Map<number, RunResult>> {
  const results = new Map<number, RunResult>();
  for (const seed of await seedsIn(folder)) {
    const result = await readJson(`${folder}/seed${seed}/result.json`, runResult);
    if (result !== undefined) results.set(seed, result);
  }
  return results;
}

async function seedsIn(folder: string): Promise<number[]> {
  const seeds: number[] = [];
  if (!await exists(folder)) return seeds;
  for await (const { name } of Deno.readDir(folder)) {
    const found = /^seed(\d+)$/.exec(name);
    if (found !== null) seeds.push(Number(found[1]));
  }
  return seeds.sort((a, b) => a - b);
}

/**
 * Starts a run, or resumes it from its last checkpoint, and saves its result. A run that diverges, or does not fit on the
 * device, is a failure; any other error, such as a full disk, is not a result of the run and is thrown. Returns undefined
 * if the signal stopped it.
 */
export async function runToEnd(options: RunOptions): Promise<RunResult | undefined> {
  for (const part of [dirname(options.folder), options.folder]) await refuseLink(part);
  const result = await train(options).catch((error): RunResult => {
    if (error instanceof LocalgradError && error.code !== undefined) return { failed: error.message };
    throw error;
  });
  if (result === undefined) return undefined;
  await makeFolder(options.folder);
  await writeWhole(`${options.folder}/result.json`, JSON.stringify(result, undefined, 2) + "\n");
  return result;
}

async function train(
  { folder, settings, images, open, ...stops }: RunOptions,
): Promise<RunResult | undefined> {
  const resumes = await holdsRun(folder);
  // A run that was killed before its first checkpoint starts again.
  if (!resumes) await removeIfThere(folder);
  const checkpoint = resumes ? await readRun(folder, "last") : undefined;
  await using device = await open();
  using trainer = await trainerOf(settings, device);
  if (checkpoint !== undefined) trainer.restore(checkpoint.snapshot);
  const meter = await Meter.open(`${folder}/time.json`);
  const { stopped } = await trainer.fit(images, {
    epochs: settings.epochs,
    observers: [progress(), new RunFolder(folder, { ...settings }), meter],
    ...stops,
  });
  if (stopped) return undefined;
  const figures = measured(await readMetrics(`${folder}/metrics.jsonl`));
  if (figures === undefined) {
    throw new LocalgradError(`${folder} has no epoch in its metrics; remove it to run it again`);
  }
  const { method, endToEnd } = trainer.memory;
  return {
    ...figures,
    seconds: meter.seconds,
    plannedPeakBytes: method.peakBytes,
    endToEndPeakBytes: endToEnd.peakBytes,
    modules: trainer.partition.modules.length,
    cut: trainer.partition.modules.map(({ name }) => name),
    parameters: parameterSplit(trainer.setup),
    devices: trainer.devices,
  };
}

/** Reads the time of a run so far, in seconds; 0 if there is no file. */
export async function secondsIn(path: string): Promise<number> {
  return (await readJson(path, object({ seconds: number })))?.seconds ?? 0;
}

/** Measures the time of a run over all its sessions, and saves it with every checkpoint. */
class Meter implements Observer {
  readonly #path: string;
  readonly #before: number;
  readonly #began = performance.now();

  private constructor(path: string, seconds: number) {
    this.#path = path;
    this.#before = seconds;
  }

  static async open(path: string): Promise<Meter> {
    return new Meter(path, await secondsIn(path));
  }

  get seconds(): number {
    return this.#before + (performance.now() - this.#began) / 1000;
  }

  async save(): Promise<void> {
    await writeWhole(this.#path, JSON.stringify({ seconds: this.seconds }));
  }
}
