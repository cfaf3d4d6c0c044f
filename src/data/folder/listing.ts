import { LocalgradError } from "../../base/errors.ts";
import { shown, stat, unreadable } from "../regular.ts";

/** Labelled image files. */
export interface Listing {
  /** The path of each file. */
  readonly paths: readonly string[];
  /** The class of each file. */
  readonly labels: Int32Array;
}

/** The content of a folder of images. */
export interface Folder {
  readonly classes: readonly string[];
  readonly train: Listing;
  readonly test: Listing;
  /** A summary of skipped files by type; undefined if none are skipped. */
  readonly leftOut: string | undefined;
}

const LAYOUT = "a folder of images contains train/CLASS/*.jpg and val/CLASS/*.jpg";
const TEST_FOLDERS = ["val", "validation", "valid", "test"];
/** The names of image files. */
export const IMAGE = /\.(jpe?g|png|webp|bmp|tiff?)$/i;

/** Their endings, for messages. */
export const ENDINGS = ".jpg, .jpeg, .png, .webp, .bmp, .tif or .tiff";

const refusal = (message: string) => new LocalgradError(shown(message));

type Kind = "folder" | "linked folder" | "file" | "other";

/** An entry of a folder. */
export interface Entry {
  readonly name: string;
  readonly path: string;
  readonly kind: Kind;
}

/** The most skipped files that are counted. */
const COUNTED = 100_000;

/** Counts skipped files by location and type. */
export class LeftOut {
  readonly #most: number;
  readonly #places = new Map<string, Map<string, number>>();
  #count = 0;

  constructor(most: number) {
    this.#most = most;
  }

  add(name: string, place: string): void {
    this.addType(/\.\w{1,9}$/.exec(name)?.[0].toLowerCase() ?? "without a type", place);
  }

  addType(type: string, place: string): void {
    this.#count++;
    const types = this.#places.get(place) ?? new Map<string, number>();
    this.#places.set(place, types);
    types.set(type, (types.get(type) ?? 0) + 1);
  }

  /** Counts the files below a folder, up to the limit, without following links. */
  async addAll(folder: string, place: string): Promise<void> {
    for await (const { name, isDirectory } of visible(folder)) {
      if (this.#count >= this.#most) return;
      if (isDirectory) await this.addAll(`${folder}/${name}`, place);
      else this.add(name, place);
    }
  }

  toString(): string {
    const places = [...this.#places].map(([place, types]) => {
      const counts = [...types].sort().map(([type, count]) => `${count} ${type}`);
      return `${counts.join(", ")} ${place}`;
    });
    return (this.#count >= this.#most ? "at least " : "") + places.join("; ");
  }
}

/** The entries of a folder, sorted by name; links are followed. */
export async function entries(folder: string): Promise<Entry[]> {
  const found: Entry[] = [];
  for await (const { name, ...info } of visible(folder)) {
    const path = `${folder}/${name}`;
    const { isDirectory, isFile } = info.isSymlink ? await target(path) : info;
    const folderKind = info.isSymlink ? "linked folder" : "folder";
    found.push({ name, path, kind: isDirectory ? folderKind : isFile ? "file" : "other" });
  }
  return found.sort((a, b) => a.name < b.name ? -1 : 1);
}

/** The target of a link. */
async function target(link: string): Promise<Deno.FileInfo> {
  const info = await stat(link).catch((error): undefined => {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return undefined; // circular
  });
  if (info === undefined) throw refusal(`${link} is a broken link; remove or repair it`);
  return info;
}

/** The entries of a folder that are not hidden. */
async function* visible(folder: string): AsyncGenerator<Deno.DirEntry> {
  try {
    for await (const entry of Deno.readDir(folder)) {
      if (entry.name.startsWith(".")) continue;
      await expectUtf8(folder, entry);
      yield entry;
    }
  } catch (error) {
    throw unreadable(folder, error);
  }
}

/** Rejects a name that is not UTF-8: Deno returns it with replacement characters, by which it cannot be opened. */
async function expectUtf8(folder: string, { name, isSymlink }: Deno.DirEntry): Promise<void> {
  const path = `${folder}/${name}`;
  if (!name.includes("\ufffd") || isSymlink || await stat(path) !== undefined) return;
  throw refusal(`${path} has a name that is not UTF-8 and cannot be opened; rename it`);
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path))?.isDirectory ?? false;
}

const isAnyFolder = ({ kind }: Entry) => kind === "folder" || kind === "linked folder";

/** The names of the class folders in a part of the set. */
async function classFolders(folder: string, leftOut: LeftOut): Promise<string[]> {
  const all = await entries(folder);
  const names = all.filter(isAnyFolder).map(({ name }) => name);
  if (names.length === 0) {
    const how = all.some(({ name }) => IMAGE.test(name))
      ? "images, but no folder for each class"
      : "no folder";
    throw refusal(`${folder} contains ${how}; ${LAYOUT}`);
  }
  for (const entry of all) {
    if (!isAnyFolder(entry)) leftOut.add(entry.name, "next to the classes");
  }
  return names;
}

/** The first of these folders that exists. */
async function part(root: string, names: readonly string[]): Promise<string> {
  for (const name of names) {
    if (await isFolder(`${root}/${name}`)) return `${root}/${name}`;
  }
  throw refusal(`${root} has no folder ${names[0]}; ${LAYOUT}`);
}

/**
 * Lists the images in `root`: classes by name, files by name, one of each class in turn, so that any prefix is as
 * balanced as possible. Counts about `counted` skipped files at most.
 *
 * @throws {LocalgradError} if the folder does not exist, a class has no image or is missing from the training images, or
 * a link is broken.
 */
export async function listImages(root: string, counted = COUNTED): Promise<Folder> {
  if (!await isFolder(root)) throw refusal(`${root} is not a folder; ${LAYOUT}`);
  const [training, testing] = [await part(root, ["train"]), await part(root, TEST_FOLDERS)];
  const leftOut = new LeftOut(counted);
  const classes = await classFolders(training, leftOut);
  if (classes.length < 2) {
    throw refusal(`${training} has a single class, ${classes[0]}; at least two are needed`);
  }
  const tested = await classFolders(testing, leftOut);
  const stray = tested.find((name) => !classes.includes(name));
  if (stray !== undefined) {
    throw refusal(`${testing}/${stray} is mislabelled: ${training} has no class ${stray}`);
  }
  const train = await listPart(training, classes, leftOut);
  const test = await listPart(
    testing,
    classes.map((name) => tested.includes(name) ? name : undefined),
    leftOut,
  );
  return { classes, train, test, leftOut: leftOut.toString() || undefined };
}

/**
 * Lists the images in a folder and in the folders within it, by name; files of other types and linked folders are left
 * out.
 *
 * @throws {LocalgradError} if it is not a folder, or has no image.
 */
export async function listPictures(folder: string): Promise<string[]> {
  if (!await isFolder(folder)) throw refusal(`${folder} is not a folder`);
  const found = await picturesIn(folder);
  if (found.length === 0) throw refusal(`${folder} has no ${ENDINGS} file`);
  return found;
}

async function picturesIn(folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const { name, path, kind } of await entries(folder)) {
    if (kind === "folder") found.push(...await picturesIn(path));
    else if (kind === "file" && IMAGE.test(name)) found.push(path);
  }
  return found;
}

/** Lists the images of each class; undefined stands for a class that the part does not have. */
async function listPart(
  folder: string,
  classes: readonly (string | undefined)[],
  leftOut: LeftOut,
): Promise<Listing> {
  const files: string[][] = [];
  for (const name of classes) {
    files.push(name === undefined ? [] : await listClass(`${folder}/${name}`, leftOut));
  }
  return interleaved(files);
}

/** The files of each class, one of each in turn. */
export function interleaved(files: readonly (readonly string[])[]): Listing {
  const paths: string[] = [];
  const labels: number[] = [];
  const most = files.reduce((most, { length }) => Math.max(most, length), 0);
  for (let turn = 0; turn < most; turn++) {
    files.forEach((of, label) => {
      const path = of[turn];
      if (path === undefined) return;
      paths.push(path);
      labels.push(label);
    });
  }
  return { paths, labels: Int32Array.from(labels) };
}

async function listClass(folder: string, leftOut: LeftOut): Promise<string[]> {
  const images: string[] = [];
  for (const { name, path, kind } of await entries(folder)) {
    if (kind === "folder") await leftOut.addAll(path, "in folders within a class");
    else if (kind === "linked folder") leftOut.addType("link to a folder", "in a class");
    else if (!IMAGE.test(name)) leftOut.add(name, "in a class");
    else if (kind === "file") images.push(path);
    else throw refusal(`${path} is not a regular file; remove it`);
  }
  if (images.length > 0) return images;
  throw refusal(`${folder} has no ${ENDINGS} file`);
}
