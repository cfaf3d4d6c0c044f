import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fixture from "../../../tests/fixtures/label_maps.json" with { type: "json" };
import { encodePng } from "../../artifacts/png.ts";
import { LocalgradError } from "../../base/errors.ts";
import { key } from "../../base/random.ts";
import { boxOf, cropLabels } from "./boxes.ts";
import { liveDecoderCount } from "./decoders.ts";
import { decodeLabels } from "./label_png.ts";
import { segmentationFolder } from "./segmentation.ts";

Deno.test("label maps of every kind that Pillow writes are read as labels, whatever their colours", () => {
  for (const [name, { png, labels }] of Object.entries(fixture.kinds)) {
    const read = decodeLabels(name, Uint8Array.fromBase64(png));
    assertEquals([read.height, read.width], [fixture.height, fixture.width], name);
    assertEquals([...read.labels], labels, name);
  }
});

Deno.test("what is no label map is refused in one line", () => {
  const grey = Uint8Array.fromBase64(fixture.kinds["grey"].png);
  const damaged = grey.slice();
  damaged[grey.length - 20]! ^= 0xff;
  const huge = grey.slice();
  new DataView(huge.buffer).setUint32(16, 100_000);
  const cases: [Uint8Array, string][] = [
    [new Uint8Array(), "x.png is empty"],
    [
      new TextEncoder().encode("GIF89a, and something that follows it"),
      "x.png is not a PNG, as label maps are",
    ],
    [Uint8Array.fromBase64(fixture.colour), "x.png is a picture in colour"],
    [Uint8Array.fromBase64(fixture.deep), "x.png has a label of 300; they go up to 255"],
    [huge, "x.png has 100000×6 pixels, more than a picture may have"],
    [damaged, "x.png is "],
    [grey.subarray(0, 50), "x.png is "],
  ];
  for (const [bytes, message] of cases) {
    const error = assertThrows(() => decodeLabels("x.png", bytes), LocalgradError, message);
    assert(!error.message.includes("\n"), error.message);
  }
});

Deno.test("without a key the whole picture is shown, as large as fits", () => {
  const whole = boxOf({ height: 20, width: 40 }, [16, 16]);
  assertEquals([whole.height, whole.width, whole.to, whole.flip], [20, 40, [8, 16], false]);
  const draws = (scale: number, top: number, left: number, flip: number) => ({
    draws: [scale, top, left, flip],
    scales: [0.5, 2] as const,
  });
  const large = boxOf({ height: 20, width: 40 }, [16, 16], draws(1, 0.99, 0.99, 0));
  assertEquals(large, { of: [20, 40], top: 0, left: 20, height: 20, width: 20, to: [16, 16], flip: true });
  const small = boxOf({ height: 20, width: 40 }, [16, 16], draws(0, 0.5, 0.5, 1));
  assertEquals([small.height, small.width, small.to], [20, 40, [4, 8]]);
});

Deno.test("labels are those of the nearest pixels, mirrored with the picture, and none beside it", () => {
  const map = { height: 2, width: 2, labels: Uint8Array.of(1, 2, 3, 4) };
  const box = { of: [2, 2], top: 0, left: 0, height: 2, width: 2, to: [4, 4], flip: false } as const;
  const row = (...labels: number[]) => [...labels, 255];
  assertEquals([...cropLabels(map, [5, 5], box)], [
    ...row(1, 1, 2, 2),
    ...row(1, 1, 2, 2),
    ...row(3, 3, 4, 4),
    ...row(3, 3, 4, 4),
    ...new Array(5).fill(255),
  ]);
  assertEquals([...cropLabels(map, [2, 2], { ...box, to: [2, 2], flip: true })], [2, 1, 4, 3]);
});

/** Fills a folder with files, and uses it. */
async function withFiles(files: Record<string, Uint8Array | string>, use: (dir: string) => Promise<void>) {
  const dir = await Deno.makeTempDir();
  try {
    for (const [place, content] of Object.entries(files)) {
      const path = `${dir}/${place}`;
      await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
      await (typeof content === "string" ? Deno.writeTextFile(path, content) : Deno.writeFile(path, content));
    }
    await use(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
    assertEquals(liveDecoderCount(), 0);
  }
}

const [HEIGHT, WIDTH] = [24, 40];
/** Labels in four quarters, of which `none` has none. */
const quarters = (values: readonly number[]) =>
  Uint8Array.from(
    { length: HEIGHT * WIDTH },
    (_, i) => values[2 * Number(i >= HEIGHT * WIDTH / 2) + Number(i % WIDTH >= WIDTH / 2)]!,
  );
const map = (values: readonly number[]) => encodePng(quarters(values), HEIGHT, WIDTH, 1);
/** A picture whose colour shows the label: red 80 times as high. */
const picture = (values: readonly number[]) => {
  const labels = quarters(values);
  return encodePng(
    Uint8Array.from(
      { length: 3 * labels.length },
      (_, i) => i % 3 === 0 ? 80 * labels[Math.floor(i / 3)]! : 50,
    ),
    HEIGHT,
    WIDTH,
    3,
  );
};

Deno.test("pictures and label maps of a folder are scaled, cropped and mirrored alike, by the key", async () => {
  const values = [0, 1, 2, 3];
  const files = {
    "train/images/a.png": await picture(values),
    "train/labels/a.png": await map(values),
    "val/images/b.png": await picture(values),
    "val/labels/b.png": await map(values),
    "classes.txt": "sky\r\nroad\nstreet car\nperson\n",
  };
  await withFiles(files, async (path) => {
    const set = await segmentationFolder({ path, size: [32, 32], threads: 1 });
    assertEquals(set.classes, ["sky", "road", "street car", "person"]);
    assertEquals([set.height, set.width, set.train.count, set.test!.count], [32, 32, 1, 1]);
    await using reader = set.train.open();
    const indices = new Uint32Array(12);
    const { images, maps } = await reader.read(indices, key(3));
    assertEquals(await reader.read(indices, key(3)), { images, maps });
    const counts = { right: 0, wrong: 0, beside: 0 };
    maps.forEach((label, i) => {
      const red = images[3 * i]!;
      if (label === 255) {
        counts.beside++;
        assertEquals(red, 124);
      } else if (Math.abs(red - 80 * label) <= 1) counts.right++;
      else counts.wrong++; // at the edges of quarters colours are mixed
    });
    assert(counts.wrong < 0.1 * counts.right, JSON.stringify(counts));
    assert(counts.beside > 0 && counts.beside < maps.length / 2, JSON.stringify(counts));
    const corners = new Set(Array.from({ length: 12 }, (_, i) => maps[i * 32 * 32]));
    assert(corners.size > 1, `${[...corners]}`); // mirrored, or cropped elsewhere
    await using tests = set.test!.open();
    const whole = await tests.read(Uint32Array.of(0));
    assertEquals(whole.maps.filter((label) => label === 255).length, 32 * (32 - 19)); // 32 × 40/24 = 19 rows are shown
    assertEquals([whole.maps[0], whole.maps[31], whole.maps[18 * 32], whole.maps[18 * 32 + 31]], values);
  });
});

Deno.test("VOC's and Cityscapes' folders are read by their own names", async () => {
  const [first, second] = [await picture([0, 1, 2, 3]), await map([0, 20, 255, 3])];
  const voc = {
    "JPEGImages/2007_000032.jpg": first, // its content is what counts
    "SegmentationClass/2007_000032.png": second,
    "ImageSets/Segmentation/train.txt": "2007_000032\n",
    "ImageSets/Segmentation/val.txt": "2007_000032\n",
  };
  await withFiles(voc, async (path) => {
    const set = await segmentationFolder({ path, size: [24, 40], threads: 1 });
    assertEquals([set.classes.length, set.classes[20]], [21, "tvmonitor"]);
    await using reader = set.test!.open();
    const { maps } = await reader.read(Uint32Array.of(0));
    assertEquals(maps, quarters([0, 20, 255, 3]));
  });
  const city = (kind: string) => ({
    "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png": first,
    "leftImg8bit/val/ulm/ulm_1_leftImg8bit.png": first,
    [`gtFine/train/aachen/aachen_000000_000019_gtFine_${kind}.png`]: second,
    [`gtFine/val/ulm/ulm_1_gtFine_${kind}.png`]: second,
  });
  await withFiles(city("labelIds"), async (path) => {
    const set = await segmentationFolder({ path, size: [24, 40], threads: 1 });
    assertEquals([set.classes.length, set.classes[7]], [19, "traffic sign"]);
    await using reader = set.test!.open();
    const { maps } = await reader.read(Uint32Array.of(0));
    assertEquals(maps, quarters([255, 7, 255, 255])); // only id 20, a traffic sign, is evaluated
  });
  await withFiles(city("labelTrainIds"), (path) =>
    assertRejects(
      () => segmentationFolder({ path, threads: 1 }),
      LocalgradError,
      "has the label 20; 19 classes are 0 to 18, and 255 is none",
    ).then(() => {}));
});

Deno.test("folders that are not whole are refused in one line", async () => {
  const [image, labels] = [await picture([0, 1, 0, 1]), await map([0, 1, 0, 1])];
  const whole = {
    "train/images/a.png": image,
    "train/labels/a.png": labels,
    "val/images/b.png": image,
    "val/labels/b.png": labels,
  };
  const { "val/labels/b.png": _, ...unlabelled } = whole;
  const small = await encodePng(new Uint8Array(4), 2, 2, 1);
  const classes = ["a", "b"];
  const cases: [Record<string, Uint8Array | string>, object, string][] = [
    [whole, {}, 'do not name their classes; give classes: ["background", …]'],
    [{ ...whole, "classes.txt": "a\n\nb\n" }, {}, "classes.txt names no class in line 2"],
    [{ ...whole, "classes.txt/x": "" }, {}, "classes.txt is no list of classes"],
    [unlabelled, { classes }, "val/labels/b.png is missing"],
    [
      { "a.png": image },
      { classes },
      "has no folder train/images; a folder of labelled pixels has train/images",
    ],
    [{ ...whole, "train/labels/a.png": image }, { classes }, "a.png is a picture in colour"],
    [whole, { classes: ["a"] }, "has the label 1; 1 classes are 0 to 0"],
    [whole, { classes, scales: [2, 1] }, "scales are two numbers above 0, the smaller first, not 2 and 1"],
    [
      whole,
      { classes, table: [0, 256] },
      "the class of the value 1 must be a whole number from 0 to 255, not 256",
    ],
  ];
  for (const [files, options, message] of cases) {
    await withFiles(files, async (path) => {
      await assertRejects(
        () => segmentationFolder({ path, threads: 1, ...options }),
        LocalgradError,
        message,
      );
    });
  }
  await withFiles({ ...whole, "train/labels/a.png": small }, async (path) => {
    const set = await segmentationFolder({ path, classes, threads: 1 });
    await using reader = set.train.open();
    await assertRejects(
      () => reader.read(Uint32Array.of(0)),
      LocalgradError,
      "a.png has 40×24 pixels, but its label map 2×2",
    );
  });
});
