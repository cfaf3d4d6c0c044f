import { assert, assertEquals, assertRejects } from "@std/assert";
import { createHash } from "node:crypto";
import { LocalgradError } from "../errors.ts";
import facts from "../../tests/fixtures/datasets.json" with { type: "json" };
import { loadSvhn, svhn, type SvhnLayout } from "./svhn.ts";

const fixtures = new URL("../../tests/fixtures/datasets/svhn/", import.meta.url).pathname;
const sum = (bytes: Uint8Array, kind = "sha256") => createHash(kind).update(bytes).digest("hex");
const read = (name: string) => Deno.readFileSync(`${fixtures}${name}`);

async function inFolder(use: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await use(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("svhn() reads what SciPy reads: pixels, and the digit 0 where the label is 10", async () => {
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

Deno.test("svhn() checks the MD5 of a file that has the published number of images", async () => {
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
      // Another set's file is whole, but not what is published.
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
    assertEquals([...Deno.readDirSync(cache)], []);
    failing = "";
    await assertRejects(
      () => loadSvhn({ cache }, layout),
      LocalgradError,
      `${layout.url}test_32x32.mat is damaged: its MD5 is not the published`,
    );
    assertEquals([...Deno.readDirSync(cache)], []);
    altered = false;
    const received: number[] = [];
    const set = await loadSvhn({ cache, onProgress: (bytes) => received.push(bytes) }, layout);
    assertEquals(set.train.count, 8);
    assert(received.length >= 2);
    requests.length = 0;
    assertEquals(await loadSvhn({ cache }, layout), set);
    assertEquals(requests, []);
  }));
