import { sizeOf } from "../../trace/dtype.ts";
import type { PoolAttrs } from "../../trace/ops.ts";
import type { I32 } from "./wasm/expressions.ts";
import { i32, int } from "./wasm/scalars.ts";
import { f32x4, i32x4, v128 } from "./wasm/vectors.ts";
import type { Local } from "./wasm/function.ts";
import { FAN, LongSum } from "./long_sum.ts";
import {
  eachResult,
  firstMaximum,
  launch,
  type PoolShapes,
  type PoolWriter,
  type Range,
  resultRows,
} from "./pool_windows.ts";
import type { Launch, Launches, Operand } from "./routine.ts";
import { storeColumns, WORD } from "./tile.ts";

/** Channels of a task; windows may overlap, so a task covers a whole image. */
const TASK_CHANNELS = 16;

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

/** Adds each window's gradient to its maximum. */
function spreadToMaxima(
  shapes: PoolShapes,
  attrs: PoolAttrs,
  image: Operand,
  dy: Operand,
  dx: Operand,
): Launch {
  const pieces = Math.ceil(shapes.image[3] / TASK_CHANNELS);
  return launch("maxPoolGrad", shapes, attrs, shapes.image[0] * pieces, [image, dy, dx], (w, context) => {
    const { f, task, operands: [from, gradient, to] } = context;
    const [, height, width, channels] = shapes.image;
    const n = f.int(i32.divU(task, pieces));
    const first = f.int(i32.mul(i32.remU(task, pieces), TASK_CHANNELS));
    const end = f.int(i32.min(i32.add(first, TASK_CHANNELS), channels));
    const range = (count: number): Range => ({ from: f.int(0), to: f.int(count) });
    w.each(range(height), range(width), (row, column) => {
      w.channelVectors(first, end, (offset, lanes) => {
        const target = f.int(i32.add(w.pixel(to, shapes.image, n, row, column), offset));
        storeColumns(f, target, 0, [f32x4.constant(0)], lanes);
      });
    });
    w.each(range(shapes.y[1]), range(shapes.y[2]), (p, q) => {
      const taps = [w.taps(0, p), w.taps(1, q)] as const;
      w.channelVectors(first, end, (offset, lanes) => {
        const picked = placeOfMaximum(w, taps, from, offset, n, p, q);
        const source = f.int(i32.add(w.pixel(gradient, shapes.y, n, p, q), offset));
        for (let lane = 0; lane < lanes; lane++) {
          const target = f.int(i32.add(i32.add(to, offset), i32x4.lane(picked, lane)));
          const sum = f32x4.add(
            v128.load32Zero(target, lane * WORD),
            v128.load32Zero(source, lane * WORD),
          );
          f.do(v128.store32Lane(target, sum, 0, lane * WORD));
        }
      });
    });
  });
}

/**
 * The place of each window's maximum, `[n, p, q, c]`: the byte offset of its pixel from the first image's first pixel.
 */
function maximumPlaces(shapes: PoolShapes, attrs: PoolAttrs, image: Operand, places: Operand): Launch {
  return launch("maximumPlaces", shapes, attrs, resultRows(shapes), [image, places], (w, context) => {
    const { f, operands: [from, to] } = context;
    eachResult(w, context, (n, p, q, taps) => {
      w.channelVectors(0, w.channels, (offset, lanes) => {
        const picked = placeOfMaximum(w, taps, from, offset, n, p, q);
        const target = f.int(i32.add(w.pixel(to, shapes.y, n, p, q), offset));
        storeColumns(f, target, 0, [picked], lanes);
      });
    });
  });
}

/** For each lane, the byte offset from the first pixel of the images at `from` of the maximum of a window. */
function placeOfMaximum(
  w: PoolWriter,
  taps: readonly [Range, Range],
  from: I32,
  offset: I32,
  ...[n, p, q]: readonly [I32, I32, I32]
): Local<"v128"> {
  const { f } = w;
  return firstMaximum(w, taps, (r, s) => {
    const at = f.int(w.tapPixel(int(0), n, p, q, r, s));
    return {
      value: f.local("v128", v128.load(i32.add(i32.add(from, at), offset))),
      picked: f.local("v128", i32x4.splat(at)),
    };
  }).picked;
}

/** `avgPoolGrad(dy)`. */
export function avgPoolGrad(shapes: PoolShapes, attrs: PoolAttrs, dy: Operand, dx: Operand): Launch {
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
