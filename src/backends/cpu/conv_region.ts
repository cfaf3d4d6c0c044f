import type { I32 } from "./wasm/expressions.ts";
import { i32, int } from "./wasm/scalars.ts";
import { f32x4, v128 } from "./wasm/vectors.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";
import { copyWords } from "./blocks.ts";
import { WORD } from "./tile.ts";

/**
 * A region of an NHWC image: some channels of `rows` × `columns` pixels, the leftmost in column `firstColumn`. It may
 * extend beyond the image.
 */
export interface Region {
  /** Height, width and channels of the image. */
  readonly image: readonly [number, number, number];
  /** The number of channels. */
  readonly channels: number;
  readonly rows: number;
  readonly firstColumn: number;
  readonly columns: number;
}

/** Bytes of a region's buffer. */
export function regionBytes({ channels, rows, columns }: Region): number {
  return rows * columns * channels * WORD;
}

/**
 * Copies a region whose first row is `firstRow` (signed; may be outside the image) to `buffer`, with zeros outside the
 * image. `image` is the address of the region's first channel.
 */
export function copyRegion(
  f: FunctionBuilder,
  region: Region,
  image: I32,
  firstRow: Local<"i32">,
  buffer: I32,
): void {
  const { image: [height, width, imageChannels], channels, rows, firstColumn, columns } = region;
  const [pixel, imagePixel] = [channels * WORD, imageChannels * WORD];
  const left = Math.min(columns, Math.max(0, -firstColumn));
  const inside = Math.max(0, Math.min(width, firstColumn + columns) - Math.max(0, firstColumn));
  const right = columns - left - inside;
  const source = f.int(i32.add(image, i32.mul(firstRow, width * imagePixel)));
  const target = f.int(buffer);
  const row = f.int(0);
  f.for(row, 0, rows, 1, () => {
    f.if(i32.ltU(i32.add(firstRow, row), height), () => {
      clearWords(f, target, left * channels);
      const from = i32.add(source, Math.max(0, firstColumn) * imagePixel);
      const to = i32.add(target, left * pixel);
      if (channels === imageChannels) copyWords(f, from, to, int(inside * channels));
      else copyPixels(f, f.int(from), f.int(to), { count: inside, channels, imageChannels });
      clearWords(f, i32.add(target, (left + inside) * pixel), right * channels);
    }, () => clearWords(f, target, columns * channels));
    f.increment(source, width * imagePixel);
    f.increment(target, columns * pixel);
  });
}

/** Copies some channels of successive pixels. */
function copyPixels(
  f: FunctionBuilder,
  from: Local<"i32">,
  to: Local<"i32">,
  { count, channels, imageChannels }: { count: number; channels: number; imageChannels: number },
): void {
  const whole = channels & -4;
  const end = f.int(i32.add(to, count * channels * WORD));
  f.while(i32.ltU(to, end), () => {
    for (let c = 0; c < whole; c += 4) f.do(v128.store(to, v128.load(from, c * WORD), c * WORD));
    for (let c = whole; c < channels; c++) f.do(i32.store(to, i32.load(from, c * WORD), c * WORD));
    f.increment(from, imageChannels * WORD);
    f.increment(to, channels * WORD);
  });
}

/** Sets `count` words to zero. */
function clearWords(f: FunctionBuilder, address: I32, count: number): void {
  if (count === 0) return;
  const at = f.int(address);
  const end = f.int(i32.add(at, (count & -4) * WORD));
  f.while(i32.ltU(at, end), () => {
    f.do(v128.store(at, f32x4.constant(0)));
    f.increment(at, 16);
  });
  for (let rest = 0; rest < count % 4; rest++) f.do(i32.store(at, 0, rest * WORD));
}
