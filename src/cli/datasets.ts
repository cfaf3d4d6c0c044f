import { BUILT_IN } from "../data/built_in.ts";
import type { DatasetEntry, DatasetName } from "../data/datasets.ts";
import { description } from "../data/folder/description.ts";
import { folders } from "./on_demand.ts";

const folder: DatasetEntry = {
  ...description,
  load: async (options) => await (await folders()).entry.load(options),
};

/** Every data set by its name. What decodes folders is loaded only when one is read, because it needs a package. */
export const DATASETS: Readonly<Record<DatasetName, DatasetEntry>> = { ...BUILT_IN, folder };
