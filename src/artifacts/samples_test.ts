/** PNGs, the file of samples, and their part of a report. */

import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { inFolder } from "../../tests/in_folder.ts";
import { crc32 } from "../base/crc32.ts";
import { LocalgradError } from "../base/errors.ts";
import { encodePng } from "./png.ts";
import { readSamples, type Samples, samplesSection, writeSamples } from "./samples.ts";

const SAMPLES: Samples = {
  of: "test",
  among: 1000,
  wrong: [{ label: 1, predicted: 0, probability: 0.876, png: "AA==" }],
  right: [{ label: 0, predicted: 0, probability: 0.5, png: "AAAA" }],
};

/** The chunks of a PNG by type; checks lengths and checksums. */
function chunks(png: Uint8Array<ArrayBuffer>): Map<string, Uint8Array<ArrayBuffer>> {
  const view = new DataView(png.buffer);
  const found = new Map<string, Uint8Array<ArrayBuffer>>();
  for (let at = 8; at < png.length;) {
    const length = view.getUint32(at);
    assertEquals(view.getUint32(at + 8 + length), crc32(png.subarray(at + 4, at + 8 + length)));
    found.set(new TextDecoder().decode(png.subarray(at + 4, at + 8)), png.slice(at + 8, at + 8 + length));
    at += 12 + length;
  }
  return found;
}

Deno.test("encodePng() writes rows without a filter, in grey or RGB", async () => {
  assertEquals(crc32(new TextEncoder().encode("123456789")), 0xcbf43926); // the check value of CRC-32
  for (const [channels, type] of [[1, 0], [3, 2]] as const) {
    const pixels = Uint8Array.from({ length: 2 * 3 * channels }, (_, i) => 10 * i);
    const png = Uint8Array.from(await encodePng(pixels, 2, 3, channels));
    assertEquals([...png.subarray(0, 8)], [137, 80, 78, 71, 13, 10, 26, 10]);
    const parts = chunks(png);
    assertEquals([...parts.keys()], ["IHDR", "IDAT", "IEND"]);
    assertEquals([...parts.get("IHDR") ?? []], [0, 0, 0, 3, 0, 0, 0, 2, 8, type, 0, 0, 0]);
    const zlib = new Blob([parts.get("IDAT") ?? ""]).stream().pipeThrough(new DecompressionStream("deflate"));
    const rows = [...new Uint8Array(await new Response(zlib).arrayBuffer())];
    const row = 3 * channels;
    assertEquals(rows, [0, ...pixels.subarray(0, row), 0, ...pixels.subarray(row)]);
  }
});

Deno.test("samples are read as they were written; a damaged file is refused", () =>
  inFolder(async (dir) => {
    assertEquals(await readSamples(dir), undefined);
    await writeSamples(dir, SAMPLES);
    assertEquals(await readSamples(dir), SAMPLES);
    const path = `${dir}/samples.json`;
    const written = JSON.parse(await Deno.readTextFile(path));
    const cases: [unknown, string][] = [
      [{ ...written, format: 2 }, "has format 2"],
      [{ ...written, right: [{ ...SAMPLES.right[0], png: '"><script>' }] }, "right[0].png"],
      [{ ...written, among: -1 }, "among is -1"],
    ];
    for (const [content, message] of cases) {
      await Deno.writeTextFile(path, JSON.stringify(content));
      await assertRejects(() => readSamples(dir), LocalgradError, message);
    }
  }));

Deno.test("samplesSection() names classes, escaped, and what errors are of", () => {
  const html = samplesSection(SAMPLES, ["<cat>"]);
  assertStringIncludes(html, "Chosen from the first 1,000 test images.");
  assertStringIncludes(
    html,
    `src="data:image/png;base64,AA==" alt="1"><b>&lt;cat&gt; 88 %</b><span>is 1</span>`,
  );
  assertStringIncludes(html, `alt="&lt;cat&gt;"><b>&lt;cat&gt; 50 %</b></li>`);
  assertEquals(samplesSection({ ...SAMPLES, wrong: [] }).includes("errors"), false);
});
