import { gunzipSync } from "node:zlib";
import { mnist as load } from "../../../src/data/mnist.ts";
import { mnist } from "../../dataset_files.ts";
import type { MakeTarget } from "../harness.ts";
import { checkImages } from "../images.ts";
import { damaged } from "../mutate.ts";

const files = Object.entries(mnist());
const packed = files.map(([, bytes]) => new Uint8Array(bytes));
const plain = packed.map((bytes) => new Uint8Array(gunzipSync(bytes)));

/** `mnist` on a folder with a damaged file, compressed or not. */
export const target: MakeTarget = async (folder) => {
  for (const [name, bytes] of files) await Deno.writeFile(`${folder}/${name}`, bytes);
  return {
    input(random) {
      const file = random.below(files.length);
      const input = damaged(random, [random.percent(30) ? packed[file]! : plain[file]!]);
      return Uint8Array.from([file, ...input]);
    },
    async read([file = 0, ...input]) {
      const [name, whole] = files[file]!;
      await Deno.writeFile(`${folder}/${name}`, Uint8Array.from(input));
      try {
        checkImages(await load({ path: folder }));
      } finally {
        await Deno.writeFile(`${folder}/${name}`, whole);
      }
    },
  };
};
