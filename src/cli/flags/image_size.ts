import { type Decoder, whole } from "../../base/decode.ts";
import { LocalgradError } from "../../base/errors.ts";

/** Rows and columns of an image: one number where they are equal, or `HxW`, as in `512x1024`. */
export type ImageSize = number | `${number}x${number}`;

/** Reads `--image-size`. */
export function imageSizeFrom(text: string): ImageSize {
  const size = parsed(text);
  if (size !== undefined) return size;
  throw new LocalgradError(
    `--image-size must be a whole number of at least 1, or HxW, such as 512x1024, not "${text}"`,
  );
}

function parsed(text: string): ImageSize | undefined {
  const [, rows, columns = rows] = /^([0-9]+)(?:x([0-9]+))?$/i.exec(text) ?? [];
  const [height, width] = [Number(rows), Number(columns)];
  if (![height, width].every((extent) => Number.isSafeInteger(extent) && extent >= 1)) return undefined;
  return height === width ? height : `${height}x${width}`;
}

/** Rows and columns, as networks and data sets take them. */
export function extentsOf(size: ImageSize): number | readonly [height: number, width: number] {
  if (typeof size === "number") return size;
  const [height = 0, width = 0] = size.split("x").map(Number);
  return [height, width];
}

/** Decodes the setting of a run. */
export const imageSizeDecoder: Decoder<ImageSize> = (value, at) => {
  if (typeof value !== "string") return whole(1)(value, at);
  const size = parsed(value);
  if (size === undefined) throw at.wrong(value, "a size, such as 512x1024");
  return size;
};
