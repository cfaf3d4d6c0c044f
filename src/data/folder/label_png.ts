import { decode } from "npm:fast-png@8.0.0";
import { LocalgradError } from "../../base/errors.ts";
import { shown } from "../regular.ts";
import { LIMITS } from "./decoders.ts";

/** The labels of an image's pixels. */
export interface PixelLabels {
  readonly height: number;
  readonly width: number;
  /** A label for each pixel, row by row. */
  readonly labels: Uint8Array;
}

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/**
 * Decodes a PNG whose pixels are labels: the values of a grey picture, or the indices of one with a palette, whose colours do
 * not matter. Label maps of VOC are of the second kind, those of Cityscapes of the first.
 *
 * @param path Its name in messages.
 * @param bytes The content of the file.
 * @throws {LocalgradError} if it is no such PNG, is damaged or larger than a folder's pictures may be, or has a label above
 * 255.
 */
export function decodeLabels(path: string, bytes: Uint8Array): PixelLabels {
  const refuse = (fault: string): never => {
    throw new LocalgradError(shown(`${path} ${fault}`));
  };
  if (bytes.length === 0) refuse("is empty");
  if (bytes.length < 33 || SIGNATURE.some((byte, i) => bytes[i] !== byte)) {
    refuse("is not a PNG, as label maps are");
  }
  const header = new DataView(bytes.buffer, bytes.byteOffset);
  const [width, height] = [header.getUint32(16), header.getUint32(20)];
  if (Math.max(width, height) > LIMITS.side || width * height > LIMITS.area) {
    refuse(`has ${width}×${height} pixels, more than a picture may have; make it smaller`);
  }
  const colour = bytes[25];
  if (colour !== 0 && colour !== 3) {
    refuse("is a picture in colour; label maps are grey, or have a palette, and their values are labels");
  }
  const { data, depth } = decoded(bytes, refuse);
  const labels = data instanceof Uint8Array && depth === 8
    ? data
    : data instanceof Uint8Array
    ? unpacked(data, depth, height, width)
    : Uint8Array.from(data, (value) =>
      value > 255 ? refuse(`has a label of ${value}; they go up to 255`) : value);
  if (labels.length !== width * height) refuse("is truncated");
  return { height, width, labels };
}

function decoded(bytes: Uint8Array, refuse: (fault: string) => never): ReturnType<typeof decode> {
  try {
    return decode(bytes, { checkCrc: true });
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return refuse(/end of|unexpected EOF|bounds/i.test(text) ? "is truncated" : `is damaged (${text})`);
  }
}

/** Pixels of 1, 2 or 4 bits, whose rows begin with a byte each. */
function unpacked(packed: Uint8Array, depth: number, height: number, width: number): Uint8Array {
  const row = Math.ceil(width * depth / 8);
  const labels = new Uint8Array(height * width);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const bit = x * depth;
      const byte = packed[y * row + (bit >> 3)] ?? 0;
      labels[y * width + x] = byte >> (8 - depth - (bit & 7)) & (1 << depth) - 1;
    }
  }
  return labels;
}
