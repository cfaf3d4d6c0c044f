import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { bits, key, split, uniform } from "../base/random.ts";
import { open } from "../runtime/devices.ts";
import { jit } from "../runtime/jit.ts";
import type { Tensor } from "../trace/tensor.ts";
import { cropPositions, readImages, type Shard } from "./augment.ts";

const STATISTICS = { mean: [0.4, 0.5, 0.6], std: [0.2, 0.25, 0.3] };

/** The expected source of a pixel of an augmented image, computed image by image on the host. */
function positionOf(imageKey: Uint32Array, batch: number, height: number, width: number) {
  const [cropKey, flipKey] = split(imageKey);
  const shifts = uniform(cropKey, batch * 2).map((u) => Math.floor(u * 9) - 4);
  const flips = bits(flipKey, batch).map((word) => word & 1);
  const reflect = (at: number, extent: number) => {
    if (at < 0) return -at;
    return at < extent ? at : 2 * (extent - 1) - at;
  };
  return (image: number, row: number, column: number) => {
    const mirrored = flips[image] === 1 ? width - 1 - column : column;
    return reflect(row + shifts[2 * image], height) * width +
      reflect(mirrored + shifts[2 * image + 1], width);
  };
}

Deno.test("cropPositions() reflects, crops and mirrors like a plain loop", async () => {
  await using device = await open("reference");
  for (const [batch, height, width, seed] of [[1, 32, 32, 0], [7, 32, 32, 1], [5, 6, 9, 2], [3, 5, 5, 3]]) {
    const positions = jit((k: Tensor) => cropPositions(k, batch, height, width), { device });
    using result = positions(key(seed));
    const got = await result.read();
    const expected = positionOf(key(seed), batch, height, width);
    for (let i = 0, at = 0; i < batch; i++) {
      for (let r = 0; r < height; r++) {
        for (let c = 0; c < width; c++, at++) assertEquals(got[at], expected(i, r, c), `${[i, r, c]}`);
      }
    }
    positions.dispose();
  }
});

for (const [border, flip, width] of [[2, false, 32], [4, true, 9], [0, true, 5], [0, false, 5]] as const) {
  Deno.test(`readImages() shows black beyond the edge: border ${border}, flip ${flip}, width ${width}`, async () => {
    await using device = await open("reference");
    const [batch, height, imageKey] = [16, 7, key(9)];
    const { pixel, bytes } = testImages([batch], height, width);
    const augmented = jit(
      (shard: Tensor, i: Tensor, k: Tensor) =>
        readImages([{ first: 0, bytes: shard }], i, STATISTICS, k, { border, fill: "zero", flip }),
      { device },
    );
    using shard = device.array(bytes, [batch, height, width, 3]);
    const result = augmented(shard, Uint32Array.from({ length: batch }, (_, i) => i), imageKey);
    const images = await result.images.read();
    result.images.dispose();
    result.x.dispose();
    const [cropKey, flipKey] = split(imageKey);
    const shifts = uniform(cropKey, batch * 2).map((u) => Math.floor(u * (2 * border + 1)) - border);
    const flips = bits(flipKey, batch).map((word) => flip ? word & 1 : 0);
    let black = 0;
    for (let b = 0, n = 0; b < batch; b++) {
      for (let r = 0; r < height; r++) {
        for (let c = 0; c < width; c++) {
          const row = r + shifts[2 * b];
          const column = (flips[b] ? width - 1 - c : c) + shifts[2 * b + 1];
          const inside = row >= 0 && row < height && column >= 0 && column < width;
          if (!inside) black++;
          for (let channel = 0; channel < 3; channel++, n++) {
            const value = inside ? pixel(b, row * width + column, channel) / 255 : 0;
            assertAlmostEquals(images[n], value, 1e-6);
          }
        }
      }
    }
    assertEquals(black > 0, border > 0);
    augmented.dispose();
  });
}

Deno.test("cropPositions() draws every shift and both orientations evenly", async () => {
  await using device = await open("reference");
  const batch = 4096;
  const corners = jit((k: Tensor) => {
    return cropPositions(k, batch, 32, 32).slice([0, 16, 16], [batch, 17, 18]);
  }, { device });
  using result = corners(key(5));
  const got = await result.read();
  const counts = new Map<string, number>();
  for (let i = 0; i < batch; i++) {
    const [here, right] = [got[2 * i], got[2 * i + 1]];
    const flipped = right < here;
    const column = here % 32 - (flipped ? 15 : 16);
    const name = [Math.floor(here / 32) - 16, column, flipped].join();
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  assertEquals(counts.size, 9 * 9 * 2);
  const expected = batch / counts.size;
  const chiSquare = [...counts.values()].reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
  assert(chiSquare < 230, `${chiSquare}`); // 161 degrees of freedom: 99.97 % of draws are below
});

/** Images of random bytes, cut into shards of these sizes. */
function testImages(sizes: readonly number[], height: number, width: number) {
  const count = sizes.reduce((sum, n) => sum + n, 0);
  const bytes = new Uint8Array(bits(key(8), Math.ceil(count * height * width * 3 / 4)).buffer);
  return {
    count,
    pixel: (i: number, p: number, c: number) => bytes[(i * height * width + p) * 3 + c],
    bytes,
  };
}

for (const sizes of [[10], [4, 6], [1, 2, 7]]) {
  Deno.test(`readImages() reads plain and augmented images from shards of ${sizes}`, async () => {
    await using device = await open("reference");
    const [height, width] = [8, 8];
    const { pixel, bytes } = testImages(sizes, height, width);
    const indices = Uint32Array.of(9, 0, 3, 4, 0, 5);
    const shards: { [first: string]: Uint8Array } = {};
    let first = 0;
    for (const size of sizes) {
      shards[first] = bytes.subarray(first * 192, (first + size) * 192);
      first += size;
    }
    using stack = new DisposableStack();
    const put = Object.fromEntries(
      Object.entries(shards).map(([at, part]) => [
        at,
        stack.use(device.array(part, [part.length / 192, height, width, 3])),
      ]),
    );
    const list = (tree: { [first: string]: Tensor }): Shard[] =>
      Object.entries(tree).map(([at, bytes]) => ({ first: Number(at), bytes }));
    const plain = jit(
      (tree: { [first: string]: Tensor }, i: Tensor) => readImages(list(tree), i, STATISTICS),
      { device },
    );
    const augmented = jit(
      (tree: { [first: string]: Tensor }, i: Tensor, k: Tensor) => readImages(list(tree), i, STATISTICS, k),
      { device },
    );
    const place = positionOf(key(6), indices.length, height, width);
    const cases = [
      { result: plain(put, indices), at: (_: number, r: number, c: number) => r * width + c },
      { result: augmented(put, indices, key(6)), at: place },
    ];
    for (const { result, at } of cases) {
      const [x, images] = [await result.x.read(), await result.images.read()];
      result.x.dispose();
      result.images.dispose();
      for (let b = 0, n = 0; b < indices.length; b++) {
        for (let r = 0; r < height; r++) {
          for (let c = 0; c < width; c++) {
            for (let channel = 0; channel < 3; channel++, n++) {
              const value = pixel(indices[b], at(b, r, c), channel) / 255;
              assertAlmostEquals(images[n], value, 1e-6);
              const normal = (value - STATISTICS.mean[channel]) / STATISTICS.std[channel];
              assertAlmostEquals(x[n], normal, 1e-5);
            }
          }
        }
      }
    }
  });
}
