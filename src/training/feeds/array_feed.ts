import { readPixels } from "../../data/augment.ts";
import type { LabelledArrays } from "../../data/arrays.ts";
import type { Augmentation } from "../../data/images.ts";
import type { Device } from "../../runtime/arrays.ts";
import { type Shape, sizeOf } from "../../trace/dtype.ts";
import { all, type Feed, tensorIn, withoutImages } from "./feed.ts";
import { labelArray } from "./label_feed.ts";
import { mixedLabels } from "./mixed.ts";
import { residence, shardsIn, shardsOf } from "./resident.ts";

/** What a feed knows of a data set of arrays: all but its parts. */
interface Described {
  readonly name: string;
  /** The shape of an input. */
  readonly shape: Shape;
  readonly augmentation?: Augmentation;
}

/**
 * Vectors or f32 images resident on the device, used as they are. Images of a data set with an augmentation are augmented
 * if a key is given.
 */
export function arrayFeed(
  device: Device,
  { name, shape, augmentation }: Described,
  { x, labels, count }: LabelledArrays,
): Feed {
  // A vector is read like an image of one pixel.
  const image = shape.length === 1 ? [1, 1, sizeOf(shape)] : shape;
  const arrays = device.put({
    shards: shardsOf(device, x, [count, ...image]),
    labels: labelArray({ labels, count }),
  });
  return {
    count,
    arrays,
    batch(data, indices, key, share = all(indices)) {
      const augmented = augmentation !== undefined && key !== undefined;
      const pixels = readPixels(
        shardsIn(data),
        indices,
        augmented ? key : undefined,
        augmentation ?? { border: 0, fill: "zero", flip: false },
        share,
      );
      const labels = tensorIn(data, "labels");
      const [height = 1, width = 1] = shape;
      const batch = {
        x: pixels.reshape(share.to - share.from, ...shape),
        labels: labels.gather(indices.slice([share.from], [share.to])),
        ...mixedLabels(() => labels.gather(indices), share, { height, width }, key, augmentation),
      };
      return withoutImages(batch, `${name} has f32 inputs of any range; train on images in bytes`);
    },
    ...residence(arrays),
  };
}
