import { roundBf16 } from "../../trace/bf16.ts";
import { threefry2x32 } from "../../base/random.ts";
import type { View } from "../../compile/kernel.ts";
import { at } from "../../base/at.ts";
import { type Aval, type Shape, sizeOf, stridesOf } from "../../trace/dtype.ts";
import type { OpAttrs, OpName, OpOperands } from "../../trace/ops.ts";
import { binary, cast, compareFns, unary, wrap } from "../../trace/elementwise.ts";
import { extentsOf } from "../extents.ts";
import { add, addRun, dotRun, element } from "./elements.ts";
import { eachConvTap, eachPoolPixel, eachResizePixel, firstMaxima } from "./images.ts";
import { isGreater, reduction } from "./reduction.ts";

/** A value while it is computed: its elements in row-major order, as float64 whatever its dtype. */
export interface Value extends Aval {
  /** One number per element. */
  readonly data: Float64Array;
}

/** The definition of an op: fills `out`, whose previous contents do not matter. */
export type OpRule<N extends OpName> = (
  out: Value,
  inputs: OpOperands<Value>[N],
  attrs: OpAttrs[N],
) => void;

/** Visits a shape's points in row-major order, each with its element of two views. */
function walk(shape: Shape, a: View, b: View, visit: (i: number, j: number) => void): void {
  const step = (axis: number, i: number, j: number): void => {
    if (axis === shape.length) return visit(i, j);
    const [extent, stepA, stepB] = [at(shape, axis), at(a.strides, axis), at(b.strides, axis)];
    for (let n = 0; n < extent; n++) step(axis + 1, i + n * stepA, j + n * stepB);
  };
  step(0, a.offset, b.offset);
}

/** The view of a whole value. */
function whole(value: Aval): View {
  return { offset: 0, strides: stridesOf(value.shape) };
}

/** The view of `value` without `axes`, over all of its axes: stride 0 along the dropped ones. */
function without(value: Aval, axes: readonly number[]): View {
  // An axis of extent 1 in place of a dropped one leaves the strides of the others as they are.
  const kept = stridesOf(value.shape.map((extent, axis) => axes.includes(axis) ? 1 : extent));
  return { offset: 0, strides: kept.map((stride, axis) => axes.includes(axis) ? 0 : stride) };
}

/** Fills `out` with the elements of `input` at `view`. */
function copyFrom(out: Value, input: Value, view: View): void {
  walk(out.shape, whole(out), view, (i, j) => out.data[i] = element(input.data, j));
}

/** Writes `input` to the elements of `out` at `view`. */
function copyTo(out: Value, view: View, input: Value): void {
  walk(input.shape, view, whole(input), (i, j) => out.data[i] = element(input.data, j));
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, x, i) => sum + x * at(b, i), 0);
}

function identity(out: Value, [input]: readonly [Value]): void {
  out.data.set(input.data);
}

/** Visits the row of each index, clamped into range, with the index's position; for `gather` and `scatterAdd`. */
function eachRow(indices: Value, rows: number, visit: (row: number, position: number) => void): void {
  indices.data.subarray(0, sizeOf(indices.shape)).forEach((index, position) => {
    visit(Math.max(0, Math.min(rows - 1, index)), position);
  });
}

/** The definition of every op. */
export type OpRules = { readonly [N in OpName]: OpRule<N> };

/** Every op, written as plainly as possible. */
export const opRules: OpRules = {
  unary(out, [x], { fn }) {
    const f = unary(fn, x.dtype);
    for (let i = 0; i < out.data.length; i++) out.data[i] = f(element(x.data, i));
  },
  binary(out, [a, b], { fn }) {
    const f = binary(fn, out.dtype);
    for (let i = 0; i < out.data.length; i++) out.data[i] = f(element(a.data, i), element(b.data, i));
  },
  compare(out, [a, b], { fn }) {
    const f = compareFns[fn];
    for (let i = 0; i < out.data.length; i++) {
      out.data[i] = f(element(a.data, i), element(b.data, i)) ? 1 : 0;
    }
  },
  select(out, [condition, a, b]) {
    for (let i = 0; i < out.data.length; i++) out.data[i] = element((condition.data[i] ? a : b).data, i);
  },
  cast(out, [x], { dtype }) {
    const f = cast(x.dtype, dtype);
    for (let i = 0; i < out.data.length; i++) out.data[i] = f(element(x.data, i));
  },
  constant(out, _, { dtype, values }) {
    for (let i = 0; i < out.data.length; i++) {
      out.data[i] = wrap(at(values, values.length === 1 ? 0 : i), dtype);
    }
  },
  iota(out, _, { axis }) {
    const along = { offset: 0, strides: out.shape.map((_, a) => a === axis ? 1 : 0) };
    walk(out.shape, whole(out), along, (i, index) => out.data[i] = index);
  },
  randomBits(out, [key], { word }) {
    const words = Uint32Array.from(key.data.subarray(0, 2));
    for (let i = 0; i < out.data.length; i++) out.data[i] = at(threefry2x32(words, i, 0), word);
  },

  broadcast(out, [x]) {
    const strides = stridesOf(x.shape).map((stride, axis) => x.shape[axis] === 1 ? 0 : stride);
    copyFrom(out, x, { offset: 0, strides });
  },
  reshape: identity,
  transpose(out, [x], { permutation }) {
    const strides = stridesOf(x.shape);
    copyFrom(out, x, { offset: 0, strides: permutation.map((axis) => at(strides, axis)) });
  },
  slice(out, [x], { starts, strides }) {
    const steps = stridesOf(x.shape);
    copyFrom(out, x, { offset: dot(starts, steps), strides: steps.map((step, a) => step * at(strides, a)) });
  },
  pad(out, [x], { low, interior }) {
    const steps = stridesOf(out.shape);
    out.data.fill(0);
    copyTo(
      out,
      { offset: dot(low, steps), strides: steps.map((step, a) => step * (at(interior, a) + 1)) },
      x,
    );
  },
  concat(out, inputs, { axis }) {
    const strides = stridesOf(out.shape);
    let start = 0;
    for (const input of inputs) {
      copyTo(out, { offset: start * at(strides, axis), strides }, input);
      start += at(input.shape, axis);
    }
  },

  reduce(out, [x], { fn, axes }) {
    const { start, fold } = reduction(fn, x.dtype);
    out.data.fill(start);
    walk(
      x.shape,
      without(x, axes),
      whole(x),
      (i, j) => out.data[i] = fold(element(out.data, i), element(x.data, j)),
    );
  },
  argmax(out, [x], { axis }) {
    const [step, extent] = [at(stridesOf(x.shape), axis), at(x.shape, axis)];
    for (const [i, first] of firstAlong(x, axis).entries()) {
      let best = 0;
      for (let n = 1; n < extent; n++) {
        if (isGreater(element(x.data, first + n * step), element(x.data, first + best * step))) best = n;
      }
      out.data[i] = best;
    }
  },

  matmul(out, [a, b], { transposeA, transposeB }) {
    const [n = 1, m = 1, batch = 1] = out.shape.toReversed();
    const k = at(a.shape, a.shape.length - (transposeA ? 2 : 1));
    for (let g = 0; g < batch; g++) {
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          let sum = 0;
          for (let l = 0; l < k; l++) {
            const x = element(a.data, transposeA ? (g * k + l) * m + i : (g * m + i) * k + l);
            const y = element(b.data, transposeB ? (g * n + j) * k + l : (g * k + l) * n + j);
            sum += x * y;
          }
          out.data[(g * m + i) * n + j] = sum;
        }
      }
    }
  },
  conv(out, [image, filter], attrs) {
    out.data.fill(0);
    eachConvTap(image.shape, filter.shape, attrs, (i, f, o, channels) => {
      add(out.data, o, dotRun(image.data, i, filter.data, f, channels));
    });
  },
  convInputGrad(out, [dy, filter], attrs) {
    out.data.fill(0);
    eachConvTap(attrs.inputShape, filter.shape, attrs, (i, f, o, channels) => {
      addRun(out.data, i, element(dy.data, o), filter.data, f, channels);
    });
  },
  convFilterGrad(out, [image, dy], attrs) {
    out.data.fill(0);
    eachConvTap(image.shape, attrs.filterShape, attrs, (i, f, o, channels) => {
      addRun(out.data, f, element(dy.data, o), image.data, i, channels);
    });
  },

  maxPool(out, [image], attrs) {
    firstMaxima(image.data, image.shape, attrs).forEach((pixel, o) =>
      out.data[o] = element(image.data, pixel)
    );
  },
  maxPoolGrad(out, [image, dy], attrs) {
    out.data.fill(0);
    firstMaxima(image.data, image.shape, attrs).forEach((pixel, o) =>
      add(out.data, pixel, element(dy.data, o))
    );
  },
  maxPoolPick(out, [image, v], attrs) {
    firstMaxima(image.data, image.shape, attrs).forEach((pixel, o) => out.data[o] = element(v.data, pixel));
  },
  avgPool(out, [image], attrs) {
    out.data.fill(0);
    const area = attrs.window[0] * attrs.window[1];
    eachPoolPixel(image.shape, attrs, (pixel, o) => add(out.data, o, element(image.data, pixel) / area));
  },
  avgPoolGrad(out, [dy], attrs) {
    out.data.fill(0);
    const area = attrs.window[0] * attrs.window[1];
    eachPoolPixel(attrs.inputShape, attrs, (pixel, o) => add(out.data, pixel, element(dy.data, o) / area));
  },
  resize(out, [image], attrs) {
    out.data.fill(0);
    eachResizePixel(
      image.shape,
      attrs,
      (pixel, o, weight) => add(out.data, o, weight * element(image.data, pixel)),
    );
  },
  resizeGrad(out, [dy], { alignCorners }) {
    out.data.fill(0);
    const [, height, width] = extentsOf(dy.shape);
    eachResizePixel(out.shape, { height, width, alignCorners }, (pixel, o, weight) => {
      add(out.data, pixel, weight * element(dy.data, o));
    });
  },

  gather(out, [operand, indices]) {
    const width = sizeOf(operand.shape.slice(1));
    eachRow(indices, at(operand.shape, 0), (row, position) => {
      out.data.set(operand.data.subarray(row * width, (row + 1) * width), position * width);
    });
  },
  scatterAdd(out, [updates, indices], { rows }) {
    out.data.fill(0);
    const width = sizeOf(out.shape.slice(1));
    eachRow(indices, rows, (row, position) => {
      for (let c = 0; c < width; c++) {
        add(out.data, row * width + c, element(updates.data, position * width + c));
      }
    });
  },
  stopGradient: identity,
  barrier: identity,

  // In a group of one process; the backend runs them where there are more.
  allReduce: identity,
  broadcastFrom: identity,
  send: () => {},
  receive() {
    throw new Error("a process receives nothing from itself");
  },
};

/** The first element along `axis`, for each point of the other axes. */
function firstAlong(x: Value, axis: number): number[] {
  const first: number[] = [];
  const shape = x.shape.map((extent, a) => a === axis ? 1 : extent);
  walk(shape, without(x, [axis]), whole(x), (i, j) => first[i] = j);
  return first;
}

/**
 * Runs one op by `rules`. The rule and the attributes belong to the same op, which the type system cannot see. A bf16
 * result is rounded once, at the end: sums are computed in full precision.
 */
export function applyOp(
  op: OpName,
  out: Value,
  inputs: readonly Value[],
  attrs: OpAttrs[OpName],
  rules: OpRules = opRules,
): void {
  (rules[op] as OpRule<OpName>)(out, inputs, attrs);
  if (out.dtype === "bf16") out.data.forEach((x, i) => out.data[i] = roundBf16(x));
}
