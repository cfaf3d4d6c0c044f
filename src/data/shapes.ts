import { checkedLoad } from "./checked_load.ts";
import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectBetween, expectOptions, expectWhole } from "../base/expect.ts";
import { foldIn, type Key, key, threefry2x32, uniform } from "../base/random.ts";
import type { DatasetEntry } from "./entry.ts";
import type { ImageDataset, LabelledImages } from "./images.ts";
import type { Preprocessing } from "./signature.ts";

/** Statistics of its pixels. */
const preprocessing: Preprocessing = {
  mean: [0.36, 0.36, 0.36],
  std: [0.235, 0.235, 0.235],
};

/** Options of {@link shapes}. */
export interface ShapesOptions {
  /** Number of training images; 5000 by default. */
  readonly train?: number;
  /** Number of test images; 1000 by default. */
  readonly test?: number;
  /**
   * The share of labels that are wrong, in both parts; 0 by default. Data sets have such errors: 3.3 % of the labels of
   * ten common test sets on average (Northcutt et al., 2021, arXiv 2103.14749). No network can do much better.
   */
  readonly mislabelled?: number;
  /** Seed of the whole set; 0 by default. */
  readonly seed?: number;
}

/** Signed distance to the outline of a shape within the unit disc: negative inside. */
type Distance = (x: number, y: number) => number;

const SIZE = 32;
const IMAGES = { train: 5000, test: 1000 };
const { abs, cos, floor, hypot, max, min, PI, sin } = Math;

const box = (x: number, y: number, w: number, h: number) => max(abs(x) - w, abs(y) - h);

/** Distance to a regular polygon around the origin, or to a star if `waist` pulls the midpoints of its edges in. */
function polygon(corners: number, radius: number, waist: number): Distance {
  const sector = 2 * PI / corners;
  // In half a sector the outline runs from a corner, on the x axis, to the midpoint of an edge.
  const [cornerX, edgeX, edgeY] = [radius, waist * cos(sector / 2), waist * sin(sector / 2)];
  const length = hypot(edgeX - cornerX, edgeY);
  const [normalX, normalY] = [edgeY / length, (cornerX - edgeX) / length];
  return (x, y) => {
    const turned = Math.atan2(y, x) / sector;
    const angle = abs(turned - Math.round(turned)) * sector;
    const r = hypot(x, y);
    return (r * cos(angle) - cornerX) * normalX + r * sin(angle) * normalY;
  };
}

const DISC: Distance = (x, y) => hypot(x, y) - 0.85;

const SHAPES: readonly (readonly [name: string, Distance])[] = [
  ["disc", DISC],
  ["ring", (x, y) => abs(hypot(x, y) - 0.68) - 0.2],
  ["square", (x, y) => box(x, y, 0.72, 0.72)],
  ["frame", (x, y) => abs(box(x, y, 0.6, 0.6)) - 0.17],
  ["triangle", polygon(3, 1, 0.5)],
  ["star", polygon(5, 1, 0.42)],
  ["cross", (x, y) => min(box(x, y, 0.95, 0.25), box(x, y, 0.25, 0.95))],
  ["ell", (x, y) => min(box(x + 0.45, y, 0.25, 0.85), box(x, y - 0.6, 0.7, 0.25))],
  ["crescent", (x, y) => max(hypot(x, y) - 0.95, 0.75 - hypot(x - 0.5, y))],
  ["bars", (x, y) => min(box(x, y - 0.5, 0.85, 0.22), box(x, y + 0.5, 0.85, 0.22))],
];

const BAR: Distance = (x, y) => box(x, y, 1, 0.25);

/** Position, size and rotation of a shape, in pixels and radians. */
interface Placement {
  readonly x: number;
  readonly y: number;
  readonly radius: number;
  readonly angle: number;
  /** Width over height. */
  readonly aspect: number;
}

type Colour = readonly [number, number, number];

/** Stripes: a wave of brightness along a direction. */
interface Texture {
  readonly frequency: number;
  readonly angle: number;
  readonly strength: number;
}

/** Paints a striped shape over the canvas, anti-aliased over one pixel. */
function paint(
  canvas: Float32Array,
  distance: Distance,
  place: Placement,
  colour: Colour,
  texture: Texture,
): void {
  const blend = (i: number, level: number, alpha: number) => {
    const before = canvas[i] ?? 0;
    canvas[i] = before + alpha * (level - before);
  };
  const [red, green, blue] = colour;
  const { x: cx, y: cy, radius } = place;
  const stretch = Math.sqrt(place.aspect);
  const reach = 1.5 * radius * max(stretch, 1 / stretch);
  const [c, s] = [cos(place.angle) / radius, sin(place.angle) / radius];
  const [waveX, waveY] = [texture.frequency * cos(texture.angle), texture.frequency * sin(texture.angle)];
  for (let row = max(0, floor(cy - reach)); row < min(SIZE, cy + reach); row++) {
    for (let column = max(0, floor(cx - reach)); column < min(SIZE, cx + reach); column++) {
      const dx = column + 0.5 - cx, dy = row + 0.5 - cy;
      const cover = 0.5 - distance((c * dx + s * dy) / stretch, (c * dy - s * dx) * stretch) * radius;
      if (cover <= 0) continue;
      const alpha = min(cover, 1);
      const shade = texture.strength * sin(waveX * dx + waveY * dy);
      const i = (row * SIZE + column) * 3;
      blend(i, red + shade, alpha);
      blend(i + 1, green + shade, alpha);
      blend(i + 2, blue + shade, alpha);
    }
  }
}

/** Draws an image of class `label` from the random numbers of `imageKey` into `pixels`. */
function drawImage(label: number, imageKey: Key, canvas: Float32Array, pixels: Uint8Array): void {
  const random = uniform(imageKey, 128);
  let used = 0;
  const between = (low: number, high: number) => low + (high - low) * at(random, used++);
  const colour = (
    low: number,
    high: number,
  ): Colour => [between(low, high), between(low, high), between(low, high)];
  const texture = (strength: number): Texture => ({
    frequency: between(0.4, 1.8),
    angle: between(0, PI),
    strength: between(0, strength),
  });
  const bar = () =>
    paint(
      canvas,
      between(0, 1) < 0.5 ? BAR : DISC,
      {
        x: between(0, SIZE),
        y: between(0, SIZE),
        radius: between(1.5, 5),
        angle: between(0, PI),
        aspect: between(0.7, 1.4),
      },
      colour(0, 1),
      texture(0.15),
    );

  const background = colour(0, 0.55);
  const everywhere = { x: SIZE / 2, y: SIZE / 2, radius: SIZE, angle: 0, aspect: 1 };
  paint(canvas, () => -1, everywhere, background, texture(0.12));
  for (let count = floor(between(0, 4)); count > 0; count--) bar();
  const [, distance] = at(SHAPES, label);
  const foreground = colour(0.45, 1);
  const radius = between(8, 13);
  const room = 0.8 * radius;
  paint(
    canvas,
    distance,
    {
      x: between(room, SIZE - room),
      y: between(room, SIZE - room),
      radius,
      angle: between(-0.8, 0.8),
      aspect: between(0.75, 1.33),
    },
    foreground,
    texture(0.15),
  );
  if (between(0, 1) < 0.3) bar(); // covers a part of the shape

  const noise = between(0.01, 0.06) * 255 / 128; // half the width of a triangular distribution
  const words = new Uint32Array(2);
  const noiseKey = foldIn(imageKey, 0);
  let i = 0, first = 0, second = 0;
  for (const level of canvas) {
    const shift = 8 * (i % 4); // each value takes a byte of either word
    if (shift === 0) {
      threefry2x32(noiseKey, i, 0, words);
      [first = 0, second = 0] = words;
    }
    const sum = (first >>> shift & 255) + (second >>> shift & 255) - 255;
    pixels[i++] = max(0, min(255, Math.round(255 * level + noise * sum)));
  }
}

/** Allocates the pixels of `count` images. */
function allocate(bytes: number, count: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(bytes);
  } catch (cause) { // a RangeError: more than V8 has or allows
    throw new LocalgradError(`shapes: not enough memory for ${count} images; ask for fewer`, { cause });
  }
}

/** The label that an image is given: its own, or in a share of images another. */
function given(label: number, imageKey: Key, mislabelled: number): number {
  const [chance = 1, other = 0] = uniform(foldIn(imageKey, 1), 2);
  return chance < mislabelled ? (label + 1 + floor(other * (SHAPES.length - 1))) % SHAPES.length : label;
}

function draw(partKey: Key, count: number, mislabelled: number): LabelledImages {
  const bytes = SIZE * SIZE * 3;
  const images = allocate(count * bytes, count);
  const labels = Int32Array.from({ length: count }, (_, i) => i % SHAPES.length);
  const canvas = new Float32Array(bytes);
  labels.forEach((label, i) =>
    drawImage(label, foldIn(partKey, i), canvas, images.subarray(i * bytes, (i + 1) * bytes))
  );
  if (mislabelled === 0) return { images, labels, count };
  return { images, labels: labels.map((label, i) => given(label, foldIn(partKey, i), mislabelled)), count };
}

/**
 * A procedural data set that needs no download: 32×32 RGB images of ten shapes (disc, ring, square, frame, triangle,
 * star, cross, ell, crescent, bars) of varied position, size, rotation, proportions, colour and texture, with clutter
 * and noise. Classes alternate, so any prefix of the set is balanced. An image depends only on the seed and its index,
 * so a larger set begins with the smaller one.
 *
 * @example
 * ```ts
 * import { data } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const set = data.shapes({ train: 20, test: 10 });
 * assertEquals(set.classes[set.train.labels[3]], "frame");
 * ```
 */
export function shapes(options: ShapesOptions = {}): ImageDataset {
  expectOptions("shapes", options, {
    train: "number?",
    test: "number?",
    mislabelled: "number?",
    seed: "number?",
  });
  const { train = IMAGES.train, test = IMAGES.test, mislabelled = 0, seed = 0 } = options;
  for (const [part, count] of Object.entries({ train, test })) {
    expectWhole(`shapes: ${part}`, count);
  }
  expectBetween("shapes: mislabelled", mislabelled, 0, 1);
  return {
    name: "shapes",
    classes: SHAPES.map(([name]) => name),
    height: SIZE,
    width: SIZE,
    channels: 3,
    ...preprocessing,
    train: draw(foldIn(key(seed), 0), train, mislabelled),
    test: draw(foldIn(key(seed), 1), test, mislabelled),
  };
}

/** Shapes for the command line, with the recipe of CIFAR-10. */
export const entry: DatasetEntry = {
  classes: SHAPES.length,
  names: SHAPES.map(([name]) => name),
  size: SIZE,
  images: IMAGES,
  preprocessing,
  recipe: { epochs: 400, batch: 1024, lr: 0.8, warmup: 10 },
  load: checkedLoad("shapes", ({ path, limits = {} }) => {
    if (path !== undefined) {
      throw new LocalgradError("shapes: they are drawn, not loaded; leave path out");
    }
    return Promise.resolve(shapes(limits));
  }),
};
