import { assertEquals, assertRejects } from "@std/assert";
import { createHash } from "node:crypto";
import { LocalgradError } from "../base/errors.ts";
import { download } from "./download.ts";

const content = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7919) >> 5);
const md5 = createHash("md5").update(content).digest("hex");

/** Downloads from a server with these responses; the file contains what was received, if anything. */
async function from(
  answer: () => Response | Promise<Response>,
  published: { readonly bytes?: number; readonly md5?: string },
  patience = 5000,
): Promise<
  { readonly bytes: Uint8Array; readonly told: readonly (readonly [number, number | undefined])[] }
> {
  const dir = await Deno.makeTempDir();
  await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, answer);
  const told: [number, number | undefined][] = [];
  try {
    const url = `http://127.0.0.1:${server.addr.port}/set`;
    const onProgress = (...of: [number, number | undefined]) => void told.push(of);
    await download({ url, ...published }, `${dir}/set`, { patience, onProgress });
    return { bytes: await Deno.readFile(`${dir}/set`), told };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("download() writes the file and reports progress", async () => {
  for (const published of [{}, { bytes: content.length }, { bytes: content.length, md5 }]) {
    const { bytes, told } = await from(() => new Response(content), published);
    assertEquals(bytes, content);
    assertEquals(told.at(-1), [content.length, content.length]);
  }
  // Without a length, from the server or published, no total is reported.
  const { bytes, told } = await from(() => new Response(new Blob([content]).stream()), { md5 });
  assertEquals([bytes, told.at(-1)], [content, [content.length, undefined]]);
});

Deno.test("download() rejects a file that is not the published one as soon as it can tell", async () => {
  const streamed = () => new Response(new Blob([content]).stream());
  const cases: [() => Response, { bytes?: number; md5?: string }, string][] = [
    [
      () => new Response(content),
      { bytes: 299_999 },
      "(it has 300000 bytes instead of the published 299999)",
    ],
    [streamed, { bytes: 299_999 }, "(it is longer than 299999 bytes)"],
    [streamed, { bytes: 300_001 }, "(it ended after 300000 of 300001 bytes)"],
    [streamed, { md5: "0".repeat(32) }, "/set is damaged: its MD5 is not the published 00000"],
    [() => new Response(content, { status: 404 }), {}, "(HTTP status 404)"],
  ];
  for (const [answer, published, message] of cases) {
    await assertRejects(() => from(answer, published), LocalgradError, message);
  }
});

Deno.test("download() gives up on a server that stalls, before or within its response", async () => {
  const silent = Promise.withResolvers<Response>();
  const late = setTimeout(() => silent.resolve(new Response("late")), 800);
  await assertRejects(() => from(() => silent.promise, {}, 100), LocalgradError, "(no data for 0.1 s)");
  clearTimeout(late);
  const half = () =>
    new Response(
      new ReadableStream({
        start: (controller) => controller.enqueue(content.subarray(0, 1000)),
        pull: () => new Promise(() => {}),
      }),
    );
  await assertRejects(() => from(half, {}, 100), LocalgradError, "(no data for 0.1 s)");
  // A slow server is waited for: only the time without data counts.
  let at = 0;
  const slow = () =>
    new Response(
      new ReadableStream({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve, 40));
          controller.enqueue(content.subarray(at, at += 15_000));
          if (at >= content.length) controller.close();
        },
      }),
    );
  assertEquals((await from(slow, { md5 }, 500)).bytes, content);
});
