import { assert, assertEquals, assertRejects } from "@std/assert";
import { createHash } from "node:crypto";
import facts from "../../tests/fixtures/datasets.json" with { type: "json" };
import { hash } from "../../tests/fixtures/formula.ts";
import { LocalgradError } from "../base/errors.ts";
import { loadStl10, stl10 } from "./stl10.ts";

const IMAGE = 3 * 96 * 96;
const planes = (part: string, count: number) =>
  Uint8Array.from({ length: count * IMAGE }, (_, i) => hash(`stl10.${part}`, i) >>> 24);

/** Files in the official layout: three training and two test images. */
const files = (): Record<string, Uint8Array> => ({
  "train_X.bin": planes("train", 3),
  "train_y.bin": Uint8Array.of(1, 10, 4),
  "test_X.bin": planes("test", 2),
  "test_y.bin": Uint8Array.of(7, 2),
});

async function withFiles(
  content: Record<string, Uint8Array>,
  use: (dir: string) => Promise<void>,
  inner = "",
) {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${dir}/${inner}`, { recursive: true });
    for (const [name, bytes] of Object.entries(content)) {
      await Deno.writeFile(`${dir}/${inner}/${name}`, bytes);
    }
    await use(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("stl10() reads like numpy: planes column by column, labels from 1", () =>
  withFiles(files(), async (dir) => {
    const set = await stl10({ path: dir });
    for (const part of ["train", "test"] as const) {
      const { images, sha256 } = facts.stl10[part];
      assertEquals([set[part].count, set.height, set.width, set.channels], images);
      assertEquals(createHash("sha256").update(set[part].images).digest("hex"), sha256);
    }
    assertEquals([[...set.train.labels], [...set.test.labels]], [[0, 9, 3], [6, 1]]);
    assertEquals(set.classes.length, 10);
    assertEquals(set.augmentation, { border: 4, fill: "zero", flip: true });
  }, "stl10_binary"));

Deno.test("stl10() names the file that is missing, truncated, mislabelled or damaged", async () => {
  const faults: [string, (content: Record<string, Uint8Array>) => void][] = [
    ["has no test_y.bin; download", (c) => delete c["test_y.bin"]],
    ["train_X.bin is empty", (c) => c["train_X.bin"] = new Uint8Array()],
    ["train_X.bin is truncated: 82943 bytes", (c) => c["train_X.bin"] = c["train_X.bin"].slice(1)],
    ["train_X.bin has 2 images and train_y.bin 3 labels", (c) => c["train_X.bin"] = planes("train", 2)],
    ["test_y.bin is mislabelled: image 1 has label 0", (c) => c["test_y.bin"] = Uint8Array.of(1, 0)],
    ["train_y.bin is mislabelled: image 0 has label 11", (c) => c["train_y.bin"] = Uint8Array.of(11, 1, 1)],
  ];
  for (const [message, fault] of faults) {
    const content = files();
    fault(content);
    await withFiles(content, async (path) => {
      const error = await assertRejects(() => stl10({ path }), LocalgradError);
      assert(error.message.includes(message) && error.message.includes(path), error.message);
    });
  }
  await withFiles(files(), async (path) => {
    const published = Object.fromEntries(
      Object.entries(files()).map(([name, { length }]) => [name, { bytes: length, md5: "0".repeat(32) }]),
    );
    await assertRejects(
      () => loadStl10({ path }, { archive: { url: "" }, published }),
      LocalgradError,
      "train_X.bin is damaged: its MD5 is not the published 000",
    );
  });
  await withFiles({ "train.mat": new Uint8Array(1) }, async (path) => {
    await assertRejects(() => stl10({ path }), LocalgradError, "contains the MATLAB version of STL-10");
  });
});
