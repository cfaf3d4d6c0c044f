import { sizeOf } from "../../trace/dtype.ts";
import type { PoolAttrs } from "../../trace/ops.ts";
import type { I32, V128 } from "./wasm/expressions.ts";
import { i32, int } from "./wasm/scalars.ts";
import { f32x4, i32x4, v128 } from "./wasm/vectors.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";
import { FAN } from "./long_sum.ts";
import { covering, sumWindows } from "./pool_grad.ts";
import {
  eachResult,
  firstMaximum,
  launch,
  type PoolShapes,
  type PoolWriter,
  type Range,
  resultRows,
  type Taps,
  UNROLLED,
} from "./pool_windows.ts";
import type { Launch, Launches, Operand } from "./routine.ts";
import { storeColumns, WORD } from "./tile.ts";

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

/** A band of pixel rows of one image: a task. */
interface Band {
  /** The first row, and the first after the band. */
  readonly first: I32;
  readonly end: I32;
  /** The band's first pixel and its size, in bytes from the first image's first pixel. */
  readonly start: I32;
  readonly bytes: I32;
}

/**
 * Adds each window's gradient to its maximum. A task has a band of pixel rows, and reads all windows that reach into it, so
 * those between two bands are read twice; memory is traversed in order, and rows are cleared shortly before their first
 * window, while they are in a cache.
 */
function spreadToMaxima(
  shapes: PoolShapes,
  attrs: PoolAttrs,
  image: Operand,
  dy: Operand,
  dx: Operand,
): Launch {
  const [images, height, width, channels] = shapes.image;
  const { window, strides, padding } = attrs;
  const bandRows = BAND_WINDOWS * strides[0], rowBytes = width * channels * WORD;
  const bands = Math.ceil(height / bandRows);
  const unrolled = window[0] * window[1] <= UNROLLED;
  return launch("maxPoolGrad", shapes, attrs, images * bands, [image, dy, dx], (w, context) => {
    const { f, task, operands: [from, gradient, to] } = context;
    const n = f.int(i32.divU(task, bands));
    const first = f.int(i32.mul(i32.remU(task, bands), bandRows));
    const end = f.int(i32.min(i32.add(first, bandRows), height));
    const start = f.int(w.pixel(int(0), shapes.image, n, first, int(0)));
    const band: Band = { first, end, start, bytes: f.int(i32.mul(i32.sub(end, first), rowBytes)) };
    const cleared = f.int(first);
    const clearTo = (row: I32) => {
      const rows = f.int(i32.sub(row, cleared));
      f.if(i32.gtS(rows, 0), () => {
        clear(f, f.int(w.pixel(to, shapes.image, n, cleared, int(0))), i32.mul(rows, rowBytes));
        f.increment(cleared, rows);
      });
    };
    const rows: Range = { from: w.windows(0, first).from, to: w.windows(0, i32.sub(end, 1)).to };
    const [p, q] = [f.int(0), f.int(0)];
    f.for(p, rows.from, rows.to, 1, () => {
      const top = f.int(i32.sub(i32.mul(p, strides[0]), padding[0][0]));
      clearTo(i32.min(i32.add(top, window[0]), end));
      const inBand = Array.from(
        { length: unrolled ? window[0] : 0 },
        (_, r) => f.int(i32.ltU(i32.sub(i32.add(top, r), first), i32.sub(end, first))),
      );
      f.for(q, 0, shapes.y[2], 1, () => {
        const taps = w.taps(p, q);
        const tapsAt = f.int(w.firstTap(int(0), n, p, q));
        const source = f.int(w.pixel(gradient, shapes.y, n, p, q));
        w.channelVectors(0, channels, (offset, lanes) => {
          const at = f.int(i32.add(source, offset));
          const open = f.int(1);
          if (unrolled) {
            f.if(taps.whole, () => {
              const place = f.int(i32.add(tapsAt, offset));
              const [read, write] = [from, to].map((address) => f.int(i32.add(address, place)));
              f.set(open, spreadWhole(w, inBand, read, write, v128.load(at), lanes));
            });
          }
          f.if(open, () => {
            const picked = placeOfMaximum(w, taps, from, offset, tapsAt);
            spreadLanes(f, band, picked, at, i32.add(to, offset), lanes);
          });
        });
      });
    });
    clearTo(end);
  });
}

/**
 * Adds the gradient of a window that lies within the image to its first maximum, in four channels at once and without a
 * branch for each: a tap that equals the maximum takes what is left of the gradient, and leaves 0. Adding 0 elsewhere
 * changes nothing, since no sum is −0. Only taps of rows in the band are written.
 *
 * @returns 1 where nothing was added, because a sum of the window's values is NaN: there may be a NaN, which is the
 *   maximum and equals nothing, or there are infinities of both signs.
 */
function spreadWhole(
  { f, attrs: { window: [height, width], strides }, shapes, channels }: PoolWriter,
  inBand: readonly I32[],
  read: Local<"i32">,
  write: Local<"i32">,
  gradient: V128,
  lanes: number,
): I32 {
  const places = Array.from({ length: height * width }, (_, tap) => {
    const [r, s] = [Math.floor(tap / width), tap % width];
    return (r * shapes.image[2] + s) * channels * WORD;
  });
  const values = places.map((place) => f.local("v128", v128.load(read, place)));
  const maximum = f.local("v128", values[0]);
  const sum = f.local("v128", values[0]);
  for (const value of values.slice(1)) {
    f.set(maximum, f32x4.pmax(maximum, value));
    f.set(sum, f32x4.add(sum, value));
  }
  const isOpen = f.int(v128.anyTrue(f32x4.ne(sum, sum)));
  f.if(i32.eqz(isOpen), () => {
    const rest = f.local("v128", gradient);
    const hit = f.local("v128");
    /** Takes the share of each tap of a row off the rest. */
    const take = (r: number, share: (place: number, s: number) => void) => {
      for (let s = 0; s < width; s++) {
        const tap = r * width + s;
        f.set(hit, f32x4.eq(values[tap], maximum));
        share(places[tap], s);
        f.set(rest, v128.andNot(rest, hit));
      }
    };
    inBand.forEach((isInBand, r) =>
      f.if(isInBand, () => {
        take(r, (place, s) => {
          // A pixel that no earlier window contains has just been cleared.
          const isFirst = r + strides[0] >= height && s + strides[1] >= width;
          const before = isFirst ? f.constant(f32x4.constant(0)) : v128.load(write, place);
          storeColumns(f, write, place, [f32x4.add(before, v128.and(rest, hit))], lanes);
        });
      }, () => take(r, () => {}))
    );
  });
  return isOpen;
}

/** Adds each lane of the gradient at `gradient` to `target` plus the byte offset in `picked`, if that is in the band. */
function spreadLanes(
  f: FunctionBuilder,
  { start, bytes }: Band,
  picked: V128,
  gradient: I32,
  target: I32,
  lanes: number,
): void {
  for (let lane = 0; lane < lanes; lane++) {
    const place = f.int(i32x4.lane(picked, lane));
    f.if(i32.ltU(i32.sub(place, start), bytes), () => {
      const at = f.int(i32.add(target, place));
      const sum = f32x4.add(v128.load32Zero(at, lane * WORD), v128.load32Zero(gradient, lane * WORD));
      f.do(v128.store32Lane(at, sum, 0, lane * WORD));
    });
  }
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
