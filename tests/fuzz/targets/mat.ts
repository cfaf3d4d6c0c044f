import { deflateSync, inflateSync } from "node:zlib";
import { readMat } from "../../../src/data/mat.ts";
import { fixtures } from "../../dataset_files.ts";
import type { MakeTarget } from "../harness.ts";
import { damaged } from "../mutate.ts";

const HEADER = 128;
const MOST = 1 << 20;

/** Valid files, and the uncompressed arrays of one of them. */
const seeds = ["plain.mat", "compressed.mat", "svhn/test_32x32.mat"].map((name) =>
  Deno.readFileSync(`${fixtures}/${name}`)
);
const header = seeds[0].subarray(0, HEADER);
const arrays = compressedElements(seeds[1]).map((element) => new Uint8Array(inflateSync(element)));

function compressedElements(file: Uint8Array): Uint8Array[] {
  const view = new DataView(file.buffer, file.byteOffset);
  const found: Uint8Array[] = [];
  for (let at = HEADER; at < file.length; at += 8 + view.getUint32(at + 4, true)) {
    found.push(file.subarray(at + 8, at + 8 + view.getUint32(at + 4, true)));
  }
  return found;
}

/** A file of one array, damaged before compression, so that its checksum does not reveal the damage. */
function compressed(array: Uint8Array): Uint8Array<ArrayBuffer> {
  const body = deflateSync(array);
  const tag = new Uint8Array(Uint32Array.of(15, body.length).buffer);
  return Uint8Array.from([...header, ...tag, ...body]);
}

/** `readMat`, whose result must not exceed its limit of inflated bytes. */
export const target: MakeTarget = () => ({
  input: (random) => random.percent(50) ? compressed(damaged(random, arrays)) : damaged(random, seeds),
  read(input) {
    for (const { shape, data } of readMat(input, "x.mat", MOST).values()) {
      if (shape.reduce((size, extent) => size * extent, 1) !== data.length) throw new Error("a wrong shape");
      if (data.length > MOST) throw new Error("more than it may inflate");
    }
  },
  // Deno keeps zlib's memory of a failed inflation until garbage is collected, which is late, as V8 sees little of it.
  bytes: 2 ** 31,
});
