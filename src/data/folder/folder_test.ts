import { assert, assertAlmostEquals, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { greyPng } from "../../../tests/dataset_files.ts";
import facts from "../../../tests/fixtures/datasets.json" with { type: "json" };
import { LocalgradError } from "../../base/errors.ts";
import { foldIn, key, uniform } from "../../base/random.ts";
import { Decoders, DRAWS, liveDecoderCount } from "./decoders.ts";
import { entry, imageFolder } from "./folder.ts";

const images = new URL("../../../tests/fixtures/datasets/images/", import.meta.url).pathname;
const { "large.jpg": large, ...pictures } = facts.images;

/** Fills a folder with copies of pictures, `{ "train/a/1.jpg": "grey.jpg" }`, or with bytes. */
async function withFolder(
  files: Record<string, string | Uint8Array>,
  use: (dir: string) => Promise<void>,
): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    for (const [place, content] of Object.entries(files)) {
      const path = `${dir}/${place}`;
      await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
      if (typeof content === "string") await Deno.copyFile(images + content, path);
      else await Deno.writeFile(path, content);
    }
    await use(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
    assertEquals(liveDecoderCount(), 0);
  }
}

const SMALL = {
  "train/a/1.jpg": "baseline.jpg",
  "train/a/2.JPEG": "progressive.jpg",
  "train/a/3.png": "rgb.png",
  "train/b/1.jpeg": "grey.jpg",
  "train/b/2.PNG": "deep.png",
  "val/a/1.jpg": "subsampled.jpg",
  "val/b/1.jpg": "turned.jpg",
};

/** The largest and mean difference of bytes. */
function difference(got: Uint8Array, expected: Uint8Array): { most: number; mean: number } {
  assertEquals(got.length, expected.length);
  let most = 0, sum = 0;
  for (let i = 0; i < got.length; i++) {
    const apart = Math.abs(got[i] - expected[i]);
    most = Math.max(most, apart);
    sum += apart;
  }
  return { most, mean: sum / got.length };
}

Deno.test("every kind of picture is decoded, resized and cropped like Pillow", async () => {
  await using decoders = new Decoders(2);
  for (const [name, { centre }] of Object.entries(pictures)) {
    const got = await decoders.decode({ path: images + name, size: 24 });
    const { most, mean } = difference(got, Uint8Array.fromBase64(centre));
    assert(most <= 1 && mean < 0.25, `${name}: off by up to ${most}, ${mean} on average`);
  }
});

Deno.test("16-bit grey is scaled to 8 bits, not clipped", async () => {
  await using decoders = new Decoders(1);
  const path = await Deno.makeTempFile({ suffix: ".png" });
  for (
    const [high, low, expected] of [[0, 200, 1], [0x80, 0x80, 0x80], [0xfe, 0xfe, 0xfe], [0xff, 0xff, 0xff]]
  ) {
    await Deno.writeFile(path, greyPng(8, 8, [high, low]));
    assertEquals([...await decoders.decode({ path, size: 1 })], [expected, expected, expected]);
  }
  await Deno.remove(path);
});

/** Random numbers that crop this box of an image of `width` × `height`. */
function drawsFor([left, top, right, bottom]: number[], width: number, height: number, mirrored: boolean) {
  const [w, h] = [right - left, bottom - top];
  const draws = new Float32Array(DRAWS).fill(0.5);
  draws[0] = (w * h / (width * height) - 0.08) / 0.92;
  draws[1] = (Math.log(w / h) - Math.log(3 / 4)) / (Math.log(4 / 3) - Math.log(3 / 4));
  draws[2] = (top + 0.5) / (height - h + 1);
  draws[3] = (left + 0.5) / (width - w + 1);
  draws[DRAWS - 1] = mirrored ? 0.1 : 0.9;
  return draws;
}

Deno.test("a random resized crop is the box its random numbers select, like Pillow", async () => {
  await using decoders = new Decoders(1);
  const expected = Uint8Array.fromBase64(large.crop);
  const path = `${images}large.jpg`;
  for (const mirrored of [false, true]) {
    const draws = drawsFor(large.box, 90, 61, mirrored);
    const got = await decoders.decode({ path, size: 24, draws });
    if (mirrored) { for (let row = 0; row < 24; row++) reverseRow(got.subarray(row * 72, row * 72 + 72)); }
    const { most, mean } = difference(got, expected);
    assert(most <= 2 && mean < 0.3, `off by up to ${most}, ${mean} on average`);
  }
});

function reverseRow(row: Uint8Array): void {
  const pixels = Array.from({ length: row.length / 3 }, (_, i) => row.slice(3 * i, 3 * i + 3)).reverse();
  pixels.forEach((pixel, i) => row.set(pixel, 3 * i));
}

Deno.test("an image too narrow for any crop is cropped as large as possible at the centre", async () => {
  await using decoders = new Decoders(1);
  const path = `${images}baseline.jpg`; // 40 × 28
  const impossible = new Float32Array(DRAWS).fill(1); // all of the area at 4:3 is wider than high
  const whole = await decoders.decode({ path, size: 24, draws: impossible });
  const box = drawsFor([1, 0, 38, 28], 40, 28, false);
  box[DRAWS - 1] = 1;
  assertEquals(whole, await decoders.decode({ path, size: 24, draws: box }));
});

Deno.test("a random crop of a rectangular image is the box, resized to its sides", async () => {
  await using decoders = new Decoders(1);
  const path = `${images}baseline.jpg`; // 40 × 28
  const [left, top, width, height] = [2, 1, 32, 25];
  const expected = await decoders.decode({
    path,
    size: [12, 30],
    box: { of: [28, 40], left, top, width, height, to: [12, 30], flip: false },
  });
  const draws = drawsFor([left, top, left + width, top + height], 40, 28, false);
  draws[DRAWS - 1] = 1;
  assertEquals(await decoders.decode({ path, size: [12, 30], draws }), expected);
});

Deno.test("imageFolder() lists classes and files by name, one of each class in turn", () =>
  withFolder(
    { ...SMALL, "train/b/notes.txt": new Uint8Array(3), "train/.DS_Store": new Uint8Array(1) },
    async (dir) => {
      const onLeftOut = (what: string) => assertEquals(what, `${dir}: skipped files: 1 .txt in a class`);
      const set = await imageFolder({ path: dir, size: 24, onLeftOut });
      assertEquals(set.classes, ["a", "b"]);
      assertEquals([...set.train.labels], [0, 1, 0, 1, 0]);
      assertEquals([...set.test.labels], [0, 1]);
      const checked: number[][] = [];
      const onCheck = (...of: number[]) => void checked.push(of);
      const few = await imageFolder({ path: dir, size: 24, train: 3, test: 1, onCheck, onLeftOut });
      assertEquals(checked, [[1, 4], [2, 4], [3, 4], [4, 4]]);
      assertEquals([few.train.count, few.test.count], [3, 1]);
      await using reader = set.test.open();
      const got = await reader.read(Uint32Array.of(1, 0));
      const expected = ["turned.jpg", "subsampled.jpg"] as const;
      expected.forEach((name, i) => {
        const { most } = difference(
          got.subarray(i * 1728, (i + 1) * 1728),
          Uint8Array.fromBase64(pictures[name].centre),
        );
        assert(most <= 1, `${name} ${most}`);
      });
      assertEquals(reader.done.images, 2);
      const filled = await reader.read(Uint32Array.of(0, 1, 1, 1));
      assertEquals(reader.done.images, 4); // the padding of the batch is decoded once
      assertEquals(filled.subarray(5184), got.subarray(0, 1728));
      assert(reader.done.milliseconds > 0);
    },
  ));

Deno.test("imageFolder() follows links, and accepts test for val", () =>
  withFolder({ "far/one.jpg": "baseline.jpg", "far/two.png": "rgb.png" }, async (dir) => {
    for (const part of ["train", "test"]) {
      for (const name of ["a", "b"]) await Deno.mkdir(`${dir}/set/${part}/${name}`, { recursive: true });
      await Deno.symlink(`${dir}/far/one.jpg`, `${dir}/set/${part}/a/1.jpg`);
      await Deno.symlink(`${dir}/far/two.png`, `${dir}/set/${part}/b/1.png`);
    }
    const set = await imageFolder({ path: `${dir}/set`, size: 24 });
    assertEquals([set.train.count, set.test.count], [2, 2]);
  }));

Deno.test("pixels depend on the key and the position in the batch, not on threads or the order of reads", () =>
  withFolder(SMALL, async (dir) => {
    const indices = Uint32Array.of(4, 0, 0, 2, 3, 1);
    const seen: Uint8Array[] = [];
    for (const threads of [1, 3]) {
      const set = await imageFolder({ path: dir, size: 24, threads });
      await using reader = set.train.open();
      if (threads === 3) await reader.read(Uint32Array.of(1, 1), key(1));
      const both = [reader.read(indices, key(7)), reader.read(indices, key(8))];
      if (threads === 3) both.reverse();
      seen.push(...await Promise.all(both));
    }
    assertEquals(seen[0], seen[3]);
    assertEquals(seen[1], seen[2]);
    assertNotEquals(seen[0], seen[1]);
    assertNotEquals(seen[0].subarray(1728, 3456), seen[0].subarray(3456, 5184)); // the same image twice
  }));

Deno.test("random crops cover the specified areas and proportions, and half are mirrored", async () => {
  // A picture whose red is the column and whose green is the row, so that a crop shows where it is from.
  await using decoders = new Decoders(2);
  const count = 400;
  const crops = await Promise.all(Array.from({ length: count }, (_, i) => {
    const draws = uniform(foldIn(key(3), i), DRAWS);
    return decoders.decode({ path: `${images}large.jpg`, size: 8, draws });
  }));
  let mirrored = 0;
  let brightness = 0;
  for (const crop of crops) {
    let slope = 0;
    for (let p = 0; p < 64; p++) {
      slope += crop[3 * p] * (p % 8 - 3.5);
      brightness += crop[3 * p] / 64 / count;
    }
    if (slope < 0) mirrored++; // red grows to the right
  }
  assert(mirrored > 160 && mirrored < 240, `${mirrored} of ${count} are mirrored`);
  assertAlmostEquals(brightness, 130, 12); // red goes from 0 to 255 over the width, so crops are spread evenly
});

Deno.test("imageFolder() names a file or folder that is missing, empty, truncated, damaged or mislabelled", async () => {
  const bytes = Deno.readFileSync(`${images}baseline.jpg`);
  const png = Deno.readFileSync(`${images}rgb.png`);
  const flipped = png.slice();
  flipped[900] ^= 4;
  const without = (prefix: string) =>
    Object.fromEntries(Object.entries(SMALL).filter(([name]) => !name.startsWith(prefix)));
  const cases: [RegExp, Record<string, string | Uint8Array>][] = [
    [/has no folder train; a folder of images contains/, without("train")],
    [/has no folder val; a folder of images contains/, without("val")],
    [/train has a single class, a;/, without("train/b")],
    [/train contains images, but no folder for each class/, { ...without("train"), "train/1.jpg": bytes }],
    [/val\/c is mislabelled: .*train has no class c/, { ...SMALL, "val/c/1.jpg": bytes }],
    [/train\/c has no \.jpg, \.jpeg, \.png, \.webp, \.bmp, \.tif or \.tiff file/, {
      ...SMALL,
      "train/c/readme.txt": bytes,
    }],
    [/a\/2\.jpg is empty/, { ...SMALL, "train/a/2.jpg": new Uint8Array() }],
    [/a\/2\.jpg is truncated/, { ...SMALL, "train/a/2.jpg": bytes.slice(0, bytes.length - 30) }],
    [/a\/2\.png is truncated/, { ...SMALL, "train/a/2.png": png.slice(0, 1000) }],
    [/b\/9\.png is damaged \(IDAT: /, { ...SMALL, "val/b/9.png": flipped }],
    [/b\/9\.jpg is not a JPEG, PNG, WebP, BMP or TIFF, whatever/, {
      ...SMALL,
      "val/b/9.jpg": new TextEncoder().encode("<html></html>"),
    }],
  ];
  for (const [message, files] of cases) {
    await withFolder(files, async (path) => {
      const error = await assertRejects(() => imageFolder({ path, size: 24 }), LocalgradError);
      assert(message.test(error.message) && error.message.includes(path), error.message);
      assert(!error.message.includes("\n"), error.message);
    });
  }
  await assertRejects(
    () => imageFolder({ path: "/nowhere/at/all" }),
    LocalgradError,
    "/nowhere/at/all is not a folder",
  );
  for (const bad of [{ size: 0 }, { threads: 1.5 }]) {
    await assertRejects(
      () => imageFolder({ path: images, ...bad }),
      LocalgradError,
      "must be a whole number",
    );
  }
  await assertRejects(() => entry.load({}), LocalgradError, "the path of the folder of images is missing");
});

Deno.test("a file that disappears or is damaged after loading is named when it is read", () =>
  withFolder(SMALL, async (dir) => {
    const set = await imageFolder({ path: dir, size: 24 });
    await Deno.remove(`${dir}/val/a/1.jpg`);
    await Deno.truncate(`${dir}/val/b/1.jpg`, 900);
    await using reader = set.test.open();
    await assertRejects(
      () => reader.read(Uint32Array.of(0)),
      LocalgradError,
      "val/a/1.jpg does not exist",
    );
    await assertRejects(() => reader.read(Uint32Array.of(1)), LocalgradError, "val/b/1.jpg is truncated");
    assertEquals((await set.train.open()[Symbol.asyncDispose](), liveDecoderCount()) > 0, true); // others continue
  }));

Deno.test("decoders that have ended reject pending and new jobs", async () => {
  const decoders = new Decoders(1);
  const job = { path: `${images}large.jpg`, size: 64 };
  const asked = Array.from(
    { length: 50 },
    () => decoders.decode(job).then(() => "done", (error) => error.message),
  );
  await decoders[Symbol.asyncDispose]();
  assertEquals((await Promise.all(asked)).at(-1), "decoding was stopped");
  await assertRejects(() => decoders.decode(job), LocalgradError, "decoding was stopped");
  assertEquals(liveDecoderCount(), 0);
});

Deno.test("the ends of a file decide only if they are intact", async () => {
  await using decoders = new Decoders(1);
  const dir = await Deno.makeTempDir();
  const path = `${dir}/x.jpg`;
  const whole = Deno.readFileSync(`${images}baseline.jpg`);
  for (
    const [bytes, message] of [
      [whole, undefined],
      [Uint8Array.from([...whole, 0, 0, 0]), undefined], // stray bytes after the end
      [whole.slice(0, -40), "is truncated"],
      [new Uint8Array(3), "is not a JPEG, PNG, WebP, BMP or TIFF"],
      [new Uint8Array(), "is empty"],
    ] as const
  ) {
    await Deno.writeFile(path, bytes);
    const checked = decoders.check({ path, check: "ends" });
    if (message === undefined) await checked;
    else await assertRejects(() => checked, LocalgradError, message);
  }
  await Deno.remove(dir, { recursive: true });
});
