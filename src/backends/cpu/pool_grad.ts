import type { PoolAttrs } from "../../trace/ops.ts";
import { i32, int } from "./wasm/scalars.ts";
import { f32x4, i32x4, v128 } from "./wasm/vectors.ts";
import { LongSum } from "./long_sum.ts";
import { avgPoolGradTiles, isTiled } from "./pool_tiles.ts";
import { launch, type PoolShapes } from "./pool_windows.ts";
import type { Launch, Operand } from "./routine.ts";
import { storeColumns } from "./tile.ts";

/** The most windows that contain one pixel. */
export function covering({ y }: PoolShapes, { window, strides }: PoolAttrs): number {
  const [down, across] = [0, 1].map((axis) => Math.min(Math.ceil(window[axis] / strides[axis]), y[1 + axis]));
  return down * across;
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
export function sumWindows(
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
