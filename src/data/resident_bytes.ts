import { expectKind } from "../base/expect.ts";
import type { ArrayDataset, LabelledArrays } from "./arrays.ts";
import type { ImageDataset, ImagePart } from "./images.ts";
import type { PixelDataset, PixelPart } from "./label_maps.ts";
import type { StreamDataset } from "./stream.ts";

/** The bytes of a label on the device. */
export const LABEL_BYTES = Int32Array.BYTES_PER_ELEMENT;

/**
 * The bytes of a data set that stay on the device in training: all inputs and labels, or label maps, that are in memory, of both
 * parts.
 * Images that are decoded as they are needed, and batches of a stream, stay on the host.
 *
 * @example
 * ```ts
 * import { data } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const images = data.shapes({ train: 64, test: 32 });
 * assertEquals(data.residentBytes(images), (64 + 32) * (32 * 32 * 3 + 4)); // pixels as bytes, labels as i32
 * ```
 */
export function residentBytes(
  dataset:
    | Omit<ImageDataset<ImagePart>, "test"> & { readonly test?: ImagePart }
    | PixelDataset<PixelPart>
    | ArrayDataset
    | StreamDataset,
): number {
  expectKind("residentBytes: the data set", dataset, "object");
  const { test } = dataset;
  const parts = "batches" in dataset ? { test } : { train: dataset.train, test };
  let bytes = 0;
  for (const [name, part] of Object.entries<ImagePart | PixelPart | LabelledArrays | undefined>(parts)) {
    if (part === undefined && name === "test") continue;
    expectKind(`residentBytes: ${name}`, part, "object");
    bytes += part === undefined ? 0 : bytesOf(part, name);
  }
  return bytes;
}

function bytesOf(part: ImagePart | PixelPart | LabelledArrays, name: string): number {
  const inputs = "images" in part ? part.images : "x" in part ? part.x : undefined;
  if (inputs === undefined) return 0; // decoded as they are needed
  const labels = "maps" in part ? part.maps : "labels" in part ? part.labels : undefined;
  let bytes = 0;
  for (const array of [inputs, labels]) {
    expectKind(`residentBytes: an array of ${name}`, array, "object");
    bytes += array?.byteLength ?? 0;
  }
  return bytes;
}
