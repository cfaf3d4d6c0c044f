import { BUILT_IN } from "../data/built_in.ts";
import type { DatasetEntry, DatasetName } from "../data/datasets.ts";
import { description } from "../data/folder/description.ts";
import { LABEL_BYTES } from "../data/resident_bytes.ts";
import { folders, tables } from "./on_demand.ts";

const folder: DatasetEntry = {
  ...description,
  load: async (options) => await (await folders()).entry.load(options),
};

const parquet: DatasetEntry = {
  ...description,
  load: async (options) => await (await tables()).entry.load(options),
};

/** Every data set by its name. What decodes pictures is loaded only when one is read, because it needs packages. */
export const DATASETS: Readonly<Record<DatasetName, DatasetEntry>> = { ...BUILT_IN, folder, parquet };

/** What of a whole data set stays on the device in training, in bytes; 0 if its files define it. */
export function publishedBytes(name: DatasetName): number {
  const { images, size, preprocessing: { mean } } = DATASETS[name];
  if (images === undefined || size === undefined) return 0;
  return (images.train + images.test) * (size ** 2 * mean.length + LABEL_BYTES);
}
