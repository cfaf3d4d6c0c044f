import { LocalgradError } from "../../errors.ts";

/** Files of labelled images. */
export interface Listing {
  /** The path of each. */
  readonly paths: readonly string[];
  /** The class of each. */
  readonly labels: Int32Array;
}

const LAYOUT = "a folder of images holds train/CLASS/*.jpg and val/CLASS/*.jpg";
const IMAGE = /\.(jpe?g|png)$/i;

interface Entry {
  readonly name: string;
  readonly isDirectory: boolean;
}

/** What a folder holds, by name, links followed; undefined where there is no such folder. */
async function entries(folder: string): Promise<Entry[] | undefined> {
  const found: Entry[] = [];
  try {
    for await (const { name, isDirectory, isSymlink } of Deno.readDir(folder)) {
      const directory = isSymlink ? (await Deno.stat(`${folder}/${name}`)).isDirectory : isDirectory;
      found.push({ name, isDirectory: directory });
    }
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return undefined;
    throw error;
  }
  return found.sort((a, b) => a.name < b.name ? -1 : 1);
}

/** The folders of classes within a part of the set. */
async function classFolders(folder: string): Promise<string[]> {
  const all = (await entries(folder))!;
  const names = all.filter(({ isDirectory }) => isDirectory).map(({ name }) => name);
  if (names.length > 0) return names;
  const how = all.some(({ name }) => IMAGE.test(name)) ? "images, but no folder for each class" : "no folder";
  throw new LocalgradError(`${folder} holds ${how}; ${LAYOUT}`);
}

/** The first of these parts of a set that is there. */
async function part(root: string, names: readonly string[]): Promise<string> {
  for (const name of names) {
    if (await entries(`${root}/${name}`) !== undefined) return `${root}/${name}`;
  }
  throw new LocalgradError(`${root} has no folder ${names[0]}; ${LAYOUT}`);
}

/**
 * Lists the images in `root`: classes by name, files by name, one of each class in turn, so that the first ones of any
 * number are as balanced as can be.
 *
 * @throws {LocalgradError} where there is no such folder, a class has no image, or is unknown to the training images.
 */
export async function listImages(
  root: string,
): Promise<{ classes: string[]; train: Listing; test: Listing }> {
  if (await entries(root) === undefined) throw new LocalgradError(`${root} is no folder; ${LAYOUT}`);
  const [training, testing] = [await part(root, ["train"]), await part(root, ["val", "test"])];
  const classes = await classFolders(training);
  if (classes.length < 2) {
    throw new LocalgradError(`${training} has a single class, ${classes[0]}; there must be two`);
  }
  const stray = (await classFolders(testing)).find((name) => !classes.includes(name));
  if (stray !== undefined) {
    throw new LocalgradError(`${testing}/${stray} is mislabelled: ${training} has no class ${stray}`);
  }
  return { classes, train: await listPart(training, classes), test: await listPart(testing, classes) };
}

async function listPart(folder: string, classes: readonly string[]): Promise<Listing> {
  const files: string[][] = [];
  for (const name of classes) {
    const inside = await entries(`${folder}/${name}`);
    const images = (inside ?? []).filter(({ name, isDirectory }) => !isDirectory && IMAGE.test(name));
    if (inside !== undefined && images.length === 0) {
      throw new LocalgradError(`${folder}/${name} has no .jpg, .jpeg or .png file`);
    }
    files.push(images.map((image) => `${folder}/${name}/${image.name}`));
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
