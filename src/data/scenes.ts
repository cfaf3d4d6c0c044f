import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectOptions, expectWhole, pairFrom } from "../base/expect.ts";
import { foldIn, type Key, key, uniform } from "../base/random.ts";
import { IGNORED } from "../models/model.ts";
import { checkedLoad } from "./checked_load.ts";
import type { DatasetEntry } from "./entry.ts";
import type { LabelledPixels, PixelDataset } from "./label_maps.ts";
import type { Preprocessing } from "./signature.ts";

/** Options of {@link scenes}. */
export interface ScenesOptions {
  /** Number of training images; default 500. */
  train?: number;
  /** Number of test images; default 100. */
  test?: number;
  /** Rows and columns of an image, one number where they are equal; default 64. */
  size?: number | readonly [height: number, width: number];
  /** The seed of all images; default 0. */
  seed?: number;
}

/** The distance of a point from the edge of a shape of radius 1, negative inside of it. */
type Distance = (x: number, y: number) => number;

const { abs, cos, floor, hypot, max, min, PI, round, sin } = Math;

const SHAPES: readonly (readonly [name: string, Distance])[] = [
  ["disc", (x, y) => hypot(x, y) - 0.8],
  ["square", (x, y) => max(abs(x), abs(y)) - 0.7],
  ["ring", (x, y) => abs(hypot(x, y) - 0.7) - 0.22],
];

const CLASSES = ["background", ...SHAPES.map(([name]) => name)];

const SIZE = 64;

const preprocessing: Preprocessing = { mean: [0.35, 0.35, 0.35], std: [0.25, 0.25, 0.25] };

/** Half the width of the border without a class around a shape, in pixels. */
const BORDER = 0.7;

/** Random numbers of a scene: four of the background, then ten for each of at most three shapes. */
const DRAWS = 40;

/** Draws a scene from the random numbers of its key into `pixels` and `map`, the classes of its pixels. */
function drawScene(
  sceneKey: Key,
  [height, width]: readonly [height: number, width: number],
  pixels: Uint8Array,
  map: Uint8Array,
): void {
  const random = uniform(sceneKey, DRAWS);
  let used = 0;
  const between = (low: number, high: number) => low + (high - low) * at(random, used++);
  const colour = (low: number, high: number) => [between(low, high), between(low, high), between(low, high)];
  const canvas = new Float32Array(height * width * 3);
  const background = colour(0, 0.5);
  canvas.forEach((_, i) => canvas[i] = at(background, i % 3));
  for (let left = 1 + floor(between(0, 3)); left > 0; left--) {
    const label = floor(between(0, SHAPES.length));
    const [, distance] = at(SHAPES, label);
    const [x, y] = [between(0, width), between(0, height)];
    const radius = between(0.15, 0.3) * min(height, width);
    const angle = between(0, PI);
    const paint = colour(0.4, 1);
    const [c, s] = [cos(angle) / radius, sin(angle) / radius];
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        const dx = column + 0.5 - x, dy = row + 0.5 - y;
        const depth = -radius * distance(c * dx + s * dy, c * dy - s * dx); // pixels inside of the edge
        const pixel = row * width + column;
        const cover = min(1, max(0, depth + 0.5));
        for (let i = 0; i < 3; i++) {
          const before = at(canvas, 3 * pixel + i);
          canvas[3 * pixel + i] = before + cover * (at(paint, i) - before);
        }
        if (depth >= BORDER) map[pixel] = label + 1;
        else if (depth > -BORDER) map[pixel] = IGNORED;
      }
    }
  }
  const noise = uniform(foldIn(sceneKey, 0), canvas.length);
  canvas.forEach((level, i) => pixels[i] = max(0, min(255, round(255 * level + 24 * (at(noise, i) - 0.5)))));
}

function draw(
  partKey: Key,
  count: number,
  extents: readonly [height: number, width: number],
): LabelledPixels {
  const pixels = count * extents[0] * extents[1];
  const images = new Uint8Array(3 * pixels), maps = new Uint8Array(pixels);
  const of = (all: Uint8Array, i: number) =>
    all.subarray(i * all.length / count, (i + 1) * all.length / count);
  for (let i = 0; i < count; i++) drawScene(foldIn(partKey, i), extents, of(images, i), of(maps, i));
  return { images, maps, count };
}

/**
 * A procedural data set for segmentation that needs no download: colour images of one to three discs, squares and rings, of
 * varied place, size, rotation and colour, over a background with noise. Pixels at the edge of a shape are of no class, as in
 * VOC. An image depends only on the seed, the size and its index, so a larger set begins with the smaller one.
 *
 * @throws {LocalgradError} if a number is not a whole one of at least 1.
 *
 * @example
 * ```ts
 * import { data } from "@localgrad/localgrad";
 * import { assert, assertEquals } from "@std/assert";
 *
 * const set = data.scenes({ train: 4, test: 2, size: 32 });
 * assertEquals(set.classes, ["background", "disc", "square", "ring"]);
 * assertEquals(set.train.maps.length, 4 * 32 * 32);
 * assert(set.train.maps.includes(255)); // an edge
 * ```
 */
export function scenes(options: ScenesOptions = {}): PixelDataset {
  expectOptions("scenes", options, { train: "number?", test: "number?", size: "any?", seed: "number?" });
  const { train = 500, test = 100, size = SIZE, seed = 0 } = options;
  const extents = pairFrom("scenes: size", size, 1);
  for (const [what, count] of Object.entries({ train, test })) expectWhole(`scenes: ${what}`, count);
  return {
    task: "segmentation",
    name: "scenes",
    classes: CLASSES,
    height: extents[0],
    width: extents[1],
    channels: 3,
    ...preprocessing,
    train: draw(foldIn(key(seed), 0), train, extents),
    test: draw(foldIn(key(seed), 1), test, extents),
  };
}

/** Scenes for the command line; the recipe is ours. */
export const entry: DatasetEntry<PixelDataset> = {
  task: "segmentation",
  classes: CLASSES.length,
  names: CLASSES,
  usual: { size: SIZE, classes: CLASSES.length },
  preprocessing,
  recipe: { epochs: 20, batch: 16, lr: 0.02, warmup: 1 },
  load: checkedLoad("scenes", ({ path, size, limits = {} }) => {
    if (path !== undefined) throw new LocalgradError("scenes: they are drawn, not loaded; leave path out");
    return Promise.resolve(scenes({ ...limits, ...(size === undefined ? {} : { size }) }));
  }),
};
