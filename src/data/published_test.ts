import { assert, assertEquals, assertRejects } from "@std/assert";
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { tarOf } from "../../tests/dataset_files.ts";
import { inFolder } from "../../tests/in_folder.ts";
import { LocalgradError } from "../base/errors.ts";
import type { Publication } from "./publication.ts";
import { readPublished } from "./published.ts";

const text = (value: string) => new TextEncoder().encode(value);
const sum = (bytes: Uint8Array) => createHash("md5").update(bytes).digest("hex");
const names = (dir: string) => [...Deno.readDirSync(dir)].map(({ name }) => name).sort();

/** A set of one file, published at `url`; records what is parsed. */
function onePage(url: string, md5: string, parsed: string[] = []): Publication {
  return {
    name: "A set",
    home: "http://home/",
    what: '"The set"',
    folder: "set",
    files: { "a.bin": 5 },
    from: { each: { "a.bin": { url, bytes: 5, md5 } } },
    md5: { "a.bin": md5 },
    check: (bytes) => void parsed.push(new TextDecoder().decode(bytes)),
  };
}

Deno.test("a download is parsed only after its MD5 is verified", () =>
  inFolder(async (cache) => {
    let body = "wrong";
    await using server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      () => new Response(body),
    );
    const parsed: string[] = [];
    const set = onePage(`http://127.0.0.1:${server.addr.port}/`, sum(text("right")), parsed);
    await assertRejects(() => readPublished(set, { cache }), LocalgradError, "its MD5 is not the published");
    assertEquals([parsed, names(cache)], [[], ["set.lock"]]);
    body = "right";
    assertEquals(await readPublished(set, { cache }), new Map([["a.bin", text("right")]]));
    assertEquals([parsed, names(cache), names(`${cache}/set`)], [["right"], ["set", "set.lock"], ["a.bin"]]);
  }));

Deno.test("concurrent loads of one set download it once", () =>
  inFolder(async (cache) => {
    let requests = 0;
    await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async () => {
      requests++;
      await new Promise((resolve) => setTimeout(resolve, 50));
      return new Response("right");
    });
    const set = onePage(`http://127.0.0.1:${server.addr.port}/`, sum(text("right")));
    const all = await Promise.all([1, 2, 3].map(() => readPublished(set, { cache })));
    for (const files of all) assertEquals(files, new Map([["a.bin", text("right")]]));
    assertEquals([requests, names(cache)], [1, ["set", "set.lock"]]);
  }));

Deno.test("the next download removes what killed ones left", () =>
  inFolder(async (cache) => {
    let hang = true;
    await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, () => {
      const start = (controller: ReadableStreamDefaultController) => controller.enqueue(text("rig"));
      return new Response(hang ? new ReadableStream({ start, pull: () => new Promise(() => {}) }) : "right");
    });
    const url = `http://127.0.0.1:${server.addr.port}/`;
    // Named as by earlier versions; and a file of the user's, which is not ours.
    await Deno.mkdir(`${cache}/set.0a1b2c.part`);
    await Deno.writeTextFile(`${cache}/settled.part`, "mine");
    const script = `
      import { readPublished } from ${JSON.stringify(new URL("published.ts", import.meta.url).href)};
      const from = { each: { "a.bin": { url: "${url}", bytes: 5 } } };
      await readPublished({ folder: "set", files: { "a.bin": 5 }, from, md5: {}, check() {} }, { cache: "${cache}" });
    `;
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--quiet",
        "--no-check",
        `--allow-read=${cache}`,
        `--allow-write=${cache}`,
        "--allow-net=127.0.0.1",
        "-",
      ],
      stdin: "piped",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(text(script));
    await writer.close();
    const began = () => Deno.stat(`${cache}/set.part/a.bin`).then(({ size }) => size === 3, () => false);
    while (!await began()) await new Promise((resolve) => setTimeout(resolve, 20));
    child.kill("SIGKILL");
    await child.status;
    hang = false;
    await readPublished(onePage(url, sum(text("right"))), { cache });
    assertEquals(names(cache), ["set", "set.lock", "settled.part"]);
    assertEquals(names(`${cache}/set`), ["a.bin"]);
  }));

Deno.test("a file that is not regular, or longer than the published one, is refused before it is read", {
  ignore: Deno.build.os === "windows",
}, () =>
  inFolder(async (dir) => {
    const set = onePage("http://127.0.0.1:1/", "");
    await Deno.writeTextFile(`${dir}/a.bin`, "sixsix");
    await assertRejects(
      () => readPublished(set, { path: dir }),
      LocalgradError,
      `${dir}/a.bin is too long: 6 bytes, but the published file has at most 5`,
    );
    await Deno.remove(`${dir}/a.bin`);
    await new Deno.Command("mkfifo", { args: [`${dir}/a.bin`] }).output();
    const archived = { ...set, from: { archive: { url: "" } } };
    for (const [path, of] of [[dir, set], [`${dir}/a.bin`, archived]] as const) {
      await assertRejects(
        () => readPublished(of, { path }),
        LocalgradError,
        `${dir}/a.bin is not a regular file`,
      );
    }
  }));

Deno.test("an archive and its files are limited to the published sizes", () =>
  inFolder(async (dir) => {
    const headers = 1 << 20;
    const set: Publication = { ...onePage("", ""), from: { archive: { url: "" } }, others: 1000 };
    const path = `${dir}/set.tar.gz`;
    const write = (files: Record<string, Uint8Array>) => Deno.writeFile(path, gzipSync(tarOf(files)));
    await write({ "set/other": new Uint8Array(1000), "set/a.bin": text("right") });
    assertEquals(await readPublished(set, { path }), new Map([["a.bin", text("right")]]));
    await write({ "set/a.bin": text("sixsix") });
    await assertRejects(
      () => readPublished(set, { path }),
      LocalgradError,
      `${path}: a.bin is too long: 6 bytes, but the published file has at most 5`,
    );
    await write({ "set/other": new Uint8Array(1000 + headers), "set/a.bin": text("right") });
    const error = await assertRejects(() => readPublished(set, { path }), LocalgradError);
    assert(
      error.message.includes(`decompresses to more than the published ${5 + 1000 + headers} bytes`),
      error.message,
    );
  }));

Deno.test("a cache that cannot be written is named, with the reason", () =>
  inFolder(async (dir) => {
    await Deno.writeTextFile(`${dir}/file`, "");
    await using server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      () => new Response("right"),
    );
    const set = onePage(`http://127.0.0.1:${server.addr.port}/`, sum(text("right")));
    const load = (cache: string) => readPublished(set, { cache });
    await assertRejects(
      () => load(`${dir}/file/in`),
      LocalgradError,
      `the folder ${dir}/file/in cannot be made: `,
    );
    await Deno.mkdir(`${dir}/set.lock`);
    await assertRejects(() => load(dir), LocalgradError, `${dir}/set.lock cannot be written: it is a folder`);
  }));
