import type { Shape } from "../../trace/dtype.ts";
import { f32, f32x4, f64, type I32, i32, type V128, v128 } from "./wasm/expressions.ts";
import type { FunctionBuilder, Local } from "./wasm/module.ts";
import { channelVectors } from "./blocks.ts";
import type { Launch, Operand } from "./routine.ts";
import { storeColumns, WORD } from "./tile.ts";

/** Channels of a task of the gradient, where result pixels share image pixels. */
const TASK_CHANNELS = 16;

/** The two pixels that a result pixel is made of along an axis, and the weights of both, in all lanes. */
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

/** `resizeGrad(dy)` to the shape `dx`: result pixels are spread over the image in order, some channels a task. */
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
  return {
    operands: [from, to],
    routine: {
      key: `resizeGrad ${[dy, dx, alignCorners].join()}`,
      tasks: images * pieces,
      operands: 2,
      scratch: 0,
      build({ f, operands: [source, target], task }) {
        const image = f.int(i32.divU(task, pieces));
        const first = f.int(i32.mul(i32.remU(task, pieces), TASK_CHANNELS));
        const end = f.int(i32.min(i32.add(first, TASK_CHANNELS), channels));
        f.increment(source, i32.mul(image, rows * columns * channels * WORD));
        f.increment(target, i32.mul(image, height * width * channels * WORD));
        const [pixel, p, q] = [0, 0, 0].map((value) => f.int(value));
        f.for(pixel, 0, height * width, 1, () => {
          channelVectors(f, channels, first, end, (offset, lanes) => {
            const at = f.int(i32.add(i32.add(target, i32.mul(pixel, channels * WORD)), offset));
            storeColumns(f, at, 0, [f32x4.constant(0)], lanes);
          });
        });
        f.for(p, 0, rows, 1, () => {
          const row = blend(f, p, height, rows, alignCorners);
          f.for(q, 0, columns, 1, () => {
            const column = blend(f, q, width, columns, alignCorners);
            const pixels = corners(row, column, width, channels).map(({ offset, weight }) => ({
              at: f.int(i32.add(target, offset)),
              weight: f.local("v128", weight),
            }));
            channelVectors(f, channels, first, end, (offset, lanes) => {
              const gradient = f.local("v128", v128.load(i32.add(source, offset)));
              for (const { at, weight } of pixels) {
                const address = f.int(i32.add(at, offset));
                storeColumns(f, address, 0, [f32x4.madd(weight, gradient, v128.load(address))], lanes);
              }
            });
            f.increment(source, channels * WORD);
          });
        });
      },
    },
  };
}
