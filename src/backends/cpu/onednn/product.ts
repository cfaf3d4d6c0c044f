import { type Shape, sizeOf } from "../../../trace/dtype.ts";
import type { OpAttrs } from "../../../trace/ops.ts";
import type { Launches, Operand, Routine } from "../routine.ts";
import { elementSize } from "../fused_nest.ts";
import { i32 } from "../wasm/scalars.ts";
import { type Conv, productsWin, productWins } from "./choice.ts";
import type { TypedShapes } from "./convolution.ts";
import type { OnednnEngine } from "./engine.ts";
import type { Floats, Layout } from "./maker.ts";

/** Multiplications and additions that a task has at least. */
const TASK_OPERATIONS = 2e6;
/** The least rows of a task: 8 × 2,048 × 512 runs at 65 GFLOP/s, 16 rows at 83, 32 at 96. */
const LEAST_ROWS = 16;
/** The most slices of a product's rows. */
const MOST_SLICES = 64;

/** `c = a · b`, sliced by rows; undefined where it stays with WebAssembly. */
export function product(
  engine: OnednnEngine,
  aShape: Shape,
  bShape: Shape,
  cShape: Shape,
  dtype: Floats,
  { transposeA, transposeB }: OpAttrs["matmul"],
  a: Operand,
  b: Operand,
  c: Operand,
): Launches | undefined {
  const [n = 1, m = 1, batch = 1] = cShape.toReversed();
  const k = aShape[aShape.length - (transposeA ? 2 : 1)] ?? 1;
  const operations = 2 * m * n * k;
  if (bShape.length < 2) return undefined;
  if (!productWins(operations)) {
    if (!productsWin(operations, batch)) return undefined;
    return products(engine, { batch, m, n, k, dtype }, { transposeA, transposeB }, a, b, c);
  }
  const most = Math.max(1, Math.floor(m / LEAST_ROWS));
  const wanted = Math.min(MOST_SLICES, most, Math.ceil(operations / TASK_OPERATIONS));
  const each = Math.ceil(m / wanted), count = Math.ceil(m / each), last = m - (count - 1) * each;
  const by: Layout = { dtype, sizes: [k, n], strides: transposeB ? [1, k] : [n, 1] };
  const of = (rows: number) =>
    engine.product(
      { dtype, sizes: [rows, k], strides: transposeA ? [1, m] : [k, 1] },
      by,
      { dtype, sizes: [rows, n], strides: [n, 1] },
    );
  const bytes = elementSize(dtype);
  const whole = of(each), rest = last === each ? whole : of(last);
  if (whole === undefined || rest === undefined) return undefined;
  const primitives = [...new Set([whole, rest])];
  const routine: Routine = {
    key: `oneDNN product ${primitives.map(({ id, implementation }) => `${implementation} #${id}`).join()}, ` +
      `batch ${batch}, ${m} rows`,
    tasks: batch * count,
    operands: 3,
    scratch: Math.max(whole.scratch, rest.scratch),
    primitives,
    build({ f, operands: [a, b, c], task, execute }) {
      if (a === undefined || b === undefined || c === undefined) {
        throw new Error("a product takes three operands");
      }
      const matrix = f.int(i32.divU(task, count)), slice = f.int(i32.remU(task, count));
      const row = f.int(i32.mul(slice, each));
      f.increment(a, i32.mul(i32.add(i32.mul(matrix, m * k), i32.mul(row, transposeA ? 1 : k)), bytes));
      f.increment(b, i32.mul(matrix, k * n * bytes));
      f.increment(c, i32.mul(i32.add(i32.mul(matrix, m * n), i32.mul(row, n)), bytes));
      if (whole === rest) execute(whole, a, b, c);
      else {
        f.if(i32.eq(slice, count - 1), () => execute(rest, a, b, c), () => execute(whole, a, b, c));
      }
    },
  };
  return { launches: [{ routine, operands: [a, b, c] }], workspace: 0 };
}

/** Products of small matrices, several in a call. */
function products(
  engine: OnednnEngine,
  { batch, m, n, k, dtype }: {
    readonly batch: number;
    readonly m: number;
    readonly n: number;
    readonly k: number;
    readonly dtype: Floats;
  },
  { transposeA, transposeB }: OpAttrs["matmul"],
  a: Operand,
  b: Operand,
  c: Operand,
): Launches | undefined {
  const least = Math.max(Math.ceil(TASK_OPERATIONS / (2 * m * n * k)), Math.ceil(batch / MOST_SLICES));
  const count = Math.ceil(batch / least), each = Math.ceil(batch / count), last = batch - (count - 1) * each;
  const of = (matrices: number) =>
    engine.product(
      { dtype, sizes: [matrices, m, k], strides: [m * k, ...(transposeA ? [1, m] : [k, 1])] },
      { dtype, sizes: [matrices, k, n], strides: [k * n, ...(transposeB ? [1, k] : [n, 1])] },
      { dtype, sizes: [matrices, m, n], strides: [m * n, n, 1] },
    );
  const whole = of(each), rest = last === each ? whole : of(last);
  if (whole === undefined || rest === undefined) return undefined;
  const primitives = [...new Set([whole, rest])];
  const bytes = elementSize(dtype);
  const routine: Routine = {
    key:
      `oneDNN products ${primitives.map(({ id, implementation }) => `${implementation} #${id}`).join()}, ` +
      `${each} of ${batch}`,
    tasks: count,
    operands: 3,
    scratch: Math.max(whole.scratch, rest.scratch),
    primitives,
    build({ f, operands: [a, b, c], task, execute }) {
      if (a === undefined || b === undefined || c === undefined) {
        throw new Error("a product takes three operands");
      }
      for (const [pointer, size] of [[a, m * k], [b, k * n], [c, m * n]] as const) {
        f.increment(pointer, i32.mul(task, each * size * bytes));
      }
      if (whole === rest) execute(whole, a, b, c);
      else f.if(i32.eq(task, count - 1), () => execute(rest, a, b, c), () => execute(whole, a, b, c));
    },
  };
  return { launches: [{ routine, operands: [a, b, c] }], workspace: 0 };
}

/** A 1 × 1 convolution, or a gradient of one, as the product that it is. */
export function pointwise(
  engine: OnednnEngine,
  kind: Conv["kind"],
  { dtype, image, filter: [k = 1, , , c = 1], y }: TypedShapes,
  a: Operand,
  b: Operand,
  result: Operand,
): Launches | undefined {
  const pixels = sizeOf(y) / k, images = [sizeOf(image) / c, c], maps = [pixels, k], filter = [k, c];
  const plain = { transposeA: false, transposeB: false };
  switch (kind) {
    case "forward":
      return product(engine, images, filter, maps, dtype, { ...plain, transposeB: true }, a, b, result);
    case "inputGrad":
      return product(engine, maps, filter, images, dtype, plain, a, b, result);
    case "filterGrad":
      return product(engine, maps, images, filter, dtype, { ...plain, transposeA: true }, b, a, result);
  }
}
