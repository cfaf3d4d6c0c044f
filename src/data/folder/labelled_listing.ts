import { LocalgradError } from "../../base/errors.ts";
import { IGNORED } from "../../models/model.ts";
import { shown, stat, unreadable } from "../regular.ts";
import { entries, IMAGE } from "./listing.ts";

/** A picture and its label map. */
export interface LabelledFile {
  readonly image: string;
  readonly map: string;
}

/** A folder of pictures with label maps. */
export interface LabelledFolder {
  /** The names of its classes, if its layout says them. */
  readonly classes?: readonly string[];
  /** The class of each value of a label map; undefined where values are classes. */
  readonly table?: Uint8Array;
  readonly train: readonly LabelledFile[];
  readonly test: readonly LabelledFile[];
}

/** The classes of PASCAL VOC (Everingham et al., 2010), by label. */
const VOC =
  ("background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person " +
    "pottedplant sheep sofa train tvmonitor").split(" ");

/** The classes of Cityscapes that are evaluated (Cordts et al., 2016), by train id, with their ids in `labelIds` files. */
const CITYSCAPES: readonly (readonly [name: string, id: number])[] = [
  ["road", 7],
  ["sidewalk", 8],
  ["building", 11],
  ["wall", 12],
  ["fence", 13],
  ["pole", 17],
  ["traffic light", 19],
  ["traffic sign", 20],
  ["vegetation", 21],
  ["terrain", 22],
  ["sky", 23],
  ["person", 24],
  ["rider", 25],
  ["car", 26],
  ["truck", 27],
  ["bus", 28],
  ["train", 31],
  ["motorcycle", 32],
  ["bicycle", 33],
];

const TEST_FOLDERS = ["val", "validation", "valid", "test"];

const LAYOUT =
  "a folder of labelled pixels has train/images and train/labels, val/images and val/labels, or is VOC's " +
  "(JPEGImages, SegmentationClass) or Cityscapes' (leftImg8bit, gtFine)";

function refusal(message: string): LocalgradError {
  return new LocalgradError(shown(message));
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path))?.isDirectory ?? false;
}

/**
 * Lists the pictures in `root` with their label maps, by name.
 *
 * @throws {LocalgradError} if it has none of the known layouts, a part is empty, or a picture has no label map.
 */
export async function listLabelled(root: string): Promise<LabelledFolder> {
  if (!await isFolder(root)) throw refusal(`${root} is not a folder; ${LAYOUT}`);
  if (await isFolder(`${root}/SegmentationClass`)) {
    return { classes: VOC, train: await vocPart(root, "train"), test: await vocPart(root, "val") };
  }
  if (await isFolder(`${root}/gtFine`)) return await cityscapes(root);
  if (!await isFolder(`${root}/train/images`)) throw refusal(`${root} has no folder train/images; ${LAYOUT}`);
  for (const name of TEST_FOLDERS) {
    if (!await isFolder(`${root}/${name}/images`)) continue;
    return {
      ...await namedClasses(`${root}/classes.txt`),
      train: await plainPart(`${root}/train`),
      test: await plainPart(`${root}/${name}`),
    };
  }
  throw refusal(`${root} has no folder val/images; ${LAYOUT}`);
}

/** The pictures that a list of VOC names. */
async function vocPart(root: string, part: string): Promise<LabelledFile[]> {
  const list = `${root}/ImageSets/Segmentation/${part}.txt`;
  if ((await stat(list))?.isFile !== true) {
    throw refusal(`${root} has no list ImageSets/Segmentation/${part}.txt`);
  }
  const names = (await Deno.readTextFile(list)).split("\n").map((line) => line.trim()).filter((name) =>
    name !== ""
  );
  const odd = names.find((name) => !/^[\w-]+$/.test(name));
  if (odd !== undefined) throw refusal(`${list} names ${odd}, which is no picture of VOC`);
  return await paired(
    names.map((name) => ({
      image: `${root}/JPEGImages/${name}.jpg`,
      map: `${root}/SegmentationClass/${name}.png`,
    })),
    list,
  );
}

/** The pictures of Cityscapes, with the labels of training if they were made, else with all labels. */
async function cityscapes(root: string): Promise<LabelledFolder> {
  const ending = "_leftImg8bit.png";
  const kinds = new Set<string>();
  const part = async (name: string): Promise<LabelledFile[]> => {
    const images = `${root}/leftImg8bit/${name}`;
    if (!await isFolder(images)) throw refusal(`${root} has no folder leftImg8bit/${name}; ${LAYOUT}`);
    const files: LabelledFile[] = [];
    for (const city of await entries(images)) {
      if (!/folder/.test(city.kind)) continue;
      for (const { name: file, path } of await entries(city.path)) {
        if (!file.endsWith(ending)) continue;
        const stem = `${root}/gtFine/${name}/${city.name}/${file.slice(0, -ending.length)}_gtFine`;
        const trained = (await stat(`${stem}_labelTrainIds.png`))?.isFile ?? false;
        kinds.add(trained ? "labelTrainIds" : "labelIds");
        files.push({ image: path, map: `${stem}_${trained ? "labelTrainIds" : "labelIds"}.png` });
      }
    }
    return await paired(files, images);
  };
  const [train, test] = [await part("train"), await part("val")];
  if (kinds.size > 1) {
    throw refusal(`${root}/gtFine has labelTrainIds of some pictures only; make all of them, or none`);
  }
  const classes = CITYSCAPES.map(([name]) => name);
  if (kinds.has("labelTrainIds")) return { classes, train, test };
  const table = new Uint8Array(256).fill(IGNORED);
  CITYSCAPES.forEach(([, id], label) => table[id] = label);
  return { classes, table, train, test };
}

/** The most bytes of a list of classes. */
const LONGEST_LIST = 1 << 20;

/** The classes that a file names, one a line; nothing if there is none. */
async function namedClasses(path: string): Promise<{ readonly classes?: readonly string[] }> {
  const info = await stat(path);
  if (info === undefined) return {};
  if (!info.isFile || info.size > LONGEST_LIST) {
    throw refusal(`${path} is no list of classes, one a line; remove it`);
  }
  const text = await Deno.readTextFile(path).catch((error) => {
    throw unreadable(path, error);
  });
  const classes = text.split("\n").map((line) => line.trim());
  while (classes.at(-1) === "") classes.pop();
  const empty = classes.indexOf("");
  if (classes.length > 0 && empty < 0) return { classes };
  throw refusal(`${path} names no class in line ${empty + 1}; give the name of each, one a line`);
}

/** The pictures in `images` of a folder, with the label maps of the same names in `labels`. */
async function plainPart(folder: string): Promise<LabelledFile[]> {
  const images = `${folder}/images`;
  const files: LabelledFile[] = [];
  for (const { name, path, kind } of await entries(images)) {
    if (kind !== "file" || !IMAGE.test(name)) continue;
    files.push({ image: path, map: `${folder}/labels/${name.slice(0, name.lastIndexOf("."))}.png` });
  }
  return await paired(files, images);
}

/** Refuses an empty part, and pictures without a label map. */
async function paired(files: LabelledFile[], where: string): Promise<LabelledFile[]> {
  if (files.length === 0) throw refusal(`${where} has no picture`);
  for (const { image, map } of files) {
    for (const path of [image, map]) {
      if ((await stat(path))?.isFile !== true) throw refusal(`${path} is missing; ${where} needs it`);
    }
  }
  return files;
}
