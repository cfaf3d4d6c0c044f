import { dirname, relative } from "node:path";
import { rgb } from "../artifacts/palette.ts";
import { encodePng } from "../artifacts/png.ts";
import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { look, makeFolder, writeWhole } from "../base/files.ts";
import { type Model, segments } from "../models/model.ts";
import type { Predictor } from "../predict/predictor.ts";
import { note, print, textTable } from "./terminal.ts";

/** A picture, and the file of its label map. */
export interface MapFile {
  readonly file: string;
  readonly map: string;
}

/** Refuses to write into what is there. */
export async function refuseFolder(folder: string): Promise<void> {
  if (await look(folder) === undefined) return;
  throw new LocalgradError(`--maps ${folder} is there already; choose a new folder`);
}

/** Refuses flags that are of another kind of network. */
export function refuseOther(
  model: Model,
  { maps, top }: { readonly maps?: string | undefined; readonly top?: string | undefined },
): void {
  if (!segments(model)) {
    if (maps === undefined) return;
    throw new LocalgradError(
      `--maps needs a network that labels pixels; ${model.name} gives one class for each picture: leave it out`,
    );
  }
  if (maps === undefined) {
    throw new LocalgradError(
      `${model.name} labels pixels; give a new folder for the label maps: --maps DIR`,
    );
  }
  if (top !== undefined) {
    throw new LocalgradError(`--top is of the classes of whole pictures, and ${model.name} labels pixels`);
  }
}

/**
 * The label map of each picture: its name in its folder, with the ending `.png`. Refuses pictures that would have the
 * same.
 */
export function mapsOf(
  maps: string,
  listed: readonly { readonly file: string; readonly folder: string }[],
): MapFile[] {
  const taken = new Map<string, string>();
  return listed.map(({ file, folder }) => {
    const map = `${maps}/${relative(folder, file).replace(/\.[^./]*$/, "")}.png`;
    const other = taken.get(map);
    if (other !== undefined) {
      throw new LocalgradError(
        `the label maps of ${other} and ${file} would both be ${map}; give one of them, or a folder that holds both`,
      );
    }
    taken.set(map, file);
    return { file, map };
  });
}

/**
 * Writes the label maps of pictures: PNGs of a picture's own size, whose values are classes and whose palette shows them.
 * A picture that cannot be decoded is reported, and the others go on. Returns the exit code.
 */
export async function writeMaps(
  predictor: Predictor,
  files: readonly MapFile[],
  batch: number,
  json: boolean,
): Promise<number> {
  const { classes } = predictor.model;
  const palette = Array.from({ length: classes }, (_, i) => rgb(i, classes));
  const rows: string[][] = [];
  let failed = 0;
  for (let first = 0; first < files.length; first += batch) {
    const results = await Promise.allSettled(
      files.slice(first, first + batch).map(async ({ file, map }) => {
        const { height, width, labels } = at(await predictor.segment([file]), 0);
        await makeFolder(dirname(map));
        await writeWhole(map, await encodePng(labels, height, width, 1, palette));
        return { file, map, height, width };
      }),
    );
    for (const result of results) {
      if (result.status === "fulfilled" && json) print(JSON.stringify(result.value));
      else if (result.status === "fulfilled") {
        const { map, height, width } = result.value;
        rows.push([map, `${height}×${width}`]);
      } else if (result.reason instanceof LocalgradError) {
        note(`error: ${result.reason.message}`);
        failed++;
      } else throw result.reason;
    }
  }
  if (rows.length > 0) print(textTable(["label map", "size"], rows));
  return failed === 0 ? 0 : 2;
}
