import { LocalgradError } from "../base/errors.ts";
import { expectKind, expectOptions, shown } from "../base/expect.ts";
import { type Aval, type DType, formatAval, requireShape, sameShape, type Shape, sizeOf } from "./dtype.ts";
import { notAnElement } from "./elements.ts";
import type { BinaryFn, CompareFn, ReduceFn, UnaryFn } from "./ops.ts";
import type { ValueId } from "./program.ts";
import type { Trace } from "./trace.ts";

/** What arithmetic accepts beside a tensor: a number takes the tensor's dtype and shape. */
export type Operand = Tensor | number;

/** Which axes a reduction folds: one, several, or all when left out. Negative axes count from the end. */
export type Axes = number | readonly number[];

/**
 * A value inside a traced function: shape and dtype are known, elements are not. Operators broadcast as NumPy does,
 * never mix dtypes, and record one op or a few; nothing is computed until the traced function runs.
 *
 * @example
 * ```ts
 * import { devices, jit } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * await using device = await devices.open("reference");
 * const norm = jit((x) => x.mul(x).sum().sqrt(), { device });
 * using x = device.array([3, 4]);
 * using y = norm(x);
 * assertEquals([...await y.read()], [5]);
 * ```
 */
export class Tensor implements Aval {
  /** The traced function it belongs to. */
  readonly trace: Trace;
  /** Its value in the program. */
  readonly id: ValueId;

  /** Tensors are made by tracing; see {@link Trace}. */
  constructor(trace: Trace, id: ValueId) {
    this.trace = trace;
    this.id = id;
  }

  /** Elements along each axis. */
  get shape(): Shape {
    return this.trace.builder.aval(this.id).shape;
  }
  /** Element type. */
  get dtype(): DType {
    return this.trace.builder.aval(this.id).dtype;
  }
  /** Number of axes. */
  get rank(): number {
    return this.shape.length;
  }
  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  /** Element-wise sum. */
  add(other: Operand): Tensor {
    return this.#binary("add", other);
  }
  /** Element-wise difference. */
  sub(other: Operand): Tensor {
    return this.#binary("sub", other);
  }
  /** Element-wise product. */
  mul(other: Operand): Tensor {
    return this.#binary("mul", other);
  }
  /** Element-wise quotient; integers truncate, and one divided by 0 is itself. */
  div(other: Operand): Tensor {
    return this.#binary("div", other);
  }
  /** Element-wise power, of real numbers. x⁰ and 1ʸ are 1, of NaN too; below 0 only whole powers are not NaN. */
  pow(other: Operand): Tensor {
    return this.#binary("pow", other);
  }
  /** Element-wise remainder with the sign of the dividend, exact; of an integer divided by 0 it is 0. */
  rem(other: Operand): Tensor {
    return this.#binary("rem", other);
  }
  /** The larger of two, element-wise; NaN where either is. */
  maximum(other: Operand): Tensor {
    return this.#binary("max", other);
  }
  /** The smaller of two, element-wise; NaN where either is. */
  minimum(other: Operand): Tensor {
    return this.#binary("min", other);
  }
  /** Logical (bool) or bitwise (integers) and. */
  and(other: Operand): Tensor {
    return this.#binary("and", other);
  }
  /** Logical (bool) or bitwise (integers) or. */
  or(other: Operand): Tensor {
    return this.#binary("or", other);
  }
  /** Logical (bool) or bitwise (integers) exclusive or. */
  xor(other: Operand): Tensor {
    return this.#binary("xor", other);
  }
  /** Shift left, integers, by a count modulo 32. */
  shl(other: Operand): Tensor {
    return this.#binary("shl", other);
  }
  /** Shift right, integers, by a count modulo 32: arithmetic on i32, logical on u32. */
  shr(other: Operand): Tensor {
    return this.#binary("shr", other);
  }

  /** Element-wise negation. */
  neg(): Tensor {
    return this.#unary("neg");
  }
  /** Absolute value. */
  abs(): Tensor {
    return this.#unary("abs");
  }
  /** −1, 0 or 1; NaN of NaN. */
  sign(): Tensor {
    return this.#unary("sign");
  }
  /** The largest integer not above. */
  floor(): Tensor {
    return this.#unary("floor");
  }
  /** eˣ. */
  exp(): Tensor {
    return this.#unary("exp");
  }
  /** Natural logarithm. */
  log(): Tensor {
    return this.#unary("log");
  }
  /** Square root. */
  sqrt(): Tensor {
    return this.#unary("sqrt");
  }
  /** 1 / √x. */
  rsqrt(): Tensor {
    return this.#unary("rsqrt");
  }
  /** Sine. */
  sin(): Tensor {
    return this.#unary("sin");
  }
  /** Cosine. */
  cos(): Tensor {
    return this.#unary("cos");
  }
  /** Hyperbolic tangent. */
  tanh(): Tensor {
    return this.#unary("tanh");
  }
  /** Logical (bool) or bitwise (integers) complement. */
  not(): Tensor {
    return this.#unary("not");
  }
  /** True where neither infinite nor NaN. */
  isFinite(): Tensor {
    return this.#unary("isFinite");
  }
  /** x². */
  square(): Tensor {
    return this.mul(this);
  }
  /** max(x, 0), and NaN of NaN. Its gradient at 0 is 0, as PyTorch's. */
  relu(): Tensor {
    return this.maximum(0);
  }
  /** 1 / (1 + e⁻ˣ). */
  sigmoid(): Tensor {
    // z = e^−|x| does not overflow, and 1 / (1 + z) or z / (1 + z) cancels nothing: both are accurate however small.
    // The minimum, unlike |x|, has a derivative at 0, and with the choice below it is the right one.
    const z = this.minimum(this.neg()).exp();
    const low = this.lt(0);
    return low.trace.emit("select", [low, z, constantLike(1, z)], {}).div(z.add(1));
  }

  /** Element-wise =. */
  eq(other: Operand): Tensor {
    return this.#compare("eq", other);
  }
  /** Element-wise ≠. */
  ne(other: Operand): Tensor {
    return this.#compare("ne", other);
  }
  /** Element-wise <. */
  lt(other: Operand): Tensor {
    return this.#compare("lt", other);
  }
  /** Element-wise ≤. */
  le(other: Operand): Tensor {
    return this.#compare("le", other);
  }
  /** Element-wise >. */
  gt(other: Operand): Tensor {
    return this.#compare("gt", other);
  }
  /** Element-wise ≥. */
  ge(other: Operand): Tensor {
    return this.#compare("ge", other);
  }

  /** Converts to another dtype; to bf16 rounds to the nearest; real numbers → integer truncates toward zero, out of range to the nearest end, NaN to 0. */
  cast(dtype: DType): Tensor {
    return dtype === this.dtype ? this : this.trace.emit("cast", [this], { dtype });
  }

  /** Sum over axes. Of bf16, as all that goes over many elements, it is made in f32 and rounded once. */
  sum(axes?: Axes, options?: { keepDims?: boolean }): Tensor {
    return this.#reduce("sum", axes, options);
  }
  /** Largest over axes; NaN where any element is. */
  max(axes?: Axes, options?: { keepDims?: boolean }): Tensor {
    return this.#reduce("max", axes, options);
  }
  /** Smallest over axes; NaN where any element is. */
  min(axes?: Axes, options?: { keepDims?: boolean }): Tensor {
    return this.#reduce("min", axes, options);
  }
  /** Mean over axes, of real numbers: cast integers and bools to f32 first. */
  mean(axes?: Axes, options?: { keepDims?: boolean }): Tensor {
    if (this.dtype === "bf16") return this.cast("f32").mean(axes, options).cast("bf16");
    if (this.dtype !== "f32") {
      this.trace.fail(
        `mean(${
          formatAval(this)
        }): a mean of ${this.dtype} has fractions; cast to f32 first: x.cast("f32").mean()`,
      );
    }
    const folded = this.#axes(axes).reduce((product, axis) => product * this.shape[axis], 1);
    return this.#reduce("sum", axes, options).mul(1 / folded);
  }
  /** Index (i32) of the first maximum along an axis, which goes away; that of the first NaN where there is one. */
  argmax(axis: number = -1): Tensor {
    const exact = this.dtype === "bf16" ? this.cast("f32") : this;
    return this.trace.emit("argmax", [exact], { axis: this.#axes(axis)[0] });
  }

  /** Matrix product; one leading batch axis allowed. */
  matmul(other: Tensor, options: { transposeA?: boolean; transposeB?: boolean } = {}): Tensor {
    expectTensor("matmul", other);
    expectOptions("matmul", options, { transposeA: "boolean?", transposeB: "boolean?" });
    const { transposeA = false, transposeB = false } = options;
    return this.trace.emit("matmul", [this, other], { transposeA, transposeB });
  }

  /** The same elements in another shape; one extent may be −1 and is worked out. */
  reshape(...shape: number[]): Tensor {
    expectNumbers("reshape: the shape", shape);
    const unknown = shape.indexOf(-1);
    let full: Shape = shape;
    if (unknown >= 0) {
      const known = shape.reduce((product, extent, axis) => axis === unknown ? product : product * extent, 1);
      full = shape.map((extent, axis) => axis === unknown ? Math.floor(this.size / known) : extent);
    }
    return sameShape(full, this.shape) ? this : this.trace.emit("reshape", [this], { shape: full });
  }
  /** Axes in another order; reversed when left out. */
  transpose(...permutation: number[]): Tensor {
    expectNumbers("transpose: the axes", permutation);
    const order = permutation.length > 0 ? permutation : this.shape.map((_, axis) => this.rank - 1 - axis);
    return this.trace.emit("transpose", [this], { permutation: order });
  }
  /** Repeats to a shape, as NumPy broadcasting does. */
  broadcastTo(shape: Shape): Tensor {
    requireShape(shape, "broadcast");
    if (sameShape(shape, this.shape)) return this;
    // Without the unit axes that numpy adds in front, the op's own rule would complain of rank, not of extents.
    if (shape.length < this.rank) {
      this.trace.fail(`broadcastTo: ${formatAval(this)} does not broadcast to [${shape.join(",")}]`);
    }
    const aligned = this.reshape(...new Array(shape.length - this.rank).fill(1), ...this.shape);
    return sameShape(shape, aligned.shape) ? aligned : this.trace.emit("broadcast", [aligned], { shape });
  }
  /** Elements `starts … limits` (exclusive) by `strides` of each axis. */
  slice(starts: Shape, limits: Shape, strides?: Shape): Tensor {
    for (const each of [starts, limits, strides ?? []]) {
      expectNumbers("slice: starts, limits and strides", each);
    }
    return this.trace.emit("slice", [this], { starts, limits, strides: strides ?? starts.map(() => 1) });
  }
  /** Zeros before (`low`), after (`high`) and between (`interior`) the elements of each axis. */
  pad(low: Shape, high: Shape, interior?: Shape): Tensor {
    for (const each of [low, high, interior ?? []]) expectNumbers("pad: low, high and interior", each);
    return this.trace.emit("pad", [this], { low, high, interior: interior ?? low.map(() => 0) });
  }
  /** Rows of axis 0 at integer `indices`, clamped into range; a u8 operand is read as f32. */
  gather(indices: Tensor): Tensor {
    expectTensor("gather", indices);
    return this.trace.emit("gather", [this, indices], {});
  }
  /** The same value, through which no gradient flows. */
  stopGradient(): Tensor {
    return this.trace.emit("stopGradient", [this], {});
  }

  #unary(fn: UnaryFn): Tensor {
    return this.trace.emit("unary", [this], { fn });
  }
  #binary(fn: BinaryFn, other: Operand): Tensor {
    return this.trace.emit("binary", broadcastTogether(fn, this, other), { fn });
  }
  #compare(fn: CompareFn, other: Operand): Tensor {
    return this.trace.emit("compare", broadcastTogether(fn, this, other), { fn });
  }
  #axes(axes: Axes | undefined): number[] {
    if (axes === undefined) return this.shape.map((_, axis) => axis);
    const all = typeof axes === "number" ? [axes] : axes;
    expectNumbers("the axes", all);
    return all.map((axis) => axis < 0 ? axis + this.rank : axis);
  }
  #reduce(fn: ReduceFn, axes: Axes | undefined, options: { keepDims?: boolean } = {}): Tensor {
    expectOptions(fn, options, { keepDims: "boolean?" });
    if (this.dtype === "bf16") return this.cast("f32").#reduce(fn, axes, options).cast("bf16");
    const folded = this.#axes(axes).sort((a, b) => a - b);
    const result = this.trace.emit("reduce", [this], { fn, axes: folded });
    if (options.keepDims !== true) return result;
    return result.reshape(...this.shape.map((extent, axis) => folded.includes(axis) ? 1 : extent));
  }
}

/** A number as a tensor like another one. */
export function constantLike(value: number, like: Tensor): Tensor {
  return like.trace.emit("constant", [], { shape: like.shape, dtype: like.dtype, values: [value] });
}

/** Brings two operands of `fn` to one shape, as NumPy does. */
function broadcastTogether(fn: string, a: Tensor, b: Operand): [Tensor, Tensor] {
  if (typeof b === "number") {
    const wrong = notAnElement(b, a.dtype);
    if (wrong === undefined) return [a, constantLike(b, a)];
    a.trace.fail(`${fn}(${formatAval(a)}, ${b}): ${wrong}; cast the tensor to f32 first`);
  }
  expectTensor(fn, b);
  const shape = broadcastShape(a.shape, b.shape);
  // Where the shapes do not go together the op's own shape rule says so, with op and user's line.
  return shape === undefined ? [a, b] : [a.broadcastTo(shape), b.broadcastTo(shape)];
}

/** The shape two shapes broadcast to, or undefined where they do not go together. */
export function broadcastShape(a: Shape, b: Shape): Shape | undefined {
  const rank = Math.max(a.length, b.length);
  const shape: number[] = [];
  for (let axis = 0; axis < rank; axis++) {
    const x = a[axis - (rank - a.length)] ?? 1;
    const y = b[axis - (rank - b.length)] ?? 1;
    if (x !== y && x !== 1 && y !== 1) return undefined;
    shape.push(x === 1 ? y : x);
  }
  return shape;
}

/** Refuses what is no list of numbers; `what` begins the message. */
function expectNumbers(what: string, values: readonly number[]): void {
  expectKind(what, values, "array");
  for (const value of values) expectKind(what, value, "number");
}

/** Refuses what is no tensor, such as a device array outside of `jit`; `who` begins the message. */
export function expectTensor(who: string, ...values: readonly unknown[]): void {
  const wrong = values.find((value) => !(value instanceof Tensor));
  if (wrong === undefined && values.every((value) => value !== undefined)) return;
  throw new LocalgradError(`${who} takes tensors of a traced function, not ${shown(wrong)}`);
}
