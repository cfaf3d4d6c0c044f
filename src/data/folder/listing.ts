import { LocalgradError } from "../../base/errors.ts";
import { shown, stat, unreadable } from "../regular.ts";

/** Files of labelled images. */
export interface Listing {
  /** The path of each. */
  readonly paths: readonly string[];
  /** The class of each. */
  readonly labels: Int32Array;
}

/** What a folder of images holds. */
export interface Folder {
  readonly classes: readonly string[];
  readonly train: Listing;
  readonly test: Listing;
  /** How many files of which types are left out; undefined where none are. */
  readonly leftOut: string | undefined;
}

const LAYOUT = "a folder of images holds train/CLASS/*.jpg and val/CLASS/*.jpg";
const TEST_FOLDERS = ["val", "validation", "valid", "test"];
const IMAGE = /\.(jpe?g|png|webp|bmp|tiff?)$/i;

const refusal = (message: string) => new LocalgradError(shown(message));

type Kind = "folder" | "linked folder" | "file" | "other";

interface Entry {
  readonly name: string;
  readonly path: string;
  readonly kind: Kind;
}

/** How many files that are left out are counted. */
const COUNTED = 100_000;

/** Files that are left out: how many of which type, by where they lie. */
class LeftOut {
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

  /** Adds the files in a folder, and in those within it, until there are enough. Links are not followed. */
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

/** What a folder holds, by name, links followed. */
async function entries(folder: string): Promise<Entry[]> {
  const found: Entry[] = [];
  for await (const { name, ...info } of visible(folder)) {
    const path = `${folder}/${name}`;
    const { isDirectory, isFile } = info.isSymlink ? await target(path) : info;
    const folderKind = info.isSymlink ? "linked folder" : "folder";
    found.push({ name, path, kind: isDirectory ? folderKind : isFile ? "file" : "other" });
  }
  return found.sort((a, b) => a.name < b.name ? -1 : 1);
}

/** What a link leads to. */
async function target(link: string): Promise<Deno.FileInfo> {
  const info = await stat(link).catch((error) => {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return undefined; // in a circle
  });
  if (info === undefined) throw refusal(`${link} is a link that leads nowhere; remove it or mend it`);
  return info;
}

/** What a folder holds; hidden files and folders are passed over. */
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

/** Refuses a name whose bytes are no UTF-8: Deno gives it with replacement characters, and finds nothing under that. */
async function expectUtf8(folder: string, { name, isSymlink }: Deno.DirEntry): Promise<void> {
  const path = `${folder}/${name}`;
  if (!name.includes("\ufffd") || isSymlink || await stat(path) !== undefined) return;
  throw refusal(`${path} has a name that is not UTF-8, under which it cannot be opened; rename it`);
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path))?.isDirectory ?? false;
}

const isAnyFolder = ({ kind }: Entry) => kind === "folder" || kind === "linked folder";

/** The folders of classes within a part of the set. */
async function classFolders(folder: string, leftOut: LeftOut): Promise<string[]> {
  const all = await entries(folder);
  const names = all.filter(isAnyFolder).map(({ name }) => name);
  if (names.length === 0) {
    const how = all.some(({ name }) => IMAGE.test(name))
      ? "images, but no folder for each class"
      : "no folder";
    throw refusal(`${folder} holds ${how}; ${LAYOUT}`);
  }
  for (const entry of all) {
    if (!isAnyFolder(entry)) leftOut.add(entry.name, "beside the classes");
  }
  return names;
}

/** The first of these parts of a set that is there. */
async function part(root: string, names: readonly string[]): Promise<string> {
  for (const name of names) {
    if (await isFolder(`${root}/${name}`)) return `${root}/${name}`;
  }
  throw refusal(`${root} has no folder ${names[0]}; ${LAYOUT}`);
}

/**
 * Lists the images in `root`: classes by name, files by name, one of each class in turn, so that the first ones of any
 * number are as balanced as can be. Of what is left out, about `counted` files are counted.
 *
 * @throws {LocalgradError} where there is no such folder, a class has no image or is unknown to the training images, or
 * a link leads nowhere.
 */
export async function listImages(root: string, counted = COUNTED): Promise<Folder> {
  if (!await isFolder(root)) throw refusal(`${root} is no folder; ${LAYOUT}`);
  const [training, testing] = [await part(root, ["train"]), await part(root, TEST_FOLDERS)];
  const leftOut = new LeftOut(counted);
  const classes = await classFolders(training, leftOut);
  if (classes.length < 2) {
    throw refusal(`${training} has a single class, ${classes[0]}; there must be two`);
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

/** Lists the images of each class; a class that the part does not have is undefined. */
async function listPart(
  folder: string,
  classes: readonly (string | undefined)[],
  leftOut: LeftOut,
): Promise<Listing> {
  const files: string[][] = [];
  for (const name of classes) {
    files.push(name === undefined ? [] : await listClass(`${folder}/${name}`, leftOut));
  }
  const paths: string[] = [];
  const labels: number[] = [];
  const most = files.reduce((most, { length }) => Math.max(most, length), 0);
  for (let turn = 0; turn < most; turn++) {
    files.forEach((of, label) => {
      if (turn >= of.length) return;
      paths.push(of[turn]);
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
  throw refusal(`${folder} has no .jpg, .jpeg, .png, .webp, .bmp, .tif or .tiff file`);
}
