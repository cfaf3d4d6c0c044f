import { at } from "../../base/at.ts";
import { readImages } from "../../data/augment.ts";
import type { ImageDataset, ImagePart, LabelledImages, StreamedImages } from "../../data/images.ts";
import type { Device } from "../../runtime/arrays.ts";
import { iota } from "../../trace/functions.ts";
import { HostArray } from "../../trace/host_array.ts";
import { residence, shardsIn, shardsOf } from "./resident.ts";
import { all, type Feed, tensorIn } from "./feed.ts";
import { mixedLabels } from "./mixed.ts";
import { readAhead } from "./read_ahead.ts";

/** What a feed knows of a data set: all but its parts. */
type Pictured = Omit<ImageDataset<ImagePart>, "train" | "test">;

/** Opens a feed of images: resident in device memory if they are in memory, else read as they are needed. */
export function imageFeed(device: Device, dataset: Pictured, part: ImagePart): Feed {
  return "images" in part ? residentFeed(device, dataset, part) : streamedFeed(dataset, part);
}

/**
 * Images resident on the device: bytes, in shards no larger than the device allows a value to be. Batches are augmented if
 * a key is given, see `readImages`.
 */
function residentFeed(device: Device, dataset: Pictured, part: LabelledImages): Feed {
  const { height, width, channels, augmentation } = dataset;
  const shards = shardsOf(device, part.images, [part.count, height, width, channels]);
  const arrays = device.put({ shards, labels: new HostArray(part.labels) });
  return {
    count: part.count,
    arrays,
    batch(data, indices, key, share = all(indices)) {
      const images = readImages(shardsIn(data), indices, dataset, key, augmentation, share);
      const labels = tensorIn(data, "labels");
      return {
        ...images,
        labels: labels.gather(indices.slice([share.from], [share.to])),
        ...mixedLabels(() => labels.gather(indices), share, dataset, key, augmentation),
      };
    },
    ...residence(arrays),
  };
}

/**
 * Images made, cropped and mirrored by a reader, which always works a few batches ahead; the rest of an augmentation is
 * part of the step.
 */
function streamedFeed(dataset: Pictured, part: StreamedImages): Feed {
  const { height, width, channels, augmentation } = dataset;
  const more = augmentation && { ...augmentation, border: 0, flip: false }; // the reader crops and mirrors
  const reader = part.open();
  return {
    count: part.count,
    arrays: {},
    batch(data, indices, key, share = all(indices)) {
      const shard = { first: 0, bytes: tensorIn(data, "bytes") };
      const order = iota(indices.shape, 0, "u32");
      const images = readImages([shard], order, dataset, more && key, more, share);
      const labels = tensorIn(data, "labels");
      return {
        ...images,
        labels: labels.slice([share.from], [share.to]),
        ...mixedLabels(() => labels, share, dataset, key, more),
      };
    },
    supply: (requests) =>
      readAhead(requests, reader, (pixels, indices) => ({
        bytes: new HostArray(pixels, [indices.length, height, width, channels]),
        labels: new HostArray(Int32Array.from(indices, (index) => at(part.labels, index))),
      })),
    get made() {
      return reader.done;
    },
    [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
  };
}
