import type { DatasetEntry } from "../entry.ts";
import type { PixelDataset, StreamedPixels } from "../label_maps.ts";
import type { Preprocessing } from "../signature.ts";

/** ImageNet's statistics; the crop of an image of 224 is one of 256 at the centre. */
export const preprocessing: Preprocessing = {
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
  crop: 224 / 256,
};

/** Folders of images for the command line, without what decodes them; with the recipe for ImageNet on one card. */
export const description: Omit<DatasetEntry, "load"> = {
  preprocessing,
  recipe: { epochs: 90, batch: 128, lr: 0.05, warmup: 0 },
};

/** Folders of label maps for the command line, without what decodes them; their recipe is ours. */
export const labelMapDescription: Omit<DatasetEntry<PixelDataset<StreamedPixels>>, "load"> = {
  task: "segmentation",
  usual: { size: 512, classes: 21 },
  preprocessing,
  recipe: { epochs: 50, batch: 8, lr: 0.01, warmup: 0 },
};
