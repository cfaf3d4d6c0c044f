import { assert, assertEquals, assertRejects } from "@std/assert";
import { greyPng } from "../../../tests/dataset_files.ts";
import { LocalgradError } from "../../base/errors.ts";
import { type DecodeLimits, Decoders, LIMITS, liveDecoderCount } from "./decoders.ts";

const images = new URL("../../../tests/fixtures/datasets/images/", import.meta.url).pathname;

/** Checks files under some limits; undefined for each that is accepted, else the reason. */
async function refusals(paths: readonly string[], limits: Partial<DecodeLimits>): Promise<unknown[]> {
  await using decoders = new Decoders(1, { ...LIMITS, ...limits });
  return await Promise.all(
    paths.map((path) =>
      decoders.check({ path, check: "whole" }).then(() => undefined, (error) => {
        assert(error instanceof LocalgradError, `${error}`);
        return error.message;
      })
    ),
  );
}

async function inFolder(use: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await use(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
    assertEquals(liveDecoderCount(), 0);
  }
}

Deno.test("a picture of any kind is accepted exactly at the limits, and refused by its size just beyond them", async () => {
  // The JPEGs: progressive, with EXIF before the size, and CMYK with four channels.
  const names = [
    "progressive.jpg",
    "turned.jpg",
    "cmyk.jpg",
    "alpha.png",
    "lossy.webp",
    "rgb.bmp",
    "pages.tif",
  ];
  const paths = names.map((name) => images + name);
  const refused = (why: string) =>
    paths.map((path) => `${path} has 40×28 pixels, but the limit is ${why}; make it smaller`);
  assertEquals(await refusals(paths, { side: 40, area: 1120 }), paths.map(() => undefined));
  assertEquals(await refusals(paths, { side: 39 }), refused("39 on a side"));
  assertEquals(await refusals(paths, { area: 1119 }), refused("1119 in total"));
});

Deno.test("a picture that hides its size, needs too much memory, or is too long a file, is refused", () =>
  inFolder(async (dir) => {
    const [grey, hidden] = [`${dir}/grey.png`, `${dir}/hidden.jpg`];
    await Deno.writeFile(grey, greyPng(500, 400, [7]));
    // Stray bytes between segments, which the decoder skips; ImageMagick's own limits still apply.
    const bytes = Deno.readFileSync(`${images}baseline.jpg`);
    await Deno.writeFile(hidden, Uint8Array.from([...bytes.subarray(0, 20), 0, 0, ...bytes.subarray(20)]));
    const tooLarge = (path: string) => `${path} needs more memory than a picture may use; make it smaller`;
    assertEquals(await refusals([grey, hidden], { side: 500, memory: 1 << 20 }), [undefined, undefined]);
    assertEquals(await refusals([grey, hidden], { memory: 100_000 }), [tooLarge(grey), undefined]);
    assertEquals(await refusals([hidden], { side: 39 }), [tooLarge(hidden)]);
    assertEquals(await refusals([hidden], { area: 250 }), [tooLarge(hidden)]);
    const { size } = await Deno.stat(grey);
    assertEquals(await refusals([grey], { memory: size - 1 }), [
      `${grey} has ${size} bytes, but the limit is ${size - 1}; make it smaller`,
    ]);
  }));

Deno.test("a picture that takes too long is refused by name, and the others of its thread are decoded", () =>
  inFolder(async (dir) => {
    const [slow, quick] = [`${dir}/slow.png`, `${dir}/quick.png`];
    for (const path of [slow, quick]) await Deno.writeFile(path, greyPng(8, 8, [99]));
    await using decoders = new Decoders(1, { ...LIMITS, seconds: 0.6 });
    const jobs = [quick, slow, quick, quick].map((path) =>
      // Enlarging it takes a core about two seconds; everything else takes less than a tenth of one.
      decoders.decode({ path, size: path === slow ? 7000 : 2 })
        .then(([...pixels]) => pixels, (error) => error.message)
    );
    const grey = new Array(12).fill(99);
    const refused = `${slow} takes more than 0.6 s to decode; make it smaller`;
    assertEquals(await Promise.all(jobs), [grey, refused, grey, grey]);
    assertEquals(await decoders.decode({ path: quick, size: 2 }), Uint8Array.from(grey));
    assertEquals(decoders.done.images, 4);
  }));

Deno.test("a picture decoded in time is accepted, however long the main thread was busy", async () => {
  await using decoders = new Decoders(1, { ...LIMITS, seconds: 0.5 });
  const job = { path: `${images}baseline.jpg`, size: 24 };
  const expected = await decoders.decode(job);
  const asked = decoders.decode(job);
  for (let busy = 0; busy < 3; busy++) {
    const until = performance.now() + 300;
    while (performance.now() < until);
    if (busy < 2) await Promise.resolve();
  }
  assertEquals(await asked, expected);
});

Deno.test("a file replaced by a named pipe is refused; opening it would wait forever", {
  ignore: Deno.build.os === "windows",
}, () =>
  inFolder(async (dir) => {
    await new Deno.Command("mkfifo", { args: [`${dir}/x.png`] }).output();
    await using decoders = new Decoders(1);
    for (const check of ["whole", "ends"] as const) {
      await assertRejects(
        () => decoders.check({ path: `${dir}/x.png`, check }),
        LocalgradError,
        `${dir}/x.png is not a regular file`,
      );
    }
  }));
