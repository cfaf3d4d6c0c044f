import { at } from "../base/at.ts";
import { readImages } from "../data/augment.ts";
import type { ImageDataset, ImagePart, LabelledImages, StreamedImages } from "../data/images.ts";
import type { Device } from "../runtime/arrays.ts";
import { iota } from "../trace/functions.ts";
import { HostArray } from "../trace/host_array.ts";
import { residence, shardsIn, shardsOf } from "./resident.ts";
import { all, type BatchRequest, type Feed, type SuppliedBatch, tensorIn } from "./feed.ts";

/** What a feed knows of a data set: all but its parts. */
type Pictured = Omit<ImageDataset<ImagePart>, "train" | "test">;

/** Opens a feed of images: resident in device memory if they are in memory, else read as they are needed. */
export function imageFeed(device: Device, dataset: Pictured, part: ImagePart): Feed {
  return "images" in part ? residentFeed(device, dataset, part) : streamedFeed(dataset, part);
}

/**
 * Images resident on the device: bytes, in shards no larger than the device allows a value to be. Batches are cropped
 * and mirrored at random if a key is given, see `readImages`.
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
      return { ...images, labels: tensorIn(data, "labels").gather(indices.slice([share.from], [share.to])) };
    },
    ...residence(arrays),
  };
}

/** A batch that a reader is making. */
interface Requested {
  readonly request: BatchRequest;
  readonly pixels: Promise<Uint8Array>;
}

/** Images made and augmented by a reader, which always works a few batches ahead. */
function streamedFeed(dataset: Pictured, part: StreamedImages): Feed {
  const { height, width, channels } = dataset;
  const reader = part.open();
  return {
    count: part.count,
    arrays: {},
    batch(data, indices, _key, share = all(indices)) {
      const shard = { first: 0, bytes: tensorIn(data, "bytes") };
      const order = iota(indices.shape, 0, "u32");
      const images = readImages([shard], order, dataset, undefined, undefined, share);
      return { ...images, labels: tensorIn(data, "labels").slice([share.from], [share.to]) };
    },
    async *supply(requests) {
      const requested: Requested[] = [];
      for (const request of requests) {
        const pixels = reader.read(request.indices, request.key);
        pixels.catch(() => {}); // thrown when the batch is supplied, if it ever is
        requested.push({ request, pixels });
        const ahead = Math.max(2, Math.ceil((reader.ahead ?? 0) / request.indices.length));
        const next = requested.length > ahead ? requested.shift() : undefined;
        if (next !== undefined) yield await supplied(next);
      }
      for (const next of requested) yield await supplied(next);
      return undefined;

      async function supplied({ request, pixels }: Requested): Promise<SuppliedBatch> {
        const bytes = new HostArray(await pixels, [request.indices.length, height, width, channels]);
        const labels = new HostArray(Int32Array.from(request.indices, (index) => at(part.labels, index)));
        return { ...request, data: { bytes, labels } };
      }
    },
    get made() {
      return reader.done;
    },
    [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
  };
}
