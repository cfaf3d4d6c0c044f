import type { Node, View } from "../../compile/kernel.ts";
import { stridesOf } from "../../trace/dtype.ts";
import type { PoolAttrs } from "../../trace/ops.ts";
import { launchOf } from "./fused.ts";
import { merge, type Nest } from "./fused_nest.ts";
import type { PoolShapes } from "./pool_windows.ts";
import type { Launch, Operand } from "./routine.ts";

// Average pooling whose windows tile the image: a mean over two axes of the image seen as [n, p, r, q, s, c], and its
// gradient a broadcast along them. They are loops like those of fused kernels.

/** Tests whether every pixel is in exactly one window. */
export function isTiled({ image, y }: PoolShapes, { window, strides, padding }: PoolAttrs): boolean {
  return [0, 1].every((axis) =>
    window[axis] === strides[axis] && padding[axis].every((pixels) => pixels === 0) &&
    y[1 + axis] * window[axis] === image[1 + axis]
  );
}

const IN_WINDOW = [false, false, true, false, true, false];

/** The space [n, p, r, q, s, c], and the views over it of a value with the image's shape and of one with the result's. */
function tileViews({ image, y }: PoolShapes, { window: [r, s] }: PoolAttrs) {
  const [n, p, q, c] = y;
  const [perImage, perRow, perPixel] = stridesOf(image);
  const [yImage, yRow, yPixel] = stridesOf(y);
  const pixels: View = { offset: 0, strides: [perImage, r * perRow, perRow, s * perPixel, perPixel, 1] };
  const windows: View = { offset: 0, strides: [yImage, yRow, 0, yPixel, 0, 1] };
  return { space: [n, p, r, q, s, c], pixels, windows };
}

/** Loads an element of the first operand and multiplies it, or the sum of such elements, by the share of a pixel. */
function shared({ window }: PoolAttrs, first: Node): Node[] {
  return [
    first,
    { kind: "constant", value: 1 / (window[0] * window[1]), dtype: "f32" },
    { kind: "binary", fn: "mul", args: [0, 1], dtype: "f32" },
  ];
}

/** `avgPool(image)` of tiles. */
export function avgPoolTiles(shapes: PoolShapes, attrs: PoolAttrs, image: Operand, y: Operand): Launch {
  const { space, pixels, windows } = tileViews(shapes, attrs);
  const nest: Nest = {
    space,
    reduced: IN_WINDOW,
    operands: [image, y],
    elementBytes: [4, 4],
    nodes: [{ kind: "load", input: 0, view: pixels, dtype: "f32" }],
    stores: [],
    reductions: [{ fn: "sum", node: 0, dtype: "f32" }],
    epilogue: shared(attrs, { kind: "reduced", index: 0, dtype: "f32" }),
    epilogueStores: [{ node: 2, operand: 1, view: windows }],
  };
  return launchOf(merge(nest));
}

/** `avgPoolGrad(dy)` of tiles. */
export function avgPoolGradTiles(shapes: PoolShapes, attrs: PoolAttrs, dy: Operand, dx: Operand): Launch {
  const { space, pixels, windows } = tileViews(shapes, attrs);
  const nest: Nest = {
    space,
    reduced: space.map(() => false),
    operands: [dy, dx],
    elementBytes: [4, 4],
    nodes: shared(attrs, { kind: "load", input: 0, view: windows, dtype: "f32" }),
    stores: [{ node: 2, operand: 1, view: pixels }],
    reductions: [],
    epilogue: [],
    epilogueStores: [],
  };
  return launchOf(merge(nest));
}
