import type { Augmentation } from "../../data/images.ts";
import type { Batch } from "../../local/method.ts";
import type { Device } from "../../runtime/arrays.ts";
import { HostArray } from "../../trace/host_array.ts";
import { all, type Feed, tensorIn } from "./feed.ts";
import { mixedLabels } from "./mixed.ts";
import { residence } from "./resident.ts";

/** What a label feed takes of a part of a data set. */
export interface Labelled {
  readonly labels: Int32Array | Float32Array;
  readonly count: number;
}

/** What a label feed takes of a data set: with mixed images, the labels of others matter. */
export interface Augmentable {
  readonly augmentation?: Augmentation | undefined;
  readonly height: number;
  readonly width: number;
}

/** The labels of a part, on the device; those of a regression `[count, outputs]`, those of tokens `[count, length]`. */
export function labelArray({ labels, count }: Labelled): HostArray {
  const isSingle = labels instanceof Int32Array && labels.length === count;
  return new HostArray(labels, isSingle ? [count] : [count, labels.length / count]);
}

/**
 * A feed without inputs, for a process whose step reads none (`readsInputs`): it holds and reads no images, and its batches
 * have labels only, mixed ones included.
 */
export function labelFeed(
  device: Device,
  part: Labelled,
  { augmentation, height, width }: Augmentable,
): Feed {
  const arrays = device.put({ labels: labelArray(part) });
  return {
    count: part.count,
    arrays,
    batch(data, indices, key, share = all(indices)): Batch {
      const labels = tensorIn(data, "labels");
      return {
        labels: labels.gather(indices.slice([share.from], [share.to])),
        ...mixedLabels(() => labels.gather(indices), share, { height, width }, key, augmentation),
        get x(): never {
          throw new Error("this process's step was found to read no inputs, and reads them");
        },
        get images(): never {
          throw new Error("this process's step was found to read no images, and reads them");
        },
      };
    },
    ...residence(arrays),
  };
}
