import type { Shape } from "../../trace/dtype.ts";
import type { PoolAttrs } from "../../trace/ops.ts";
import type { I32, Int } from "./wasm/expressions.ts";
import { i32, int } from "./wasm/scalars.ts";
import { f32x4, i32x4, v128 } from "./wasm/vectors.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";
import { channelVectors } from "./blocks.ts";
import type { Launch, Operand, RoutineContext } from "./routine.ts";
import { WORD } from "./tile.ts";

/** Shapes of a pooling, image `[n, h, w, c]` to result `[n, p, q, c]`. */
export interface PoolShapes {
  readonly image: Shape;
  readonly y: Shape;
}

/** A range of indices. */
export interface Range {
  readonly from: Local<"i32">;
  readonly to: Local<"i32">;
}

/** The taps of a window that lie within the image. */
export interface Taps {
  readonly rows: Range;
  readonly columns: Range;
  /** Not zero if those are all. */
  readonly whole: I32;
}

/** The most taps that are written one by one. */
export const UNROLLED = 16;

/** Writes the loops that the pooling routines share: over pixels, channels and windows. */
export class PoolWriter {
  readonly f: FunctionBuilder;
  readonly channels: number;

  constructor(readonly context: RoutineContext, readonly shapes: PoolShapes, readonly attrs: PoolAttrs) {
    this.f = context.f;
    this.channels = shapes.image[3];
  }

  /** The taps of window (p, q). */
  taps(p: I32, q: I32): Taps {
    const { window, strides, padding } = this.attrs;
    const [rows, columns] = [this.#taps(0, p), this.#taps(1, q)];
    const inside = ([0, 1] as const).every((axis) =>
      padding[axis][0] === 0 &&
      (this.shapes.y[1 + axis] - 1) * strides[axis] + window[axis] <= this.shapes.image[1 + axis]
    );
    if (inside) return { rows, columns, whole: int(1) };
    const count = i32.mul(i32.sub(rows.to, rows.from), i32.sub(columns.to, columns.from));
    return { rows, columns, whole: this.f.int(i32.eq(count, window[0] * window[1])) };
  }

  /** Taps of window `index` along an axis. */
  #taps(axis: 0 | 1, index: I32): Range {
    const { window, strides, padding } = this.attrs;
    const start = this.f.int(i32.sub(i32.mul(index, strides[axis]), padding[axis][0]));
    return {
      from: this.f.int(i32.max(0, i32.sub(0, start))),
      to: this.f.int(i32.min(window[axis], i32.sub(this.shapes.image[1 + axis], start))),
    };
  }

  /** Windows that contain pixel `index`, along an axis. */
  windows(axis: 0 | 1, index: I32): Range {
    const { window, strides, padding } = this.attrs;
    const shifted = this.f.int(i32.add(index, padding[axis][0]));
    const before = i32.sub(shifted, window[axis] - 1 - (strides[axis] - 1));
    return {
      from: this.f.int(i32.divU(i32.max(0, before), strides[axis])),
      to: this.f.int(i32.min(i32.add(i32.divU(shifted, strides[axis]), 1), this.shapes.y[1 + axis])),
    };
  }

  /** Runs `body` over both ranges, row-major. */
  each(rows: Range, columns: Range, body: (row: Local<"i32">, column: Local<"i32">) => void): void {
    const [row, column] = [this.f.int(0), this.f.int(0)];
    this.f.for(row, rows.from, rows.to, 1, () => {
      this.f.for(column, columns.from, columns.to, 1, () => body(row, column));
    });
  }

  /**
   * Runs `body` for every tap, row-major, with the byte offset of its pixel from that of tap (0, 0): the sum of both
   * numbers. The taps of small windows that lie within the image are written one by one.
   */
  eachTap({ rows, columns, whole }: Taps, body: (offset: I32, constant: number) => void): void {
    const { window: [height, width] } = this.attrs;
    const pixel = this.channels * WORD;
    const row = this.shapes.image[2] * pixel;
    const some = () =>
      this.each(rows, columns, (r, s) => body(i32.add(i32.mul(r, row), i32.mul(s, pixel)), 0));
    if (height * width > UNROLLED) return some();
    this.f.if(whole, () => {
      for (let r = 0; r < height; r++) {
        for (let s = 0; s < width; s++) body(int(0), r * row + s * pixel);
      }
    }, some);
  }

  /** Address of tap (0, 0) of a window, which may lie outside of the image at `address`. */
  firstTap(address: I32, image: I32, p: I32, q: I32): I32 {
    const { strides, padding } = this.attrs;
    const row = i32.sub(i32.mul(p, strides[0]), padding[0][0]);
    const column = i32.sub(i32.mul(q, strides[1]), padding[1][0]);
    return this.pixel(address, this.shapes.image, image, row, column);
  }

  /** Address of a pixel's first channel in a value of shape `shape`. */
  pixel(address: I32, shape: Shape, image: I32, row: I32, column: I32): I32 {
    const index = i32.add(i32.mul(i32.add(i32.mul(image, shape[1]), row), shape[2]), column);
    return i32.add(address, i32.mul(index, this.channels * WORD));
  }

  /** Runs `body` for every four channels from `from` to `to`, and for the rest at the end. */
  channelVectors(from: Int, to: Int, body: (offset: Local<"i32">, lanes: number) => void): void {
    channelVectors(this.f, this.channels, from, to, body);
  }
}

/** A launch of a pooling routine. */
export function launch(
  name: string,
  shapes: PoolShapes,
  attrs: PoolAttrs,
  tasks: number,
  operands: readonly Operand[],
  build: (writer: PoolWriter, context: RoutineContext) => void,
): Launch {
  const { window, strides, padding } = attrs;
  return {
    operands,
    routine: {
      key: `${name} ${shapes.image} → ${shapes.y}, window ${window}, strides ${strides}, padding ${padding}`,
      tasks,
      operands: operands.length,
      scratch: 0,
      build: (context) => build(new PoolWriter(context, shapes, attrs), context),
    },
  };
}

/** Tasks of {@link eachResult}. */
export const resultRows = ({ y }: PoolShapes): number => y[0] * y[1];

/** Runs `body` for every result pixel of a task's row. */
export function eachResult(
  w: PoolWriter,
  { f, task }: RoutineContext,
  body: (image: I32, p: I32, q: Local<"i32">, taps: Taps) => void,
): void {
  const [, rows, columns] = w.shapes.y;
  const image = f.int(i32.divU(task, rows));
  const p = f.int(i32.remU(task, rows));
  const q = f.int(0);
  f.for(q, 0, columns, 1, () => body(image, p, q, w.taps(p, q)));
}

/** The first maximum of a window, or its first NaN: for each lane the value, and `picked` at its tap. */
export function firstMaximum(
  w: PoolWriter,
  taps: Taps,
  read: (offset: I32, constant: number) => { value: Local<"v128">; picked: Local<"v128"> },
): { maximum: Local<"v128">; picked: Local<"v128"> } {
  const { f } = w;
  const maximum = f.local("v128", f32x4.constant(-Infinity));
  const picked = f.local("v128", i32x4.constant(0));
  const none = f.local("v128", i32x4.constant(-1)); // all ones until something is picked: maxima may be −∞
  w.eachTap(taps, (offset, constant) => {
    const tap = read(offset, constant);
    // Above the maximum, or a NaN that is the first.
    const above = v128.andNot(f32x4.eq(maximum, maximum), f32x4.le(tap.value, maximum));
    const better = f.local("v128", v128.or(above, none));
    f.set(none, i32x4.constant(0));
    f.set(maximum, v128.bitselect(tap.value, maximum, better));
    f.set(picked, v128.bitselect(tap.picked, picked, better));
  });
  return { maximum, picked };
}
