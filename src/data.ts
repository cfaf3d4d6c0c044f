/**
 * Data sets, and reading batches of them in a traced step.
 *
 * @module
 */

export { readImages, type Shard, type Statistics } from "./data/augment.ts";
export {
  type ArrayDataset,
  type ArrayInputs,
  arrays,
  type ArraysOptions,
  type LabelledArrays,
} from "./data/arrays.ts";
export { cifar10, type Cifar10Options } from "./data/cifar10.ts";
export { cifar100, type Cifar100Options } from "./data/cifar100.ts";
export * from "./data/entry.ts";
export type { ColourJitter } from "./data/augmentation/jitter.ts";
export type { Erasing } from "./data/augmentation/erase.ts";
export type { Mixing } from "./data/augmentation/mix.ts";
export type { RandAugment } from "./data/augmentation/rand_augment.ts";
export {
  type Augmentation,
  type ImageDataset,
  type ImagePart,
  type ImageReader,
  type LabelledImages,
  limitImages,
  type StreamedImages,
} from "./data/images.ts";
export {
  type LabelledPixels,
  type PixelDataset,
  type PixelPart,
  type PixelReader,
  readMaps,
  type StreamedPixels,
} from "./data/label_maps.ts";
export { scenes, type ScenesOptions } from "./data/scenes.ts";
export { fashionMnist, mnist, type MnistOptions } from "./data/mnist.ts";
export type { PublishedOptions } from "./data/publication.ts";
export type { Signature } from "./data/signature.ts";
export { residentBytes } from "./data/resident_bytes.ts";
export { shapes, type ShapesOptions } from "./data/shapes.ts";
export { stl10, type Stl10Options } from "./data/stl10.ts";
export {
  type Batches,
  stream,
  type StreamBatch,
  type StreamDataset,
  type StreamOptions,
} from "./data/stream.ts";
export { svhn, type SvhnOptions } from "./data/svhn.ts";
export { text, type TextOptions } from "./data/text.ts";
