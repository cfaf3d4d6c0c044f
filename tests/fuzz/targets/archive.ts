import { gzipSync } from "node:zlib";
import type { Publication } from "../../../src/data/publication.ts";
import { readPublished } from "../../../src/data/published.ts";
import { tarOf } from "../../dataset_files.ts";
import type { MakeTarget } from "../harness.ts";
import { damaged } from "../mutate.ts";
import type { Random } from "../random.ts";

const content = Uint8Array.from({ length: 700 }, (_, i) => i * 31 >> 3);
const tar = tarOf({ "set/other": content, "set/a.bin": content.subarray(0, 600), "set/b.bin": content });
const zipped = [
  gzipSync(tar),
  Uint8Array.from([...gzipSync(tar.subarray(0, 900)), ...gzipSync(tar.subarray(900))]),
];

const set: Publication = {
  name: "A set",
  home: "http://home/",
  what: "the set",
  folder: "set",
  files: { "a.bin": 600, "b.bin": 700 },
  from: { archive: { url: "" } },
  others: 1000,
  md5: {},
  check() {},
};

/** An archive damaged before compression, in one or two members, with its headers' checksums corrected or not. */
function archive(random: Random): Uint8Array<ArrayBuffer> {
  const bytes = damaged(random, [tar]);
  for (let at = 0; random.percent(70) && at + 512 <= bytes.length; at += 512) {
    const sum = bytes.subarray(at, at + 512)
      .reduce((sum, byte, i) => sum + (i >= 148 && i < 156 ? 32 : byte), 0);
    bytes.set(new TextEncoder().encode(sum.toString(8).padStart(6, "0") + "\0 "), at + 148);
  }
  return Uint8Array.from(gzipSync(bytes));
}

/** Reads a published data set from an archive; no file may be longer than published. */
export const target: MakeTarget = (folder) => {
  const path = `${folder}/set.tar.gz`;
  return {
    input: (random) => random.percent(70) ? archive(random) : damaged(random, zipped),
    async read(input) {
      await Deno.writeFile(path, input);
      for (const [name, { length }] of await readPublished(set, { path })) {
        if (length > set.files[name]) throw new Error(`${name} has ${length} bytes`);
      }
    },
  };
};
