/**
 * Data sets, and how a batch is read from them within a traced step.
 *
 * @module
 */

export { readImages, type Shard, type Statistics } from "./augment.ts";
export { cifar10, type Cifar10Options } from "./cifar10.ts";
export type { DatasetEntry, LoadOptions, Recipe } from "./entry.ts";
export {
  type Augmentation,
  type ImageDataset,
  type ImagePart,
  type ImageReader,
  type LabelledImages,
  limitImages,
  type StreamedImages,
} from "./images.ts";
export type { PublishedOptions } from "./publication.ts";
export { shapes, type ShapesOptions } from "./shapes.ts";
export { stl10, type Stl10Options } from "./stl10.ts";
export { svhn, type SvhnOptions } from "./svhn.ts";
