/**
 * Results that are kept with the repository, one file for each row and seed: `docs/frontier/resnet20-k9-dgl-seed0.json`.
 *
 * @module
 */

import { decodeJson, json, number, object, optional, record, text, whole } from "../../base/decode.ts";
import { makeFolder, readIfThere, writeWhole } from "../../base/files.ts";
import { type Identity, refuseChange } from "./reproduction.ts";
import { type Finished, finished } from "./results.ts";
import type { Row } from "./table_rows.ts";

/** The time of a training step, measured apart from the run. */
export interface Timing {
  /** The median over a few epochs of a few steps, without compilation. */
  readonly secondsPerStep: number;
  /** Steps that were timed. */
  readonly steps: number;
  /** What computed them. */
  readonly device: string;
}

/** A result that is kept. */
export interface Kept {
  /** The name of the row. */
  readonly row: string;
  readonly seed: number;
  /** The row's network, cut, method and options, and the settings that all rows share. */
  readonly settings: Identity;
  /** Its figures, without times: rows may have run beside other work. */
  readonly result: Finished;
  readonly timing?: Timing;
}

const kept = object<Kept>({
  row: text,
  seed: whole(),
  settings: record(json),
  result: finished,
  timing: optional(object<Timing>({ secondsPerStep: number, steps: whole(1), device: text })),
});

/** The settings that a kept result is of, as JSON. */
export function keptSettings({ model, modules, method, options }: Row, shared: Identity): Identity {
  return { model, modules, method, ...(options === undefined ? {} : { options }), ...shared };
}

function pathOf(folder: string, row: string, seed: number): string {
  return `${folder}/${row}-seed${seed}.json`;
}

/**
 * Reads a kept result; undefined if there is none.
 *
 * @throws {LocalgradError} if it is of other settings.
 */
export async function readKept(
  folder: string,
  { name }: Row,
  seed: number,
  settings: Identity,
): Promise<Kept | undefined> {
  const file = pathOf(folder, name, seed);
  const bytes = await readIfThere(file);
  if (bytes === undefined) return undefined;
  const found = decodeJson(bytes, { file, remedy: "remove it to run the row again" }, kept);
  refuseChange(file, found.settings, JSON.parse(JSON.stringify(settings)));
  return found;
}

/** Reads all results that are kept in a folder; none if it is not there. */
export async function readAllKept(folder: string): Promise<Kept[]> {
  const found: Kept[] = [];
  for (const name of (await namesIn(folder)).filter((name) => name.endsWith(".json")).toSorted()) {
    const file = `${folder}/${name}`;
    const bytes = await readIfThere(file);
    if (bytes !== undefined) found.push(decodeJson(bytes, { file, remedy: "remove it" }, kept));
  }
  return found;
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** Keeps a result, without its times. */
export async function keep(folder: string, { result, ...rest }: Kept): Promise<void> {
  const { imagesPerSecond: _speed, seconds: _seconds, ...figures } = result;
  await makeFolder(folder);
  const text = JSON.stringify({ ...rest, result: figures }, undefined, 2);
  await writeWhole(pathOf(folder, rest.row, rest.seed), text + "\n");
}

/** A kept result as a table shows it: its speed is that of its timing. */
export function shownResult({ result, timing, settings: { batch } }: Kept): Finished {
  return timing === undefined
    ? result
    : { ...result, imagesPerSecond: Number(batch) / timing.secondsPerStep };
}
