/** Small files in the formats of the data sets, for tests. */

import { fromFileUrl } from "@std/path";
import { crc32, deflateSync } from "node:zlib";
import { hash } from "./fixtures/formula.ts";

/** The folder of the small files. */
export const fixtures = fromFileUrl(new URL("fixtures/datasets", import.meta.url));

/** Files, by their paths relative to a folder. */
export type Files = Record<string, Uint8Array>;

/** Writes files into a folder. */
export async function write(dir: string, files: Files): Promise<void> {
  for (const [name, bytes] of Object.entries(files)) {
    const path = `${dir}/${name}`;
    await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    await Deno.writeFile(path, bytes);
  }
}

const picture = (name: string) => Deno.readFileSync(`${fixtures}/images/${name}`);

/** Photographs in folders: three of each class to train on, one test image. */
export const photographs = (): Files => ({
  "train/daisy/1.jpg": picture("baseline.jpg"),
  "train/daisy/2.jpg": picture("progressive.jpg"),
  "train/daisy/3.png": picture("palette.png"),
  "train/roses/1.jpg": picture("grey.jpg"),
  "train/roses/2.jpg": picture("cmyk.jpg"),
  "train/roses/3.png": picture("deep.png"),
  "val/daisy/1.jpg": picture("subsampled.jpg"),
  "val/roses/1.jpg": picture("turned.jpg"),
});

/** SVHN's two files. */
export const svhn = (): Files =>
  Object.fromEntries(
    ["train_32x32.mat", "test_32x32.mat"].map((name) => [
      name,
      Deno.readFileSync(`${fixtures}/svhn/${name}`),
    ]),
  );

/** The four files of MNIST, by idx2numpy. */
export const mnist = (): Files =>
  Object.fromEntries(
    ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"].map((name) => [
      `${name}-ubyte.gz`,
      Deno.readFileSync(fromFileUrl(new URL(`fixtures/image_files/mnist/${name}-ubyte.gz`, import.meta.url))),
    ]),
  );

/** STL-10's four files, of noise: training and test images. */
export const stl10 = (train: number, test: number): Files =>
  Object.fromEntries(
    ([["train", train], ["test", test]] as const).flatMap(([part, count]) => [
      [
        `${part}_X.bin`,
        Uint8Array.from({ length: count * 96 * 96 * 3 }, (_, i) => hash(`stl.${part}`, i) >>> 24),
      ],
      [`${part}_y.bin`, Uint8Array.from({ length: count }, (_, i) => i % 10 + 1)],
    ]),
  );

/** A tar archive of these files. */
export function tarOf(files: Files): Uint8Array<ArrayBuffer> {
  const text = (value: string) => new TextEncoder().encode(value);
  const blocks = Object.entries(files).flatMap(([name, bytes]) => {
    const header = new Uint8Array(512);
    header.set(text(name));
    header.set(text(bytes.length.toString(8).padStart(11, "0")), 124);
    header.set(text("        0"), 148);
    header.set(text(header.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, "0") + "\0"), 148);
    return [...header, ...bytes, ...new Uint8Array((512 - bytes.length % 512) % 512)];
  });
  return Uint8Array.from([...blocks, ...new Uint8Array(1024)]);
}

/** A grey PNG of this size and a uniform brightness, with 8 or 16 bits per pixel. */
export function greyPng(
  width: number,
  height: number,
  brightness: readonly number[],
): Uint8Array<ArrayBuffer> {
  const chunk = (kind: string, data: Uint8Array) => {
    const chunk = new Uint8Array(data.length + 12);
    const view = new DataView(chunk.buffer);
    view.setUint32(0, data.length);
    chunk.set(new TextEncoder().encode(kind), 4);
    chunk.set(data, 8);
    view.setUint32(data.length + 8, crc32(chunk.subarray(4, data.length + 8)));
    return chunk;
  };
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 8 * brightness.length;
  const row = new Uint8Array(1 + width * brightness.length); // the first byte of a row is its filter: none
  for (let at = 1; at < row.length; at += brightness.length) row.set(brightness, at);
  const rows = new Uint8Array(height * row.length);
  for (let at = 0; at < rows.length; at += row.length) rows.set(row, at);
  return Uint8Array.from([
    ...[0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10],
    ...chunk("IHDR", header),
    ...chunk("IDAT", deflateSync(rows)),
    ...chunk("IEND", new Uint8Array()),
  ]);
}
