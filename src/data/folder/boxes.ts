import { at } from "../../base/at.ts";
import { IGNORED } from "../../models/model.ts";
import type { Box } from "./decoders.ts";
import type { PixelLabels } from "./label_png.ts";

type Extents = readonly [height: number, width: number];

/** Random numbers of a box: its scale, top and left, and mirroring. */
export const DRAWS = 4;

/**
 * The part of a picture that an image of `extents` shows. Without random numbers it is the whole picture, as large as fits;
 * else a crop at a random place, at a random scale relative to that.
 */
export function boxOf(
  { height, width }: Pick<PixelLabels, "height" | "width">,
  [rows, columns]: Extents,
  random?: { readonly draws: ArrayLike<number>; readonly scales: readonly [least: number, most: number] },
): Box {
  const { draws = [0, 0, 0, 1], scales: [least, most] = [1, 1] } = random ?? {};
  const [grow = 0, down = 0, right = 0, mirror = 1] = Array.from(draws);
  const scale = Math.min(rows / height, columns / width) * (least + (most - least) * grow);
  const shown = (extent: number, room: number) => Math.min(extent, Math.max(1, Math.round(room / scale)));
  const [h, w] = [shown(height, rows), shown(width, columns)];
  const resized = (extent: number, room: number) => Math.min(room, Math.max(1, Math.round(extent * scale)));
  return {
    of: [height, width],
    top: Math.floor(down * (height - h + 1)),
    left: Math.floor(right * (width - w + 1)),
    height: h,
    width: w,
    to: [resized(h, rows), resized(w, columns)],
    flip: mirror < 0.5,
  };
}

/** The labels that an image of `extents` shows of a box, each the nearest; 255 beside it. */
export function cropLabels({ labels, width }: PixelLabels, [rows, columns]: Extents, box: Box): Uint8Array {
  const cropped = new Uint8Array(rows * columns).fill(IGNORED);
  const [toRows, toColumns] = box.to;
  const nearest = (i: number, from: number, to: number) => Math.floor((i + 0.5) * from / to);
  for (let y = 0; y < toRows; y++) {
    const row = (box.top + nearest(y, box.height, toRows)) * width;
    for (let x = 0; x < toColumns; x++) {
      const column = box.flip ? toColumns - 1 - x : x;
      cropped[y * columns + x] = at(labels, row + box.left + nearest(column, box.width, toColumns));
    }
  }
  return cropped;
}
