import type { ImageDataset, ImagePart, PixelDataset, PixelPart } from "../data.ts";
import { BUILT_IN } from "../data/built_in.ts";
import type { DatasetEntry, DatasetName, PixelDatasetName } from "../data/datasets.ts";
import { description, labelMapDescription } from "../data/folder/description.ts";
import { LABEL_BYTES } from "../data/resident_bytes.ts";
import { entry as scenes } from "../data/scenes.ts";
import { folders, labelMaps, tables } from "./on_demand.ts";

/** The name of a data set of any kind. */
export type SetName = DatasetName | PixelDatasetName;

/** A data set of any kind. */
export type AnySet = ImageDataset<ImagePart> | PixelDataset<PixelPart>;

const folder: DatasetEntry = {
  ...description,
  load: async (options) => await (await folders()).entry.load(options),
};

const parquet: DatasetEntry = {
  ...description,
  load: async (options) => await (await tables()).entry.load(options),
};

const maps: DatasetEntry<PixelDataset<PixelPart>> = {
  ...labelMapDescription,
  load: async (options) => await (await labelMaps()).entry.load(options),
};

/** Every data set by its name. What decodes pictures is loaded only when one is read, because it needs packages. */
export const DATASETS: Readonly<Record<SetName, DatasetEntry<AnySet>>> = {
  ...BUILT_IN,
  folder,
  parquet,
  scenes,
  "label-maps": maps,
};

/** What of a whole data set stays on the device in training, in bytes; 0 if its files define it. */
export function publishedBytes(name: SetName): number {
  const { images, size, preprocessing: { mean } } = DATASETS[name];
  if (images === undefined || size === undefined) return 0;
  return (images.train + images.test) * (size ** 2 * mean.length + LABEL_BYTES);
}
