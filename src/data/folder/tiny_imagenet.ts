import { LocalgradError } from "../../base/errors.ts";
import { readRegular, shown, stat } from "../regular.ts";
import { ENDINGS, entries, type Folder, IMAGE, interleaved, LeftOut, type Listing } from "./listing.ts";

/** The most bytes of a text file of Tiny ImageNet: `words.txt` has 2.7 MB. */
const LONGEST = 1 << 24;

/** True if a folder has the layout of Tiny ImageNet. */
export async function isTinyImagenet(root: string): Promise<boolean> {
  return await stat(`${root}/wnids.txt`) !== undefined;
}

/**
 * Lists the images of Tiny ImageNet (CS231n, Stanford): `train/ID/images/*.JPEG` for each ID of `wnids.txt`, and
 * `val/images/*.JPEG`, whose classes are in `val/val_annotations.txt`. Classes are named by the first word that
 * `words.txt` has for them, where there is one and no other class has it. The images in `test/` have no labels and are
 * not used.
 *
 * @throws {LocalgradError} if a file or folder is missing, or an image has no class.
 */
export async function listTinyImagenet(root: string): Promise<Folder> {
  const ids = (await lines(`${root}/wnids.txt`)).map((line) => line.trim());
  const twice = ids.find((id, i) => ids.indexOf(id) !== i);
  if (twice !== undefined) throw refusal(`${root}/wnids.txt is damaged: it has ${twice} twice`);
  if (ids.length < 2) throw refusal(`${root}/wnids.txt has ${ids.length} classes; at least two are needed`);
  const leftOut = new LeftOut(Infinity);
  const train: string[][] = [];
  for (const id of ids) train.push(await imagesOf(`${root}/train/${id}/images`, leftOut));
  return {
    classes: await namesOf(`${root}/words.txt`, ids),
    train: interleaved(train),
    test: await listValidation(`${root}/val`, ids, leftOut),
    leftOut: leftOut.toString() || undefined,
  };
}

const refusal = (message: string) => new LocalgradError(shown(message));

/** The lines of a text file that are not empty. */
async function lines(path: string): Promise<string[]> {
  const text = new TextDecoder().decode(await readRegular(path, LONGEST));
  return text.split(/\r?\n/).filter((line) => line.trim() !== "");
}

async function imagesOf(folder: string, leftOut: LeftOut): Promise<string[]> {
  if (!(await stat(folder))?.isDirectory) {
    throw refusal(`${folder} is not a folder; unpack tiny-imagenet-200.zip again`);
  }
  const images: string[] = [];
  for (const { name, path, kind } of await entries(folder)) {
    if (kind === "file" && IMAGE.test(name)) images.push(path);
    else leftOut.add(name, "in a class");
  }
  if (images.length > 0) return images;
  throw refusal(`${folder} has no ${ENDINGS} file`);
}

/** The images of `val/`, in the order of `val_annotations.txt`: a name and a class on each line, then a box. */
async function listValidation(folder: string, ids: readonly string[], leftOut: LeftOut): Promise<Listing> {
  const annotations = `${folder}/val_annotations.txt`;
  const present = new Map((await imagesOf(`${folder}/images`, leftOut)).map((path) => [
    path.slice(path.lastIndexOf("/") + 1),
    path,
  ]));
  const of = ids.map((): string[] => []);
  for (const [number, line] of (await lines(annotations)).entries()) {
    const [name = "", id = ""] = line.split("\t");
    const label = ids.indexOf(id);
    if (label < 0) {
      throw refusal(
        `${annotations} is damaged: line ${number + 1} has the class "${id}", which wnids.txt does not have`,
      );
    }
    const path = present.get(name);
    if (path === undefined) throw refusal(`${folder}/images has no ${name}, which val_annotations.txt names`);
    present.delete(name);
    of[label]?.push(path);
  }
  const [without] = present.values();
  if (without !== undefined) throw refusal(`${without} has no class: val_annotations.txt does not name it`);
  return interleaved(of);
}

/** The name of each class. */
async function namesOf(words: string, ids: readonly string[]): Promise<string[]> {
  if (await stat(words) === undefined) return [...ids];
  const named = new Map((await lines(words)).map((line): [string, string] => {
    const [id = "", names = ""] = line.split("\t");
    return [id, names.split(",")[0]?.trim() ?? ""];
  }));
  const names = ids.map((id) => named.get(id) || id);
  return names.map((name, i) =>
    names.indexOf(name) === names.lastIndexOf(name) ? name : `${name} (${ids[i]})`
  );
}
