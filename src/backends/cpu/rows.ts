import { f32x4, type I32, i32, int, v128 } from "./wasm/expressions.ts";
import type { FunctionBuilder, Local } from "./wasm/module.ts";
import { copyWords } from "./blocks.ts";
import { WORD } from "./tile.ts";

/** A window of an NHWC image: `rows` × `columns` pixels of which `firstColumn` is the leftmost; parts of it may lie outside. */
export interface Window {
  /** Height, width and channels of the image. */
  readonly image: readonly [number, number, number];
  readonly rows: number;
  readonly firstColumn: number;
  readonly columns: number;
}

/** Bytes of a window's buffer. */
export function windowBytes({ image, rows, columns }: Window): number {
  return rows * columns * image[2] * WORD;
}

/** Copies a window whose first row is `firstRow` (signed, maybe outside) to `buffer`, with zeros outside the image. */
export function copyWindow(
  f: FunctionBuilder,
  window: Window,
  image: I32,
  firstRow: Local<"i32">,
  buffer: I32,
): void {
  const { image: [height, width, channels], rows, firstColumn, columns } = window;
  const pixel = channels * WORD;
  const left = Math.min(columns, Math.max(0, -firstColumn));
  const inside = Math.max(0, Math.min(width, firstColumn + columns) - Math.max(0, firstColumn));
  const right = columns - left - inside;
  const source = f.int(i32.add(image, i32.mul(firstRow, width * pixel)));
  const target = f.int(buffer);
  const row = f.int(0);
  f.for(row, 0, rows, 1, () => {
    f.if(i32.ltU(i32.add(firstRow, row), height), () => {
      clearWords(f, target, left * channels);
      copyWords(
        f,
        i32.add(source, Math.max(0, firstColumn) * pixel),
        i32.add(target, left * pixel),
        int(inside * channels),
      );
      clearWords(f, i32.add(target, (left + inside) * pixel), right * channels);
    }, () => clearWords(f, target, columns * channels));
    f.increment(source, width * pixel);
    f.increment(target, columns * pixel);
  });
}

/** Sets `count` words to zero. */
export function clearWords(f: FunctionBuilder, address: I32, count: number): void {
  if (count === 0) return;
  const at = f.int(address);
  const end = f.int(i32.add(at, (count & -4) * WORD));
  f.while(i32.ltU(at, end), () => {
    f.do(v128.store(at, f32x4.constant(0)));
    f.increment(at, 16);
  });
  for (let rest = 0; rest < count % 4; rest++) f.do(i32.store(at, 0, rest * WORD));
}
