import { assert, assertEquals, assertRejects } from "@std/assert";
import { createHash } from "node:crypto";
import facts from "../../tests/fixtures/datasets.json" with { type: "json" };
import { inFolder } from "../../tests/in_folder.ts";
import { LocalgradError } from "../base/errors.ts";
import { loadSvhn, svhn, type SvhnLayout } from "./svhn.ts";

const fixtures = new URL("../../tests/fixtures/datasets/svhn/", import.meta.url).pathname;
const sum = (bytes: Uint8Array, kind = "sha256") => createHash(kind).update(bytes).digest("hex");
const read = (name: string) => Deno.readFileSync(`${fixtures}${name}`);

Deno.test("svhn() reads like SciPy: pixels, and the digit 0 where the label is 10", async () => {
  const set = await svhn({ path: fixtures });
  for (const part of ["train", "test"] as const) {
    const { images, sha256, labels } = facts.svhn[part];
    assertEquals([set[part].count, set.height, set.width, set.channels], images);
    assertEquals(sum(set[part].images), sha256);
    assertEquals([...set[part].labels], labels);
  }
  assert(facts.svhn.train.labels.includes(0));
  assertEquals(set.augmentation, { border: 2, fill: "zero", flip: false });
});

Deno.test("svhn() checks the MD5 of a file with the published number of images", async () => {
  const layout = (md5: string): SvhnLayout => ({
    url: "http://127.0.0.1:1/",
    published: {
      "train_32x32.mat": { images: 8, md5 },
      "test_32x32.mat": { images: 1, md5: "of another size, so not checked" },
    },
  });
  await loadSvhn({ path: fixtures }, layout(sum(read("train_32x32.mat"), "md5")));
  const wrong = () => loadSvhn({ path: fixtures }, layout("0".repeat(32)));
  await assertRejects(wrong, LocalgradError, "train_32x32.mat is damaged: its MD5 is not the published 000");
});

Deno.test("svhn() downloads both files once, and keeps nothing of a download that fails", () =>
  inFolder(async (cache) => {
    let failing = "test_32x32.mat";
    let altered = true;
    const requests: string[] = [];
    await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
      const name = new URL(request.url).pathname.slice(1);
      requests.push(name);
      if (name === failing) return new Response(null, { status: 503 });
      // A file of another set is complete, but not the published one.
      return new Response(read(altered && name.startsWith("test") ? "train_32x32.mat" : name));
    });
    const layout: SvhnLayout = {
      url: `http://127.0.0.1:${server.addr.port}/`,
      published: {
        "train_32x32.mat": { images: 73257, md5: sum(read("train_32x32.mat"), "md5") },
        "test_32x32.mat": { images: 26032, md5: sum(read("test_32x32.mat"), "md5") },
      },
    };
    await assertRejects(
      () => loadSvhn({ cache }, layout),
      LocalgradError,
      `${layout.url}test_32x32.mat could not be downloaded (HTTP status 503)`,
    );
    assertEquals([...Deno.readDirSync(cache)].map(({ name }) => name), ["svhn.lock"]);
    failing = "";
    await assertRejects(
      () => loadSvhn({ cache }, layout),
      LocalgradError,
      `${layout.url}test_32x32.mat is damaged: its MD5 is not the published`,
    );
    assertEquals([...Deno.readDirSync(cache)].map(({ name }) => name), ["svhn.lock"]);
    altered = false;
    const received: number[] = [];
    const set = await loadSvhn({ cache, onProgress: (bytes) => received.push(bytes) }, layout);
    assertEquals(set.train.count, 8);
    assert(received.length >= 2);
    requests.length = 0;
    assertEquals(await loadSvhn({ cache }, layout), set);
    assertEquals(requests, []);
  }));

/** A file of two images whose every value is `pixel`, as MATLAB stores numbers other than bytes. */
function scaled(pixel: (i: number) => number): Uint8Array {
  const element = (type: number, data: Uint8Array) => [
    ...new Uint8Array(Uint32Array.of(type, data.length).buffer),
    ...data,
    ...new Uint8Array((8 - data.length % 8) % 8),
  ];
  const words = (...values: number[]) => new Uint8Array(Int32Array.from(values).buffer);
  const matrix = (kind: number, name: string, shape: number[], type: number, data: Uint8Array) =>
    element(
      14,
      Uint8Array.from([
        ...element(6, words(kind, 0)),
        ...element(5, words(...shape)),
        ...element(1, new TextEncoder().encode(name)),
        ...element(type, data),
      ]),
    );
  const values = Float64Array.from({ length: 2 * 3072 }, (_, i) => pixel(i));
  const header = new Uint8Array(128).fill(32);
  header.set(new TextEncoder().encode("MATLAB 5.0 MAT-file"));
  header.set([0, 1, 0x49, 0x4d], 124);
  return Uint8Array.from([
    ...header,
    ...matrix(6, "X", [32, 32, 3, 2], 9, new Uint8Array(values.buffer)),
    ...matrix(9, "y", [2, 1], 2, Uint8Array.of(10, 3)),
  ]);
}

Deno.test("svhn() reads pixels that are whole numbers from 0 to 255 of any type, and rejects others", () =>
  inFolder(async (path) => {
    await Deno.copyFile(`${fixtures}test_32x32.mat`, `${path}/test_32x32.mat`);
    const write = (pixel: (i: number) => number) => Deno.writeFile(`${path}/train_32x32.mat`, scaled(pixel));
    await write((i) => i % 256);
    const { train } = await svhn({ path });
    // Rows vary fastest in the file, channels in the pixels: 1,024 values are a multiple of 256.
    assertEquals([...train.images.subarray(0, 9)], [0, 0, 0, 32, 32, 32, 64, 64, 64]);
    assertEquals([...train.labels], [0, 3]);
    for (
      const [pixel, says] of [
        [(i: number) => (i + 1) % 256 / 255, `value 0 of X is ${1 / 255}`],
        [(i: number) => i === 77 ? NaN : 1, "value 77 of X is NaN"],
        [(i: number) => i === 6143 ? -1 : 1, "value 6143 of X is -1"],
        [(i: number) => i === 5 ? 256 : 1, "value 5 of X is 256"],
        [(i: number) => i === 5 ? Infinity : 1, "value 5 of X is Infinity"],
      ] as const
    ) {
      await write(pixel);
      await assertRejects(
        () => svhn({ path }),
        LocalgradError,
        `train_32x32.mat: ${says}, but pixels are whole numbers from 0 to 255`,
      );
    }
  }));

Deno.test("svhn() rejects a file longer than the published images can be", () =>
  inFolder(async (path) => {
    await Deno.writeFile(`${path}/train_32x32.mat`, new Uint8Array(70_000));
    const published = (images: number) => ({
      "train_32x32.mat": { images, md5: "" },
      "test_32x32.mat": { images: 1, md5: "" },
    });
    const load = (images: number) => loadSvhn({ path }, { url: "", published: published(images) });
    await assertRejects(() => load(2), LocalgradError, "train_32x32.mat is not a MATLAB version 5 file");
    await assertRejects(
      () => load(1),
      LocalgradError,
      "is too long: 70000 bytes, but the published file has at most 68616",
    );
  }));
