/**
 * The data sets of the command line, by name. A separate sub-path, because decoding folders and tables of images needs
 * packages, and `mod.ts` must not.
 *
 * @module
 */

import { BUILT_IN } from "./built_in.ts";
import type { DatasetEntry } from "./entry.ts";
import { entry as folder } from "./folder/folder.ts";
import { entry as labelMaps } from "./folder/segmentation.ts";
import type { PixelDataset, PixelPart } from "./label_maps.ts";
import { entry as parquet } from "./parquet/parquet.ts";
import { entry as scenes } from "./scenes.ts";

export type { DatasetEntry, LoadOptions, Recipe } from "./entry.ts";
export type { ColourJitter } from "./augmentation/jitter.ts";
export type { Erasing } from "./augmentation/erase.ts";
export type { Mixing } from "./augmentation/mix.ts";
export type { RandAugment } from "./augmentation/rand_augment.ts";
export type {
  Augmentation,
  ImageDataset,
  ImagePart,
  ImageReader,
  LabelledImages,
  StreamedImages,
} from "./images.ts";
export type { LabelledPixels, PixelDataset, PixelPart, PixelReader, StreamedPixels } from "./label_maps.ts";
export type { Signature } from "./signature.ts";
export type { Key } from "../base/random.ts";

/** The name of a data set whose images have a class each. */
export type DatasetName =
  | "shapes"
  | "cifar10"
  | "cifar100"
  | "cifar100-coarse"
  | "svhn"
  | "stl10"
  | "mnist"
  | "fashion-mnist"
  | "folder"
  | "parquet";

/** The name of a data set with a label for each pixel. */
export type PixelDatasetName = "scenes" | "label-maps";

/** Every data set whose images have a class each, by its name. */
export const DATASETS: Readonly<Record<DatasetName, DatasetEntry>> = { ...BUILT_IN, folder, parquet };

/** Every data set with a label for each pixel, by its name. */
export const PIXEL_DATASETS: Readonly<Record<PixelDatasetName, DatasetEntry<PixelDataset<PixelPart>>>> = {
  scenes,
  "label-maps": labelMaps,
};
