import type { Shape } from "../../trace/dtype.ts";
import type { I32, V128 } from "./wasm/expressions.ts";
import { f32, f64, i32 } from "./wasm/scalars.ts";
import { f32x4, i32x4, v128 } from "./wasm/vectors.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";
import { channelVectors } from "./blocks.ts";
import { LongSum } from "./long_sum.ts";
import type { Launch, Operand } from "./routine.ts";
import { storeColumns, WORD } from "./tile.ts";

/** Channels of a task of the gradient: enough to amortise finding a pixel's users. */
const TASK_CHANNELS = 64;
/** Enough tasks of the gradient for a few dozen threads. */
const ENOUGH_TASKS = 16;

/** The two image pixels that a result pixel blends along an axis, and their weights in all lanes. */
interface Blend {
  readonly low: Local<"i32">;
  readonly high: Local<"i32">;
  readonly lowWeight: Local<"v128">;
  readonly highWeight: Local<"v128">;
}

/** Pixel `i` of `to` along an axis of `from` pixels; positions as in PyTorch's `interpolate`. */
function blend(f: FunctionBuilder, i: I32, from: number, to: number, alignCorners: boolean): Blend {
  const index = f64.fromI32(i);
  const position = f.local(
    "f64",
    alignCorners
      ? (to > 1 ? f64.div(f64.mul(index, f64.constant(from - 1)), f64.constant(to - 1)) : f64.constant(0))
      : f64.max(
        f64.constant(0),
        f64.sub(
          f64.div(f64.mul(f64.add(index, f64.constant(0.5)), f64.constant(from)), f64.constant(to)),
          f64.constant(0.5),
        ),
      ),
  );
  const low = f.int(i32.min(f64.toI32(f64.floor(position)), from - 1));
  const fraction = f.local("f64", f64.sub(position, f64.fromI32(low)));
  return {
    low,
    high: f.int(i32.min(i32.add(low, 1), from - 1)),
    lowWeight: f.local("v128", f32x4.splat(f32.fromF64(f64.sub(f64.constant(1), fraction)))),
    highWeight: f.local("v128", f32x4.splat(f32.fromF64(fraction))),
  };
}

/** The four image pixels of a result pixel, as byte offsets of their first channel, with their weights. */
function corners(
  row: Blend,
  column: Blend,
  width: number,
  channels: number,
): { offset: I32; weight: V128 }[] {
  const corner = (y: I32, x: I32, wy: V128, wx: V128) => ({
    offset: i32.mul(i32.add(i32.mul(y, width), x), channels * WORD),
    weight: f32x4.mul(wy, wx),
  });
  return [
    corner(row.low, column.low, row.lowWeight, column.lowWeight),
    corner(row.low, column.high, row.lowWeight, column.highWeight),
    corner(row.high, column.low, row.highWeight, column.lowWeight),
    corner(row.high, column.high, row.highWeight, column.highWeight),
  ];
}

/** `resize(image)` to the shape `y`. */
export function resize(
  image: Shape,
  y: Shape,
  alignCorners: boolean,
  from: Operand,
  to: Operand,
): Launch {
  const [images, height, width, channels] = image;
  const [, rows, columns] = y;
  return {
    operands: [from, to],
    routine: {
      key: `resize ${[image, y, alignCorners].join()}`,
      tasks: images * rows,
      operands: 2,
      scratch: 0,
      build({ f, operands: [source, target], task }) {
        const row = blend(f, i32.remU(task, rows), height, rows, alignCorners);
        f.increment(source, i32.mul(i32.divU(task, rows), height * width * channels * WORD));
        f.increment(target, i32.mul(task, columns * channels * WORD));
        const q = f.int(0);
        f.for(q, 0, columns, 1, () => {
          const column = blend(f, q, width, columns, alignCorners);
          const pixels = corners(row, column, width, channels).map(({ offset, weight }) => ({
            at: f.int(i32.add(source, offset)),
            weight: f.local("v128", weight),
          }));
          channelVectors(f, channels, 0, channels, (offset, lanes) => {
            const sum = f.local("v128", f32x4.constant(0));
            for (const { at, weight } of pixels) {
              f.set(sum, f32x4.madd(weight, v128.load(i32.add(at, offset)), sum));
            }
            storeColumns(f, f.int(i32.add(target, offset)), 0, [sum], lanes);
          });
          f.increment(target, channels * WORD);
        });
      },
    },
  };
}

/** The result pixels that blend an image pixel along an axis, from `from` to before `to`. */
interface Users {
  readonly from: Local<"i32">;
  readonly to: Local<"i32">;
}

/** Finds the users of pixel `at` of an axis, and writes its weight in each of them to `place`, which is advanced. */
function users(
  f: FunctionBuilder,
  at: Local<"i32">,
  [from, to]: readonly [number, number],
  alignCorners: boolean,
  place: Local<"i32">,
): Users {
  const step = alignCorners ? (to > 1 ? (from - 1) / (to - 1) : 0) : from / to;
  const shift = alignCorners ? 0 : (step - 1) / 2;
  // Those whose positions are less than a pixel away, and one more on each side because of rounding.
  const near = (by: number): I32 =>
    f64.toI32(f64.floor(f64.div(f64.add(f64.fromI32(at), f64.constant(by - shift)), f64.constant(step))));
  const first = f.int(step > 0 ? i32.max(0, i32.sub(near(-1), 1)) : 0);
  const end = f.int(step > 0 ? i32.min(to, i32.add(near(1), 3)) : to);
  const range = { from: f.int(end), to: f.int(first) };
  f.for(first, first, end, 1, () => {
    const { low, high, lowWeight, highWeight } = blend(f, first, from, to, alignCorners);
    const [isLow, isHigh] = [low, high].map((pixel) => f.int(i32.eq(pixel, at)));
    f.if(i32.or(isLow, isHigh), () => {
      const share = (is: I32, weight: V128) => v128.and(i32x4.splat(i32.sub(0, is)), weight);
      const weight = f.local("v128", f32x4.add(share(isLow, lowWeight), share(isHigh, highWeight)));
      f.do(v128.store32Lane(place, weight, 0));
      f.increment(place, WORD);
      f.set(range.from, i32.min(range.from, first));
      f.set(range.to, i32.add(first, 1));
    });
  });
  return range;
}

/** The most users of one pixel along an axis. */
function mostUsers(from: number, to: number): number {
  return from === 1 ? to : Math.min(to, Math.ceil(2 * to / (from - 1)) + 2);
}

/** Words of an entry of the table of columns: the first user, the one after the last, and the address of the weights. */
const ENTRY = 3;

/**
 * `resizeGrad(dy)` to the shape `dx`: every image pixel sums its users; a task computes some channels of a band of rows, so
 * that it finds the users of a column once.
 */
export function resizeGrad(
  dy: Shape,
  dx: Shape,
  alignCorners: boolean,
  from: Operand,
  to: Operand,
): Launch {
  const [images, height, width, channels] = dx;
  const [, rows, columns] = dy;
  const pieces = Math.ceil(channels / TASK_CHANNELS);
  const bandRows = Math.ceil(height / Math.ceil(ENOUGH_TASKS / Math.max(1, images * pieces)));
  const bands = Math.ceil(height / bandRows);
  return {
    operands: [from, to],
    routine: {
      key: `resizeGrad ${[dy, dx, alignCorners].join()}`,
      tasks: images * bands * pieces,
      operands: 2,
      scratch: (ENTRY * width + 2 * columns + rows) * WORD, // a result pixel has at most two weights along an axis
      build({ f, operands: [source, target], task, scratch }) {
        const first = f.int(i32.mul(i32.remU(task, pieces), TASK_CHANNELS));
        const end = f.int(i32.min(i32.add(first, TASK_CHANNELS), channels));
        const band = f.int(i32.divU(task, pieces));
        const image = f.int(i32.divU(band, bands));
        const row = f.int(i32.mul(i32.remU(band, bands), bandRows));
        const endRow = f.int(i32.min(i32.add(row, bandRows), height));
        f.increment(source, i32.mul(image, rows * columns * channels * WORD));
        f.increment(target, i32.mul(i32.add(i32.mul(image, height), row), width * channels * WORD));
        const [column, entry, weights] = [
          f.int(0),
          f.int(scratch),
          f.int(i32.add(scratch, ENTRY * width * WORD)),
        ];
        f.for(column, 0, width, 1, () => {
          f.do(i32.store(entry, weights, 2 * WORD));
          const across = users(f, column, [width, columns], alignCorners, weights);
          f.do(i32.store(entry, across.from));
          f.do(i32.store(entry, across.to, WORD));
          f.increment(entry, ENTRY * WORD);
        });
        const [p, q, at, acrossFrom, acrossTo] = Array.from({ length: 5 }, () => f.int(0));
        const [downWeight, acrossWeight] = [f.int(0), f.int(0)];
        f.for(row, row, endRow, 1, () => {
          f.set(downWeight, weights);
          const down = users(f, row, [height, rows], alignCorners, downWeight);
          f.set(entry, scratch);
          f.for(column, 0, width, 1, () => {
            f.set(acrossFrom, i32.load(entry));
            f.set(acrossTo, i32.load(entry, WORD));
            channelVectors(f, channels, first, end, (offset, lanes) => {
              const sum = new LongSum(f, mostUsers(height, rows) * mostUsers(width, columns));
              f.set(downWeight, weights);
              f.for(p, down.from, down.to, 1, () => {
                f.set(acrossWeight, i32.load(entry, 2 * WORD));
                const pixel = i32.add(i32.mul(p, columns), acrossFrom);
                f.set(at, i32.add(i32.add(source, i32.mul(pixel, channels * WORD)), offset));
                f.for(q, acrossFrom, acrossTo, 1, () => {
                  const weight = f32x4.mul(v128.load32Splat(downWeight), v128.load32Splat(acrossWeight));
                  sum.add(f32x4.mul(weight, v128.load(at)));
                  f.increment(at, channels * WORD);
                  f.increment(acrossWeight, WORD);
                });
                f.increment(downWeight, WORD);
              });
              storeColumns(f, f.int(i32.add(target, offset)), 0, [sum.total()], lanes);
            });
            f.increment(target, channels * WORD);
            f.increment(entry, ENTRY * WORD);
          });
        });
      },
    },
  };
}
