/**
 * Data sets, and how a batch is read from them within a traced step.
 *
 * @module
 */

export { readImages, type Shard, type Statistics } from "./augment.ts";
export { cifar10, type Cifar10Options } from "./cifar10.ts";
export { type ImageDataset, type LabelledImages, limitImages } from "./images.ts";
export { shapes, type ShapesOptions } from "./shapes.ts";
