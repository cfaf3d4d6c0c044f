/**
 * The data sets of the command line, by name. A separate sub-path, because decoding folders of images needs a package,
 * and `mod.ts` must not.
 *
 * @module
 */

import { entry as cifar10 } from "./cifar10.ts";
import type { DatasetEntry } from "./entry.ts";
import { entry as folder } from "./folder/folder.ts";
import { entry as shapes } from "./shapes.ts";
import { entry as stl10 } from "./stl10.ts";
import { entry as svhn } from "./svhn.ts";

export type { DatasetEntry, LoadOptions, Recipe } from "./entry.ts";
export type {
  Augmentation,
  ImageDataset,
  ImagePart,
  ImageReader,
  LabelledImages,
  StreamedImages,
} from "./images.ts";
export type { Signature } from "./signature.ts";
export type { Key } from "../base/random.ts";

/** The name of a data set. */
export type DatasetName = "shapes" | "cifar10" | "svhn" | "stl10" | "folder";

/** Every data set by its name. */
export const DATASETS: Readonly<Record<DatasetName, DatasetEntry>> = { shapes, cifar10, svhn, stl10, folder };
