import { assert, assertEquals, assertThrows } from "@std/assert";
import { run } from "../../tests/run.ts";
import { LocalgradError } from "../base/errors.ts";
import { HostArray } from "../trace/host_array.ts";
import type { Tensor } from "../trace/tensor.ts";
import { readImages } from "./augment.ts";
import { checkMapAugmentation, mapsFault, readMaps } from "./label_maps.ts";
import { residentBytes } from "./resident_bytes.ts";
import { scenes } from "./scenes.ts";

Deno.test("label maps are cropped and mirrored as their images are, and padding has no class", () => {
  const [height, width] = [5, 6];
  const labels = Uint8Array.from({ length: 3 * height * width }, (_, i) => 1 + i % 200); // never 0
  const pixels = new HostArray(labels, [3, height, width, 1]);
  const indices = new HostArray(Uint32Array.of(2, 0, 1, 2, 2, 0));
  const key = new HostArray(Uint32Array.of(7, 3));
  let padded = 0, moved = 0;
  for (const fill of ["reflect", "zero"] as const) {
    for (const rows of [undefined, { from: 2, to: 5 }]) {
      const augmentation = { border: 2, fill, flip: true };
      const read = (bytes: Tensor, indices: Tensor, key: Tensor) => {
        const shards = [{ first: 0, bytes }];
        const { images } = readImages(shards, indices, { mean: [0], std: [1] }, key, augmentation, rows);
        return { images, maps: readMaps(shards, indices, key, augmentation, rows) };
      };
      const got = run(read, pixels, indices, key);
      const maps = [...got["maps"]!.data];
      const seen = [...got["images"]!.data].map((value) => Math.round(255 * value));
      assertEquals(maps.map((label) => label === 255 ? 0 : label), seen);
      padded += maps.filter((label) => label === 255).length;
      moved += maps.filter((label, i) => label !== labels[i]).length;
      assertEquals(fill === "zero" || !maps.includes(255), true);
    }
  }
  assert(padded > 0 && moved > 0);
});

Deno.test("label maps without a key, and of several shards, are read as they are", () => {
  const labels = Uint8Array.from({ length: 3 * 4 }, (_, i) => i);
  const [first, second] = [labels.slice(0, 8), labels.slice(8)].map((data) =>
    new HostArray(data, [data.length / 4, 2, 2, 1])
  );
  const got = run(
    (first: Tensor, second: Tensor, indices: Tensor) =>
      readMaps([{ first: 0, bytes: first }, { first: 2, bytes: second }], indices),
    first,
    second,
    new HostArray(Uint32Array.of(2, 0)),
  )[""]!;
  assertEquals([...got.data], [8, 9, 10, 11, 0, 1, 2, 3]);
  assertEquals(got.shape, [2, 2, 2]);
});

Deno.test("label maps of the wrong length or with other classes are refused", () => {
  assertEquals(mapsFault(Uint8Array.of(0, 1, 255, 2), 2, 2, 3), undefined);
  assertEquals(
    mapsFault(Uint8Array.of(0, 1, 255, 3), 2, 2, 3),
    "is mislabelled: image 1 has a pixel of class 3; 3 classes are 0 to 2, and 255 is none",
  );
  assertEquals(mapsFault(Uint8Array.of(0), 2, 2, 3), "has 1 labels; 2 images of 2 pixels have 4");
  assertEquals(
    mapsFault(undefined, 2, 2, 3),
    "has images and no label maps (`maps`, a Uint8Array [images,height,width])",
  );
  checkMapAugmentation("fit", { border: 0, fill: "zero", flip: true, mix: undefined } as never);
  assertThrows(
    () => checkMapAugmentation("fit", { border: 0, fill: "zero", flip: true, mix: {} } as never),
    LocalgradError,
    "fit: label maps do not follow mix; crops, mirroring and colourJitter suit them",
  );
});

Deno.test("scenes depend on the seed and the index alone, and have every class", () => {
  const [small, large] = [scenes({ train: 3, test: 1, size: 32 }), scenes({ train: 30, test: 1, size: 32 })];
  assertEquals(large.train.maps.subarray(0, small.train.maps.length), small.train.maps);
  assertEquals(large.train.images.subarray(0, small.train.images.length), small.train.images);
  assertEquals(residentBytes(small), (3 + 1) * 32 * 32 * (3 + 1)); // pixels and their labels, as bytes
  assertEquals([...new Set(large.train.maps)].sort((a, b) => a - b), [0, 1, 2, 3, 255]);
  const share = large.train.maps.filter((label) => label === 0).length / large.train.maps.length;
  assert(share > 0.5 && share < 0.9, `${share} of the pixels are background`);
});

Deno.test("scenes may be rectangular, and fill their width", () => {
  const { height, width, train: { images, maps } } = scenes({ train: 8, test: 1, size: [16, 48] });
  assertEquals([height, width, images.length, maps.length], [16, 48, 8 * 16 * 48 * 3, 8 * 16 * 48]);
  assertEquals(maps.some((label, i) => i % 48 >= 32 && label > 0 && label < 255), true);
});
