import { LocalgradError } from "../../base/errors.ts";
import { expectOptions, type Kinds, shown } from "../../base/expect.ts";
import { iota, literal } from "../../trace/functions.ts";
import { bits, integers, split } from "../../trace/random.ts";
import type { Tensor } from "../../trace/tensor.ts";

/** Random erasing (Zhong et al., 2017, arXiv 1708.04896): a box of an image is painted over. */
export interface Erasing {
  /** The share of images that lose a box; default 0.5. */
  readonly probability?: number;
  /** The least and the largest area of a box, as shares of the image's; default 0.02 and 0.33. */
  readonly area?: readonly [least: number, most: number];
  /** The least and the largest height over width of a box; default 0.3 and 3.3. */
  readonly ratio?: readonly [least: number, most: number];
}

const KINDS = { probability: "number?", area: "array?", ratio: "array?" } as const satisfies Kinds<Erasing>;

/** Extents of an image. */
interface Extents {
  readonly height: number;
  readonly width: number;
}

/** Refuses erasing that images of a size cannot have. `what` begins the message. */
export function checkErasing(what: string, erasing: Erasing, extents: Extents): void {
  expectOptions(what, erasing, KINDS);
  const { probability, area, ratio } = filled(erasing);
  if (!(probability >= 0 && probability <= 1)) {
    throw new LocalgradError(`${what}: probability must be from 0 to 1, not ${shown(probability)}`);
  }
  for (const [name, range, most] of [["area", area, 1], ["ratio", ratio, Infinity]] as const) {
    const [low, high] = range;
    if (range.length === 2 && low > 0 && low <= high && high <= most) continue;
    throw new LocalgradError(
      `${what}: ${name} must be two numbers above 0, the smaller first, not ${shown(range)}`,
    );
  }
  if (boxesOf(erasing, extents).length > 0) return;
  throw new LocalgradError(
    `${what}: no box of that area and ratio fits into images of ${extents.height}×${extents.width}`,
  );
}

function filled({ probability = 0.5, area = [0.02, 0.33], ratio = [0.3, 3.3] }: Erasing): Required<Erasing> {
  return { probability, area, ratio };
}

/** The longest side of images that boxes are drawn in: places are products of 16 random bits with it. */
export const LONGEST_BOXED = 2 ** 15;

const STRATA = 32;

/**
 * Boxes to draw from, height × 2¹⁶ + width: for the middle of each of 32 strata of the area and of the logarithm of the
 * ratio, those that are smaller than the image. torchvision draws until a box fits, which is a draw from these. A table,
 * because square roots differ between backends in their last bit, and boxes would then differ by a pixel.
 */
function boxesOf(erasing: Erasing, { height, width }: Extents): number[] {
  const { area, ratio } = filled(erasing);
  const [low, high] = [Math.log(ratio[0]), Math.log(ratio[1])];
  const middle = (from: number, to: number, stratum: number) => from + (to - from) * (stratum + 0.5) / STRATA;
  return Array.from({ length: STRATA * STRATA }, (_, i) => {
    const share = middle(area[0], area[1], Math.floor(i / STRATA)) * height * width;
    const proportion = Math.exp(middle(low, high, i % STRATA));
    const [rows, columns] = [
      Math.round(Math.sqrt(share * proportion)),
      Math.round(Math.sqrt(share / proportion)),
    ];
    return rows < height && columns < width ? rows * 2 ** 16 + columns : 0;
  }).filter((box) => box > 0);
}

/**
 * Whether each pixel is in the box that its image loses, bool `[batch, height, width, 1]`.
 *
 * @param key u32[2]; use a key once.
 */
export function erased(key: Tensor, batch: number, extents: Extents, erasing: Erasing): Tensor {
  const { height, width } = extents;
  const { probability } = filled(erasing);
  const boxes = boxesOf(erasing, extents);
  const [chance, which, down, right] = split(key, 4);
  if (chance === undefined || which === undefined || down === undefined || right === undefined) {
    throw new Error("four keys were split");
  }
  const each = [batch, 1, 1, 1];
  const box = literal(boxes, [boxes.length], "i32").gather(integers(which, each, boxes.length));
  const [rows, columns] = [box.shr(16), box.and(0xffff)];
  const place = (key: Tensor, extent: number, size: Tensor) =>
    below(bits(key, each), size.neg().add(extent + 1));
  const [top, left] = [place(down, height, rows), place(right, width, columns)];
  const within = (axis: Tensor, from: Tensor, size: Tensor) =>
    axis.ge(from).cast("i32").mul(axis.lt(from.add(size)).cast("i32"));
  const [row, column] = [iota([1, height, 1, 1], 1), iota([1, 1, width, 1], 2)];
  const hit = integers(chance, each, 2 ** 24).cast("i32").lt(Math.round(probability * 2 ** 24));
  return within(row, top, rows).mul(within(column, left, columns)).mul(hit.cast("i32")).eq(1);
}

/** Whole numbers below `limit`, i32 up to 2¹⁵, from random words: the high half of a product. */
export function below(words: Tensor, limit: Tensor): Tensor {
  return words.shr(16).cast("i32").mul(limit).shr(16);
}
