import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { limitImages } from "./images.ts";
import { shapes } from "./shapes.ts";

Deno.test("shapes() draws the same pixels for a seed, and others for another", () => {
  const set = shapes({ train: 20, test: 10 });
  assertEquals(shapes({ train: 20, test: 10 }), set);
  assertNotEquals(shapes({ train: 20, test: 10, seed: 1 }).train.images, set.train.images);
  assertNotEquals(set.test.images, set.train.images.subarray(0, set.test.images.length));
});

Deno.test("shapes() begins a larger set with the smaller one, as limitImages() does", () => {
  const small = shapes({ train: 20, test: 10 });
  assertEquals(limitImages(shapes({ train: 50, test: 30 }), { train: 20, test: 10 }), small);
});

Deno.test("shapes() has balanced classes and the statistics it states", () => {
  const set = shapes({ train: 600, test: 10 });
  assertEquals(set.classes.length, 10);
  const counts = new Array(10).fill(0);
  for (const label of set.train.labels) counts[label]++;
  assertEquals(counts, new Array(10).fill(60));
  const values = set.train.images;
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length / 255;
  const variance = values.reduce((sum, v) => sum + (v / 255 - mean) ** 2, 0) / values.length;
  assert(Math.abs(mean - set.mean[0]) < 0.02, `${mean}`);
  assert(Math.abs(Math.sqrt(variance) - set.std[0]) < 0.02, `${Math.sqrt(variance)}`);
});

Deno.test("shapes() cannot be told apart by the mean colour of each class", () => {
  const set = shapes({ train: 1000, test: 500 });
  const meanOf = (images: Uint8Array, i: number) => {
    const sums = [0, 0, 0];
    for (let at = i * 3072; at < (i + 1) * 3072; at++) sums[at % 3] += images[at] / 1024 / 255;
    return sums;
  };
  const centres = Array.from({ length: 10 }, () => [0, 0, 0]);
  for (let i = 0; i < 1000; i++) {
    meanOf(set.train.images, i).forEach((v, c) => centres[set.train.labels[i]][c] += v / 100);
  }
  let right = 0;
  for (let i = 0; i < 500; i++) {
    const mean = meanOf(set.test.images, i);
    const distances = centres.map((centre) => centre.reduce((sum, v, c) => sum + (v - mean[c]) ** 2, 0));
    if (distances.indexOf(Math.min(...distances)) === set.test.labels[i]) right++;
  }
  assert(right < 125, `${right} of 500 found by colour alone`);
});

Deno.test("shapes() gives the share of wrong labels that is asked for, to the same images", () => {
  const right = shapes({ train: 2000, test: 10 });
  const wrong = shapes({ train: 2000, test: 10, mislabelled: 0.1 });
  assertEquals(wrong.train.images, right.train.images);
  const others = wrong.train.labels.filter((label, i) => label !== right.train.labels[i]).length;
  assert(Math.abs(others - 200) < 40, `${others}`); // three standard deviations
  assert(wrong.train.labels.every((label) => label >= 0 && label < 10));
  for (const bad of [-0.1, 1, NaN]) {
    assertThrows(() => shapes({ mislabelled: bad }), LocalgradError, "shapes: mislabelled must be");
  }
});

Deno.test("shapes() and limitImages() refuse counts that are not whole and positive", () => {
  for (const bad of [0, -1, 1.5, NaN]) {
    assertThrows(() => shapes({ train: bad }), LocalgradError, "train must be a whole number");
    assertThrows(() => shapes({ test: bad }), LocalgradError, "test must be a whole number");
    const set = shapes({ train: 10, test: 10 });
    assertThrows(() => limitImages(set, { train: bad }), LocalgradError, "training limit");
    assertThrows(() => limitImages(set, { test: bad }), LocalgradError, "test limit");
  }
  assertThrows(
    () => shapes({ train: 10 ** 14 }),
    LocalgradError,
    "not enough memory for 100000000000000 images",
  );
});
