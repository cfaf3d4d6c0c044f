import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import type { LabelledImages } from "./images.ts";
import { interleave } from "./planes.ts";

/** Rows and columns of an image of CIFAR. */
export const SIZE = 32;

/** The home page of CIFAR-10 and CIFAR-100. */
export const HOME_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html";

const IMAGE = 3 * SIZE * SIZE;

/** A label of a record: its number of classes, and what it is called in messages. */
export interface RecordLabel {
  /** Such as `class`. */
  readonly what: string;
  /** Number of classes, which are numbered from 0. */
  readonly classes: number;
}

/** The bytes of a record: a byte for each label, then the red, green and blue planes. */
export function recordBytes(labels: readonly RecordLabel[]): number {
  return labels.length + IMAGE;
}

/** Rejects a file that does not have `records` records, or has a label out of range. `where` begins messages. */
export function checkRecords(
  bytes: Uint8Array,
  where: string,
  records: number,
  labels: readonly RecordLabel[],
): void {
  const record = recordBytes(labels);
  if (bytes.length < records * record) {
    throw new LocalgradError(
      `${where} is truncated: ${bytes.length} bytes instead of ${
        records * record
      }; download it again from ${HOME_PAGE}`,
    );
  }
  for (const [place, { what, classes }] of labels.entries()) {
    for (let n = 0; n < records; n++) {
      const label = at(bytes, n * record + place);
      if (label < classes) continue;
      throw new LocalgradError(
        `${where} is mislabelled: record ${n} has ${what} ${label}, but the last ${what} is ${
          classes - 1
        }; download it again from ${HOME_PAGE}`,
      );
    }
  }
}

/** Decodes the records of files, in order, with the label at `place` of the `labels` of each record. */
export function decodeRecords(files: readonly Uint8Array[], labels: number, place: number): LabelledImages {
  const record = labels + IMAGE;
  const count = files.reduce((sum, file) => sum + file.length / record, 0);
  const images = new Uint8Array(count * IMAGE);
  const chosen = new Int32Array(count);
  let image = 0;
  for (const file of files) {
    for (let start = 0; start < file.length; start += record, image++) {
      chosen[image] = at(file, start + place);
      const pixels = images.subarray(image * IMAGE, (image + 1) * IMAGE);
      interleave(file.subarray(start + labels, start + record), pixels, SIZE, "rows");
    }
  }
  return { images, labels: chosen, count };
}
