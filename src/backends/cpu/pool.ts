import type { PoolAttrs } from "../../trace/ops.ts";
import { i32 } from "./wasm/scalars.ts";
import { f32x4, i32x4, v128 } from "./wasm/vectors.ts";
import { LongSum } from "./long_sum.ts";
import { avgPoolTiles, isTiled } from "./pool_tiles.ts";
import { eachResult, firstMaximum, launch, type PoolShapes, resultRows } from "./pool_windows.ts";
import type { Launch, Operand } from "./routine.ts";
import { storeColumns } from "./tile.ts";

/** `maxPool(image)`. */
export function maxPool(shapes: PoolShapes, attrs: PoolAttrs, image: Operand, y: Operand): Launch {
  return launch("maxPool", shapes, attrs, resultRows(shapes), [image, y], (w, context) => {
    const { f, operands: [from, to] } = context;
    eachResult(w, context, (n, p, q, taps) => {
      const first = f.int(w.firstTap(from, n, p, q));
      w.channelVectors(0, w.channels, (offset, lanes) => {
        const at = f.int(i32.add(first, offset));
        // `pmax` ignores a NaN; recording NaNs separately is faster than `max`, which propagates them.
        const [maximum, value] = [f.local("v128", f32x4.constant(-Infinity)), f.local("v128")];
        const missing = f.local("v128", i32x4.constant(0));
        w.eachTap(taps, (tap, constant) => {
          f.set(value, v128.load(i32.add(at, tap), constant));
          f.set(maximum, f32x4.pmax(maximum, value));
          f.set(missing, v128.or(missing, f32x4.ne(value, value)));
        });
        f.set(maximum, v128.or(maximum, missing)); // all ones is a NaN
        const target = f.int(i32.add(w.pixel(to, shapes.y, n, p, q), offset));
        storeColumns(f, target, 0, [maximum], lanes);
      });
    });
  });
}

/** `maxPoolPick(image, v)`. */
export function maxPoolPick(
  shapes: PoolShapes,
  attrs: PoolAttrs,
  image: Operand,
  v: Operand,
  y: Operand,
): Launch {
  return launch("maxPoolPick", shapes, attrs, resultRows(shapes), [image, v, y], (w, context) => {
    const { f, operands: [from, other, to] } = context;
    eachResult(w, context, (n, p, q, taps) => {
      const [first, firstOther] = [from, other].map((address) => f.int(w.firstTap(address, n, p, q)));
      w.channelVectors(0, w.channels, (offset, lanes) => {
        const [at, atOther] = [first, firstOther].map((address) => f.int(i32.add(address, offset)));
        const { picked } = firstMaximum(w, taps, (tap, constant) => ({
          value: f.local("v128", v128.load(i32.add(at, tap), constant)),
          picked: f.local("v128", v128.load(i32.add(atOther, tap), constant)),
        }));
        const target = f.int(i32.add(w.pixel(to, shapes.y, n, p, q), offset));
        storeColumns(f, target, 0, [picked], lanes);
      });
    });
  });
}

/** `avgPool(image)`. */
export function avgPool(shapes: PoolShapes, attrs: PoolAttrs, image: Operand, y: Operand): Launch {
  if (isTiled(shapes, attrs)) return avgPoolTiles(shapes, attrs, image, y);
  const share = 1 / (attrs.window[0] * attrs.window[1]);
  return launch("avgPool", shapes, attrs, resultRows(shapes), [image, y], (w, context) => {
    const { f, operands: [from, to] } = context;
    eachResult(w, context, (n, p, q, taps) => {
      const first = f.int(w.firstTap(from, n, p, q));
      w.channelVectors(0, w.channels, (offset, lanes) => {
        const at = f.int(i32.add(first, offset));
        const sum = new LongSum(f, attrs.window[0] * attrs.window[1]);
        w.eachTap(taps, (tap, constant) => sum.add(v128.load(i32.add(at, tap), constant)));
        const target = f.int(i32.add(w.pixel(to, shapes.y, n, p, q), offset));
        storeColumns(f, target, 0, [f32x4.mul(sum.total(), f32x4.constant(share))], lanes);
      });
    });
  });
}
