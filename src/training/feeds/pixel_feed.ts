import { readImages } from "../../data/augment.ts";
import { MIRRORED, type PixelDataset, type PixelPart, readMaps } from "../../data/label_maps.ts";
import type { Device } from "../../runtime/arrays.ts";
import { iota } from "../../trace/functions.ts";
import { HostArray } from "../../trace/host_array.ts";
import { all, type Feed, tensorIn } from "./feed.ts";
import { readAhead } from "./read_ahead.ts";
import { residence, shardsIn, shardsOf } from "./resident.ts";

/** What a feed knows of a data set: all but its parts. */
type Pictured = Omit<PixelDataset<PixelPart>, "train" | "test">;

/**
 * Opens a feed of images with label maps: resident in device memory as bytes if they are in memory, else read as they are
 * needed. Both are cropped and mirrored alike.
 */
export function pixelFeed(device: Device, dataset: Pictured, part: PixelPart): Feed {
  const { height, width, channels, augmentation = MIRRORED } = dataset;
  if ("maps" in part) {
    const arrays = device.put({
      shards: shardsOf(device, part.images, [part.count, height, width, channels]),
      maps: { shards: shardsOf(device, part.maps, [part.count, height, width, 1]) },
    });
    return {
      count: part.count,
      arrays,
      batch: (data, indices, key, share = all(indices)) => ({
        ...readImages(shardsIn(data), indices, dataset, key, augmentation, share),
        labels: readMaps(shardsIn(data, "maps.shards"), indices, key, augmentation, share),
      }),
      ...residence(arrays),
    };
  }
  const more = dataset.augmentation && { ...augmentation, border: 0, flip: false }; // the reader crops and mirrors
  const reader = part.open();
  return {
    count: part.count,
    arrays: {},
    batch(data, indices, key, share = all(indices)) {
      const order = iota(indices.shape, 0, "u32");
      const bytes = (name: string) => [{ first: 0, bytes: tensorIn(data, name) }];
      return {
        ...readImages(bytes("bytes"), order, dataset, more && key, more, share),
        labels: readMaps(bytes("maps"), order, undefined, undefined, share),
      };
    },
    supply: (requests) =>
      readAhead(requests, reader, ({ images, maps }, { length: count }) => ({
        bytes: new HostArray(images, [count, height, width, channels]),
        maps: new HostArray(maps, [count, height, width, 1]),
      })),
    get made() {
      return reader.done;
    },
    [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
  };
}
