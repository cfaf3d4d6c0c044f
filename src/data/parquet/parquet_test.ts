import { assert, assertEquals, assertRejects } from "@std/assert";
import { fromFileUrl } from "@std/path";
import facts from "../../../tests/fixtures/parquet.json" with { type: "json" };
import { inFolder } from "../../../tests/in_folder.ts";
import { LocalgradError } from "../../base/errors.ts";
import { liveDecoderCount } from "../folder/decoders.ts";
import type { ImageDataset, StreamedImages } from "../images.ts";
import { entry, imageTables, type ImageTablesOptions } from "./parquet.ts";
import { columnsOf, readRows } from "./rows.ts";
import { Table } from "./tables.ts";

const fixtures = fromFileUrl(new URL("../../../tests/fixtures/parquet", import.meta.url));
const hub = `${fixtures}/hub`;

/** The colour of the first pixel of each image of a part. */
async function colours(set: ImageDataset<StreamedImages>, part: "train" | "test"): Promise<number[][]> {
  await using reader = set[part].open();
  const pixels = await reader.read(Uint32Array.from({ length: set[part].count }, (_, i) => i));
  const size = set.height * set.width * 3;
  return Array.from({ length: set[part].count }, (_, i) => [...pixels.subarray(i * size, i * size + 3)]);
}

/** A folder with one table to train on and one to test on. */
async function withTables(
  [train, test]: readonly [string, string],
  use: (dir: string) => Promise<void>,
): Promise<void> {
  await inFolder(async (dir) => {
    await Deno.mkdir(`${dir}/default/train`, { recursive: true });
    await Deno.copyFile(`${fixtures}/${train}`, `${dir}/default/train/0000.parquet`);
    await Deno.copyFile(`${fixtures}/${test}`, `${dir}/validation-0.parquet`);
    await use(dir);
  });
  assertEquals(liveDecoderCount(), 0);
}

Deno.test("imageTables() reads what Hugging Face's datasets wrote: images, classes and their names", async () => {
  const checked: number[] = [];
  const set = await imageTables({ path: hub, size: 8, threads: 1, onCheck: (done) => checked.push(done) });
  assertEquals([set.classes, set.name, set.height, checked.length], [facts.names, hub, 8, 7]);
  assertEquals([[...set.train.labels], [...set.test.labels]], [[0, 1, 0, 1, 0], [1, 0]]);
  assertEquals(await colours(set, "train"), facts.pixels.slice(0, 5));
  assertEquals(await colours(set, "test"), facts.pixels.slice(5));
  const few = await entry.load({ path: hub, size: 8, limits: { train: 4, test: 1 } }) as typeof set;
  assertEquals([few.train.count, few.test.count, await colours(few, "train")], [
    4,
    1,
    facts.pixels.slice(0, 4),
  ]);
  assertEquals(liveDecoderCount(), 0);
});

Deno.test("imageTables() reads binary columns in several row groups, by every compression but LZ4", async () => {
  await withTables(["codecs/none.parquet", "codecs/none.parquet"], async (path) => {
    const set = await imageTables({ path, size: 8, threads: 1 });
    assertEquals([set.classes, [...set.train.labels]], [["0", "1", "2"], [0, 1, 2, 0, 1]]);
    assertEquals(await colours(set, "train"), facts.pixels.slice(0, 5));
  });
  const rowsOf = async (codec: string) => {
    using table = await Table.open(`${fixtures}/codecs/${codec}.parquet`);
    const { files, labels } = await readRows([table], columnsOf(table, {}), undefined, 10_000);
    return { images: files.map(({ bytes }) => bytes), labels };
  };
  const plain = await rowsOf("none");
  assertEquals(plain.images.length, 5);
  for (const codec of ["snappy", "gzip", "brotli", "zstd"]) assertEquals(await rowsOf(codec), plain, codec);
  await withTables(["codecs/lz4.parquet", "codecs/none.parquet"], async (path) => {
    await assertRejects(
      () => imageTables({ path }),
      LocalgradError,
      "column picture is compressed by LZ4_RAW; write it without, or with one of SNAPPY, ZSTD, GZIP, BROTLI",
    );
  });
});

Deno.test("imageTables() refuses damaged tables and impossible options in one line", async () => {
  const refuses = async (path: string, message: string, options: Partial<ImageTablesOptions> = {}) => {
    const error = await assertRejects(
      () => imageTables({ path, size: 8, threads: 1, ...options }),
      LocalgradError,
    );
    assert(error.message.includes(message), error.message);
    assertEquals(error.message.split("\n").length, 1);
  };
  const whole = await Deno.readFile(`${fixtures}/codecs/none.parquet`);
  const snappy = await Deno.readFile(`${fixtures}/codecs/snappy.parquet`);
  await withTables(["codecs/none.parquet", "codecs/none.parquet"], async (dir) => {
    const train = `${dir}/default/train/0000.parquet`;
    for (const length of [0, 3, 20, whole.length - 9, whole.length - 1]) {
      await Deno.writeFile(train, whole.slice(0, length));
      await refuses(dir, `${train} is not a complete Parquet file`);
    }
    await Deno.writeFile(train, snappy.map((byte, i) => i > 10 && i < 60 ? byte ^ 0x5a : byte));
    await refuses(dir, train);
    // Its footer names a column that the schema lacks, and the page before that column is damaged too.
    const stray = await Deno.readFile(`${hub}/data/train-00000-of-00002.parquet`);
    const name = new TextDecoder("latin1").decode(stray).lastIndexOf("path");
    stray.fill(0x78, name, name + 1).fill(0, 41, 60);
    await Deno.writeFile(train, stray);
    await refuses(dir, "it has a column img.xath, which its schema lacks");
    const values = whole.findIndex((byte, i) => byte === 0x15 && whole[i - 1] === 0x2c) + 1; // of the first data page
    await Deno.writeFile(train, whole.with(values, 126));
    await refuses(dir, `${train} is not a complete Parquet file (a page of 63 values in a column of`);
    const png = whole.findIndex((_, i) =>
      whole[i] === 0x49 && whole[i + 1] === 0x44 && whole[i + 2] === 0x41
    );
    await Deno.writeFile(train, whole.map((byte, i) => i > png && i < png + 14 ? byte ^ 0x5a : byte));
    await refuses(dir, `${train}: row 0 is`);
    await Deno.copyFile(`${fixtures}/codecs/none.parquet`, train);
    await refuses(dir, "has no column pictures; it has picture, label", { image: "pictures" });
    await refuses(dir, "row 0 has no image in column label", { image: "label" });
    await refuses(dir, "row 0 has no class in column picture", { label: "picture" });
    await refuses(dir, "more than the 100 that may be kept in memory", { memory: 100 });
    await refuses(dir, "take more than 100 bytes of memory", { memory: 100, train: 3 });
    await Deno.copyFile(`${hub}/data/train-00000-of-00002.parquet`, train);
    await refuses(dir, `${dir}/validation-0.parquet has no column img; it has picture, label`);
    await Deno.remove(train);
    await refuses(dir, "has no .parquet file whose name, or whose folder's, says train");
    await refuses(`${dir}/nowhere`, "is not a folder");
  });
});
