import { assert, assertEquals, assertRejects } from "@std/assert";
import { createHash } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";
import facts from "../../tests/fixtures/image_files.json" with { type: "json" };
import { type Files, mnist as fixture, write } from "../../tests/dataset_files.ts";
import { inFolder } from "../../tests/in_folder.ts";
import { LocalgradError } from "../base/errors.ts";
import { readIdx } from "./idx.ts";
import { fashionMnist, loadMnist, mnist, type MnistLayout } from "./mnist.ts";

const TRAIN = "train-images-idx3-ubyte.gz";
const TEST_LABELS = "t10k-labels-idx1-ubyte.gz";
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const unpacked = (files: Files, name: string) => new Uint8Array(gunzipSync(files[name]!));

Deno.test("mnist() reads files of idx2numpy, packed or not, as grey or as three equal channels", () =>
  inFolder(async (dir) => {
    const files = fixture();
    await write(dir, files);
    const set = await mnist({ path: dir, channels: 1 });
    for (const part of ["train", "test"] as const) {
      const { images: { shape, sha256: expected }, labels } = facts.mnist[part];
      assertEquals([set[part].count, set.height, set.width, set.channels], [...shape, 1]);
      assertEquals([sha256(set[part].images), [...set[part].labels]], [expected, labels]);
    }
    assertEquals(set.augmentation, { border: 2, fill: "zero", flip: false });
    const colour = await mnist({ path: dir });
    assertEquals([colour.channels, colour.mean.length, colour.std.length], [3, 3, 3]);
    colour.train.images.forEach((value, i) => {
      if (value !== set.train.images[Math.floor(i / 3)]) throw new Error(`value ${i}`);
    });
    for (const [folder, rename] of [["dash", "-idx"], ["dot", ".idx"]] as const) {
      const plain = Object.keys(files).map((name) => [
        name.replace(".gz", "").replace("-idx", rename),
        unpacked(files, name),
      ]);
      await write(`${dir}/${folder}`, Object.fromEntries(plain));
      assertEquals(await mnist({ path: `${dir}/${folder}`, channels: 1 }), set);
    }
    const fashion = await fashionMnist({ path: dir });
    assertEquals([fashion.name, fashion.classes[9], fashion.augmentation?.flip], [
      "fashion-mnist",
      "Ankle boot",
      true,
    ]);
    assertEquals(fashion.train, colour.train);
  }));

Deno.test("mnist() names the file that is missing, truncated, damaged, mislabelled or of another set", () =>
  inFolder(async (dir) => {
    const altered = (name: string, alter: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array) => (f: Files) =>
      void (f[name] = gzipSync(alter(unpacked(f, name))));
    const at = (place: number, value: number) => (bytes: Uint8Array) => bytes.with(place, value);
    const faults: [string, (f: Files) => void][] = [
      [`has no ${TRAIN}; download the four files of MNIST`, (f) => delete f[TRAIN]],
      [`${TRAIN} is empty`, (f) => f[TRAIN] = new Uint8Array()],
      [`${TRAIN} is not a complete gzip file`, (f) => f[TRAIN] = f[TRAIN]!.slice(0, -9)],
      [`${TRAIN} is not a complete gzip file`, (f) => f[TRAIN] = f[TRAIN]!.with(-6, f[TRAIN]!.at(-6)! ^ 1)],
      [`${TRAIN} is truncated: it ends before its last element`, altered(TRAIN, (b) => b.slice(0, -1))],
      [`${TRAIN} is truncated`, altered(TRAIN, (b) => b.slice(0, 9))],
      [
        `${TRAIN} is damaged: its header says 8624 bytes (11×28×28), but 9408 follow`,
        altered(TRAIN, at(7, 11)),
      ],
      [`${TRAIN} is not an IDX file`, (f) => f[TRAIN] = new TextEncoder().encode("<!doctype html>")],
      [`${TRAIN} holds f32, not bytes`, altered(TRAIN, at(2, 13))],
      [`${TRAIN} is not of MNIST: it has an array of 4, not images×28×28`, (f) => f[TRAIN] = f[TEST_LABELS]!],
      [
        `${TEST_LABELS} is not of MNIST: it has an array of 12×28×28, not of labels`,
        (f) => f[TEST_LABELS] = f[TRAIN]!,
      ],
      [`${TEST_LABELS} is mislabelled: image 3 has label 10, not 0 to 9`, altered(TEST_LABELS, at(11, 10))],
      ["t10k-images has 4 images and t10k-labels 12 labels", (f) => {
        f[TEST_LABELS] = f["train-labels-idx1-ubyte.gz"]!;
      }],
    ];
    for (const [i, [message, fault]] of faults.entries()) {
      const content = fixture();
      fault(content);
      const path = `${dir}/${i}`;
      await write(path, content);
      const error = await assertRejects(() => mnist({ path }), LocalgradError);
      assert(error.message.includes(message) && error.message.includes(path), error.message);
    }
    await assertRejects(() => mnist({ channels: 2 as 1 }), LocalgradError, "channels is 1 or 3, not 2");
  }));

const tiny = (files: Files, url: string, md5: (bytes: Uint8Array) => string): MnistLayout => ({
  name: "tiny",
  title: "Tiny",
  home: "http://home/",
  url,
  folder: "tiny",
  classes: Array.from({ length: 10 }, (_, i) => String(i)),
  statistics: { mean: 0.5, std: 0.5 },
  augmentation: { border: 0, fill: "zero", flip: false },
  images: { train: 12, test: 4 },
  published: Object.fromEntries(
    Object.entries(files).map(([name, bytes]) => [name, { bytes: bytes.length, md5: md5(bytes) }]),
  ),
});

Deno.test("mnist() downloads four files, checks their MD5 and keeps them", () =>
  inFolder(async (dir) => {
    const files = fixture();
    const asked: string[] = [];
    await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, ({ url }) => {
      const name = new URL(url).pathname.slice(1);
      asked.push(name);
      return new Response(new Uint8Array(files[name]!));
    });
    const url = `http://127.0.0.1:${server.addr.port}/`;
    const md5 = (bytes: Uint8Array) => createHash("md5").update(bytes).digest("hex");
    const wrong = tiny(files, url, () => "0".repeat(32));
    await assertRejects(
      () => loadMnist({ cache: dir }, wrong),
      LocalgradError,
      "its MD5 is not the published 0000",
    );
    const layout = tiny(files, url, md5);
    const set = await loadMnist({ cache: dir, channels: 1 }, layout);
    assertEquals(sha256(set.train.images), facts.mnist.train.images.sha256);
    assertEquals(await loadMnist({ cache: dir, channels: 1 }, layout), set);
    assertEquals(asked, [TRAIN, ...Object.keys(files)]);
    await assertRejects(
      () => loadMnist({ path: `${dir}/tiny` }, wrong),
      LocalgradError,
      `${TRAIN} is damaged: its MD5 is not the published`,
    );
    const one = { ...layout, images: { train: 11, test: 4 } };
    await assertRejects(
      () => loadMnist({ cache: dir }, one),
      LocalgradError,
      "more than the published 8640 bytes",
    );
  }));

Deno.test("readIdx() reads any number of axes", () => {
  const scalar = readIdx(Uint8Array.of(0, 0, 8, 0, 7), "a");
  assertEquals([scalar.shape, [...scalar.data]], [[], [7]]);
  const pair = readIdx(Uint8Array.of(0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 2, 3, 4), "a");
  assertEquals([pair.shape, [...pair.data]], [[1, 2], [3, 4]]);
});
