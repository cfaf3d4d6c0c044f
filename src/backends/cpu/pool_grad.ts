import { sizeOf } from "../../trace/dtype.ts";
import type { PoolAttrs } from "../../trace/ops.ts";
import type { I32 } from "./wasm/expressions.ts";
import { i32, int } from "./wasm/scalars.ts";
import { f32x4, i32x4, v128 } from "./wasm/vectors.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";
import { FAN, LongSum } from "./long_sum.ts";
import { avgPoolGradTiles, isTiled } from "./pool_tiles.ts";
import {
  eachResult,
  firstMaximum,
  launch,
  type PoolShapes,
  type PoolWriter,
  type Range,
  resultRows,
  type Taps,
} from "./pool_windows.ts";
import type { Launch, Launches, Operand } from "./routine.ts";
import { storeColumns, WORD } from "./tile.ts";

/** The most windows that contain one pixel. */
function covering({ y }: PoolShapes, { window, strides }: PoolAttrs): number {
  const [down, across] = [0, 1].map((axis) => Math.min(Math.ceil(window[axis] / strides[axis]), y[1 + axis]));
  return down * across;
}

/** `maxPoolGrad(image, dy)`: if many windows may share a pixel, a first pass finds their maxima. */
export function maxPoolGrad(
  shapes: PoolShapes,
  attrs: PoolAttrs,
  image: Operand,
  dy: Operand,
  dx: Operand,
): Launches {
  if (covering(shapes, attrs) <= FAN) {
    return { launches: [spreadToMaxima(shapes, attrs, image, dy, dx)], workspace: 0 };
  }
  const places: Operand = { workspace: 0 };
  return {
    launches: [
      maximumPlaces(shapes, attrs, image, places),
      sumWindows("maxPoolGrad of many windows", shapes, attrs, [dy, places], dx),
    ],
    workspace: sizeOf(shapes.y) * WORD,
  };
}

/** Rows of windows of a task. */
const BAND_WINDOWS = 8;

/**
 * Adds each window's gradient to its maximum. A task has a band of pixel rows, and reads all windows that reach into it, so
 * those between two bands are read twice; memory is traversed in order.
 */
function spreadToMaxima(
  shapes: PoolShapes,
  attrs: PoolAttrs,
  image: Operand,
  dy: Operand,
  dx: Operand,
): Launch {
  const [images, height, width, channels] = shapes.image;
  const bandRows = BAND_WINDOWS * attrs.strides[0];
  const bands = Math.ceil(height / bandRows);
  return launch("maxPoolGrad", shapes, attrs, images * bands, [image, dy, dx], (w, context) => {
    const { f, task, operands: [from, gradient, to] } = context;
    const n = f.int(i32.divU(task, bands));
    const first = f.int(i32.mul(i32.remU(task, bands), bandRows));
    const end = f.int(i32.min(i32.add(first, bandRows), height));
    /** The band's first pixel and its size, in bytes from the first image's first pixel. */
    const start = f.int(w.pixel(int(0), shapes.image, n, first, int(0)));
    const bytes = f.int(i32.mul(i32.sub(end, first), width * channels * WORD));
    clear(f, f.int(i32.add(to, start)), bytes);
    const rows: Range = { from: w.windows(0, first).from, to: w.windows(0, i32.sub(end, 1)).to };
    const [p, q] = [f.int(0), f.int(0)];
    f.for(p, rows.from, rows.to, 1, () => {
      f.for(q, 0, shapes.y[2], 1, () => {
        const taps = w.taps(p, q);
        const tapsAt = f.int(w.firstTap(int(0), n, p, q));
        const source = f.int(w.pixel(gradient, shapes.y, n, p, q));
        w.channelVectors(0, channels, (offset, lanes) => {
          const picked = placeOfMaximum(w, taps, from, offset, tapsAt);
          const at = f.int(i32.add(source, offset));
          for (let lane = 0; lane < lanes; lane++) {
            const place = f.int(i32x4.lane(picked, lane));
            f.if(i32.ltU(i32.sub(place, start), bytes), () => {
              const target = f.int(i32.add(i32.add(to, offset), place));
              const sum = f32x4.add(
                v128.load32Zero(target, lane * WORD),
                v128.load32Zero(at, lane * WORD),
              );
              f.do(v128.store32Lane(target, sum, 0, lane * WORD));
            });
          }
        });
      });
    });
  });
}

/** Sets words to 0. */
function clear(f: FunctionBuilder, target: Local<"i32">, bytes: I32): void {
  const end = f.int(i32.add(target, bytes));
  const whole = f.int(i32.add(target, i32.and(bytes, -16)));
  f.while(i32.ltU(target, whole), () => {
    f.do(v128.store(target, f32x4.constant(0)));
    f.increment(target, 16);
  });
  f.while(i32.ltU(target, end), () => {
    f.do(i32.store(target, int(0)));
    f.increment(target, WORD);
  });
}

/**
 * The place of each window's maximum, `[n, p, q, c]`: the byte offset of its pixel from the first image's first pixel.
 */
function maximumPlaces(shapes: PoolShapes, attrs: PoolAttrs, image: Operand, places: Operand): Launch {
  return launch("maximumPlaces", shapes, attrs, resultRows(shapes), [image, places], (w, context) => {
    const { f, operands: [from, to] } = context;
    eachResult(w, context, (n, p, q, taps) => {
      const tapsAt = f.int(w.firstTap(int(0), n, p, q));
      w.channelVectors(0, w.channels, (offset, lanes) => {
        const picked = placeOfMaximum(w, taps, from, offset, tapsAt);
        const target = f.int(i32.add(w.pixel(to, shapes.y, n, p, q), offset));
        storeColumns(f, target, 0, [picked], lanes);
      });
    });
  });
}

/**
 * For each lane, the byte offset from the first pixel of the images at `from` of the maximum of a window, whose tap (0, 0)
 * is at byte offset `tapsAt`.
 */
function placeOfMaximum(
  w: PoolWriter,
  taps: Taps,
  from: I32,
  offset: I32,
  tapsAt: I32,
): Local<"v128"> {
  const { f } = w;
  const first = f.int(i32.add(i32.add(from, offset), tapsAt));
  return firstMaximum(w, taps, (tap, constant) => ({
    value: f.local("v128", v128.load(i32.add(first, tap), constant)),
    picked: f.local("v128", i32x4.splat(i32.add(i32.add(tapsAt, tap), constant))),
  })).picked;
}

/** `avgPoolGrad(dy)`. */
export function avgPoolGrad(shapes: PoolShapes, attrs: PoolAttrs, dy: Operand, dx: Operand): Launch {
  if (isTiled(shapes, attrs)) return avgPoolGradTiles(shapes, attrs, dy, dx);
  return sumWindows("avgPoolGrad", shapes, attrs, [dy], dx, 1 / (attrs.window[0] * attrs.window[1]));
}

/**
 * For every pixel, the sum of the gradients of the windows that contain it: of all of them, times `share`, or of those
 * whose maximum it is, by `places`.
 */
function sumWindows(
  name: string,
  shapes: PoolShapes,
  attrs: PoolAttrs,
  [dy, places]: readonly [Operand, Operand?],
  dx: Operand,
  share?: number,
): Launch {
  const [images, height, width] = shapes.image;
  const operands = places === undefined ? [dy, dx] : [dy, dx, places];
  return launch(name, shapes, attrs, images * height, operands, (w, context) => {
    const { f, task, operands: [from, to, placesAt] } = context;
    const n = f.int(i32.divU(task, height));
    const row = f.int(i32.remU(task, height));
    const column = f.int(0);
    const rows = w.windows(0, row);
    f.for(column, 0, width, 1, () => {
      const columns = w.windows(1, column);
      const here = f.local("v128", i32x4.splat(w.pixel(int(0), shapes.image, n, row, column)));
      w.channelVectors(0, w.channels, (offset, lanes) => {
        const sum = new LongSum(f, covering(shapes, attrs));
        w.each(rows, columns, (p, q) => {
          const at = f.int(i32.add(w.pixel(int(0), shapes.y, n, p, q), offset));
          const gradient = v128.load(i32.add(from, at));
          if (places === undefined) sum.add(gradient);
          else sum.add(v128.and(gradient, i32x4.eq(v128.load(i32.add(placesAt, at)), here)));
        });
        const target = f.int(i32.add(w.pixel(to, shapes.image, n, row, column), offset));
        const total = share === undefined ? sum.total() : f32x4.mul(sum.total(), f32x4.constant(share));
        storeColumns(f, target, 0, [total], lanes);
      });
    });
  });
}
