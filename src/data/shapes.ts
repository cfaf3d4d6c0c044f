import { LocalgradError } from "../base/errors.ts";
import { expectOptions, expectWhole } from "../base/expect.ts";
import { foldIn, type Key, key, threefry2x32, uniform } from "../base/random.ts";
import type { DatasetEntry } from "./entry.ts";
import type { ImageDataset, LabelledImages } from "./images.ts";

/** How many images {@link shapes} draws, and from which seed. */
export interface ShapesOptions {
  /** Training images; 5000 by default. */
  readonly train?: number;
  /** Test images; 1000 by default. */
  readonly test?: number;
  /** Seed of the whole set; 0 by default. */
  readonly seed?: number;
}

/** Signed distance from the outline of a shape that fills the unit disc: negative inside. */
type Distance = (x: number, y: number) => number;

const SIZE = 32;
const { abs, cos, floor, hypot, max, min, PI, sin } = Math;

const box = (x: number, y: number, w: number, h: number) => max(abs(x) - w, abs(y) - h);

/** Distance to a regular polygon around the origin, or to a star where `waist` draws its edges' middles in. */
function polygon(corners: number, radius: number, waist: number): Distance {
  const sector = 2 * PI / corners;
  // The outline of half a sector runs from a corner, on the x axis, to the middle of an edge.
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

const SHAPES: readonly (readonly [name: string, Distance])[] = [
  ["disc", (x, y) => hypot(x, y) - 0.85],
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

/** Where and how large a shape is drawn: pixels and radians. */
interface Placement {
  readonly x: number;
  readonly y: number;
  readonly radius: number;
  readonly angle: number;
  /** Width over height. */
  readonly aspect: number;
}

type Colour = readonly [number, number, number];

/** Stripes over a colour: brightness added along a direction. */
interface Texture {
  readonly frequency: number;
  readonly angle: number;
  readonly strength: number;
}

/** Draws a shape over the canvas, its outline smooth over a pixel, its surface striped. */
function paint(
  canvas: Float32Array,
  distance: Distance,
  place: Placement,
  colour: Colour,
  texture: Texture,
): void {
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
      const at = (row * SIZE + column) * 3;
      for (let channel = 0; channel < 3; channel++) {
        canvas[at + channel] += alpha * (colour[channel] + shade - canvas[at + channel]);
      }
    }
  }
}

/** Draws the image of class `label` that belongs to `imageKey` into `pixels`. */
function drawImage(label: number, imageKey: Key, canvas: Float32Array, pixels: Uint8Array): void {
  const random = uniform(imageKey, 128);
  let used = 0;
  const between = (low: number, high: number) => low + (high - low) * random[used++];
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
      between(0, 1) < 0.5 ? BAR : SHAPES[0][1],
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

  const ground = colour(0, 0.55);
  const everywhere = { x: SIZE / 2, y: SIZE / 2, radius: SIZE, angle: 0, aspect: 1 };
  paint(canvas, () => -1, everywhere, ground, texture(0.12));
  for (let count = floor(between(0, 4)); count > 0; count--) bar();
  const own = colour(0.45, 1);
  const radius = between(8, 13);
  const room = 0.8 * radius;
  paint(
    canvas,
    SHAPES[label][1],
    {
      x: between(room, SIZE - room),
      y: between(room, SIZE - room),
      radius,
      angle: between(-0.8, 0.8),
      aspect: between(0.75, 1.33),
    },
    own,
    texture(0.15),
  );
  if (between(0, 1) < 0.3) bar(); // hides a part

  const noise = between(0.01, 0.06) * 255 / 128; // half the width of a triangular distribution
  const words = new Uint32Array(2);
  const noiseKey = foldIn(imageKey, 0);
  for (let at = 0; at < pixels.length; at += 4) {
    threefry2x32(noiseKey, at, 0, words);
    for (let i = 0; i < 4; i++) {
      const sum = (words[0] >>> (8 * i) & 255) + (words[1] >>> (8 * i) & 255) - 255;
      pixels[at + i] = max(0, min(255, Math.round(255 * canvas[at + i] + noise * sum)));
    }
  }
}

function room(bytes: number, count: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(bytes);
  } catch (cause) { // a RangeError: more than V8 has, or than it may
    throw new LocalgradError(`shapes: there is no memory for ${count} images; ask for fewer`, { cause });
  }
}

function draw(partKey: Key, count: number): LabelledImages {
  const bytes = SIZE * SIZE * 3;
  const images = room(count * bytes, count);
  const labels = Int32Array.from({ length: count }, (_, i) => i % SHAPES.length);
  const canvas = new Float32Array(bytes);
  for (let i = 0; i < count; i++) {
    drawImage(labels[i], foldIn(partKey, i), canvas, images.subarray(i * bytes, (i + 1) * bytes));
  }
  return { images, labels, count };
}

/**
 * A procedural set for trying things without a download: 32×32 RGB images of ten shapes (disc, ring, square, frame,
 * triangle, star, cross, ell, crescent, bars) of varied position, size, rotation, proportions, colour and texture,
 * among clutter and noise. Classes take turns, so any first part of the set is balanced; an image depends on the
 * seed and its own number alone, so a larger set begins with the smaller one.
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
  expectOptions("shapes", options, { train: "number?", test: "number?", seed: "number?" });
  const { train = 5000, test = 1000, seed = 0 } = options;
  for (const [part, count] of Object.entries({ train, test })) {
    expectWhole(`shapes: ${part}`, count);
  }
  return {
    name: "shapes",
    classes: SHAPES.map(([name]) => name),
    height: SIZE,
    width: SIZE,
    channels: 3,
    mean: [0.36, 0.36, 0.36],
    std: [0.235, 0.235, 0.235],
    train: draw(foldIn(key(seed), 0), train),
    test: draw(foldIn(key(seed), 1), test),
  };
}

/** Shapes by name; their recipe is CIFAR-10's. */
export const entry: DatasetEntry = {
  classes: SHAPES.length,
  size: SIZE,
  recipe: { epochs: 400, batch: 1024, lr: 0.8, warmup: 10 },
  // deno-lint-ignore require-await -- what is refused must be a rejection
  async load({ path, limits = {} }) {
    if (path !== undefined) {
      throw new LocalgradError("shapes are drawn, not loaded; --data is for other sets");
    }
    return shapes(limits);
  },
};
