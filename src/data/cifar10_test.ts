import { assert, assertEquals, assertRejects } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { type Cifar10Layout, loadCifar10 } from "./cifar10.ts";

const RECORDS = 3;
const NAMES = [1, 2, 3, 4, 5].map((n) => `data_batch_${n}.bin`).concat("test_batch.bin");

/** The byte of file `f`, record `r`, channel `c`, pixel `p`. */
const pixel = (f: number, r: number, c: number, p: number) => (f * 7 + r * 31 + c * 101 + p * 13) % 256;

function batch(f: number, records = RECORDS): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(records * 3073);
  for (let r = 0; r < records; r++) {
    bytes[r * 3073] = (f + r) % 10;
    for (let c = 0; c < 3; c++) {
      for (let p = 0; p < 1024; p++) bytes[r * 3073 + 1 + c * 1024 + p] = pixel(f, r, c, p);
    }
  }
  return bytes;
}

async function sums(files: Map<string, Uint8Array<ArrayBuffer>>): Promise<Record<string, string>> {
  const { createHash } = await import("node:crypto");
  return Object.fromEntries(
    [...files].map(([name, bytes]) => [name, createHash("md5").update(bytes).digest("hex")]),
  );
}

const files = () => new Map(NAMES.map((name, f) => [name, batch(f)]));
const layout: Cifar10Layout = {
  archive: { url: "http://127.0.0.1:1/" },
  records: RECORDS,
  md5: await sums(files()),
};

function tar(entries: Iterable<[string, Uint8Array<ArrayBuffer>]>): Blob {
  const blocks: BlobPart[] = [];
  for (const [path, bytes] of entries) {
    const header = new Uint8Array(512);
    const put = (text: string, at: number) => header.set(new TextEncoder().encode(text), at);
    put(path, 0);
    put("0000644\0", 100);
    put(bytes.length.toString(8).padStart(11, "0"), 124);
    put("        0", 148);
    put("ustar  ", 257);
    put(header.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, "0") + "\0", 148);
    blocks.push(header, bytes, new Uint8Array((512 - bytes.length % 512) % 512));
  }
  return new Blob([...blocks, new Uint8Array(1024)]);
}

async function gzip(blob: Blob): Promise<Uint8Array<ArrayBuffer>> {
  const stream = blob.stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const archive = (content = files()) =>
  gzip(tar([...content].map(([name, bytes]) => [`cifar-10-batches-bin/${name}`, bytes])));

async function folder(content: Map<string, Uint8Array>, inner = ""): Promise<string> {
  const dir = await Deno.makeTempDir();
  if (inner) await Deno.mkdir(`${dir}/${inner}`);
  for (const [name, bytes] of content) await Deno.writeFile(`${dir}/${inner}/${name}`, bytes);
  return dir;
}

async function rejects(path: string, message: RegExp): Promise<void> {
  const error = await assertRejects(() => loadCifar10({ path }, layout), LocalgradError);
  assert(message.test(error.message), error.message);
  assert(error.message.includes(path), error.message);
}

Deno.test("cifar10() reads planes as NHWC pixels and keeps the order of the records", async () => {
  const dir = await folder(files());
  const set = await loadCifar10({ path: dir }, layout);
  assertEquals([set.train.count, set.test.count], [15, 3]);
  assertEquals([...set.train.labels.slice(0, 6)], [0, 1, 2, 1, 2, 3]);
  for (const [image, f, r] of [[0, 0, 0], [4, 1, 1], [14, 4, 2]]) {
    for (const p of [0, 33, 1023]) {
      const at = image * 3072 + p * 3;
      assertEquals([...set.train.images.slice(at, at + 3)], [0, 1, 2].map((c) => pixel(f, r, c, p)));
    }
  }
  assertEquals(set.test.images[3072 + 1], pixel(5, 1, 1, 0));
  await Deno.remove(dir, { recursive: true });
});

Deno.test("cifar10() reads the same set from the folder, its parent and the archive", async () => {
  const inner = await folder(files(), "cifar-10-batches-bin");
  const file = `${inner}/cifar-10-binary.tar.gz`;
  await Deno.writeFile(file, await archive());
  const parent = await loadCifar10({ path: inner }, layout);
  assertEquals(await loadCifar10({ path: `${inner}/cifar-10-batches-bin` }, layout), parent);
  assertEquals(await loadCifar10({ path: file }, layout), parent);
  await Deno.remove(inner, { recursive: true });
});

Deno.test("cifar10() names the file that is missing, truncated, too long, damaged or mislabelled", async () => {
  const faults: [RegExp, (content: Map<string, Uint8Array<ArrayBuffer>>) => void][] = [
    [/has no data_batch_4\.bin; download .* and put it/, (c) => c.delete("data_batch_4.bin")],
    [
      /data_batch_2\.bin is truncated: 9218 bytes instead of 9219/,
      (c) => c.set("data_batch_2.bin", batch(1).slice(1)),
    ],
    [
      /test_batch\.bin is too long: 12292 bytes, but the published file has at most 9219/,
      (c) => c.set("test_batch.bin", batch(5, 4)),
    ],
    [/data_batch_5\.bin is damaged: its MD5/, (c) => c.get("data_batch_5.bin")![3072] ^= 1],
    [/data_batch_3\.bin is mislabelled: record 1 has class 10/, (c) => c.get("data_batch_3.bin")![3073] = 10],
  ];
  for (const [message, fault] of faults) {
    const content = files();
    fault(content);
    const dir = await folder(content);
    await rejects(dir, message);
    await Deno.writeFile(`${dir}/a.tar.gz`, await archive(content));
    await rejects(`${dir}/a.tar.gz`, new RegExp(message.source.replace("; download .* and put it", "")));
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("cifar10() recognises the Python version, CIFAR-100, a missing path and a file that is not an archive", async () => {
  const python = await folder(new Map([["data_batch_1", new Uint8Array(9)]]));
  await rejects(python, /Python version of CIFAR-10; download "CIFAR-10 binary version"/);
  const cifar100 = await folder(new Map([["train.bin", new Uint8Array(9)]]));
  await rejects(cifar100, /contains CIFAR-100/);
  await rejects(`${python}/nowhere`, /does not exist/);
  await rejects(`${python}/data_batch_1`, /not a complete gzip file/);
  for (const dir of [python, cifar100]) await Deno.remove(dir, { recursive: true });
});

Deno.test("cifar10() rejects an archive truncated or altered anywhere", async () => {
  const dir = await Deno.makeTempDir();
  const path = `${dir}/cifar-10-binary.tar.gz`;
  const whole = await archive();
  for (const length of [0, 1, 100, whole.length >> 1, Math.floor(whole.length * 0.9)]) {
    await Deno.writeFile(path, whole.slice(0, length));
    await rejects(path, /is empty|not a complete gzip file|truncated|has no/);
  }
  const unpacked = new Uint8Array(await tar(files()).arrayBuffer());
  unpacked[130] ^= 1; // a digit of the first file's size
  await Deno.writeFile(path, await gzip(new Blob([unpacked])));
  await rejects(path, /header's checksum is wrong/);
  await Deno.writeFile(path, await gzip(new Blob([unpacked.slice(0, 700)])));
  await rejects(path, /checksum|truncated/);
  await Deno.remove(dir, { recursive: true });
});

/** The content of a cache, without its lock. */
const left = (cache: string) =>
  [...Deno.readDirSync(cache)].map(({ name }) => name).filter((name) => !name.endsWith(".lock"));

/** Serves `answer` while `use` runs. */
async function served(answer: () => Response, use: (url: string) => Promise<void>): Promise<void> {
  await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, answer);
  await use(`http://127.0.0.1:${server.addr.port}/cifar-10-binary.tar.gz`);
}

Deno.test("cifar10() downloads once, with progress, into the cache", async () => {
  const cache = await Deno.makeTempDir();
  const bytes = await archive();
  let requests = 0;
  const answer = () => {
    requests++;
    return new Response(bytes);
  };
  await served(answer, async (url) => {
    const progress: [number, number | undefined][] = [];
    const onProgress = (received: number, total: number | undefined) => progress.push([received, total]);
    const loaded = await loadCifar10({ cache: `${cache}/new`, onProgress }, { ...layout, archive: { url } });
    assertEquals(progress.at(-1), [bytes.length, bytes.length]);
    assertEquals(await loadCifar10({ cache: `${cache}/new` }, { ...layout, archive: { url } }), loaded);
    assertEquals(requests, 1);
    assertEquals(left(`${cache}/new`), ["cifar-10-batches-bin"]);
    await Deno.truncate(`${cache}/new/cifar-10-batches-bin/test_batch.bin`, 100);
    await assertRejects(
      () => loadCifar10({ cache: `${cache}/new` }, { ...layout, archive: { url } }),
      LocalgradError,
      `or remove ${cache}/new/cifar-10-batches-bin to have the set downloaded again`,
    );
  });
  await Deno.remove(cache, { recursive: true });
});

Deno.test("cifar10() leaves nothing behind when a download fails, breaks off or is damaged", async () => {
  const cache = await Deno.makeTempDir();
  const bytes = await archive();
  const damaged = files();
  damaged.get("data_batch_1.bin")![5] ^= 255;
  const damagedArchive = await archive(damaged);
  const cases: [() => Response, RegExp][] = [
    [
      () => new Response("no", { status: 404 }),
      /could not be downloaded \(HTTP status 404\); download it by other means/,
    ],
    [() => new Response(bytes.slice(0, 900)), /not a complete gzip file|truncated/],
    [() => new Response(damagedArchive), /data_batch_1\.bin is damaged/],
  ];
  for (const [answer, message] of cases) {
    await served(answer, async (url) => {
      const error = await assertRejects(
        () => loadCifar10({ cache }, { ...layout, archive: { url } }),
        LocalgradError,
      );
      assert(message.test(error.message), error.message);
      assertEquals(left(cache), []);
    });
  }
  const listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const breaking = (async () => {
    const connection = await listener.accept();
    await connection.read(new Uint8Array(4096));
    const head = new TextEncoder().encode("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    await connection.write(head);
    await connection.write(bytes.slice(0, 300));
    connection.close();
  })();
  const url = `http://127.0.0.1:${(listener.addr as Deno.NetAddr).port}/`;
  const broken = await assertRejects(
    () => loadCifar10({ cache }, { ...layout, archive: { url } }),
    LocalgradError,
  );
  assert(/could not be downloaded \(/.test(broken.message), broken.message);
  await breaking;
  listener.close();
  const offline = await assertRejects(() => loadCifar10({ cache }, layout), LocalgradError);
  assert(/could not be downloaded/.test(offline.message), offline.message);
  assertEquals(left(cache), []);
  await Deno.remove(cache, { recursive: true });
});
