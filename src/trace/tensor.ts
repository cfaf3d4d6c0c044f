import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectOptions, shown } from "../base/expect.ts";
import { noOperator, printsAsText } from "../base/inspect.ts";
import { type Aval, type DType, formatAval, requireShape, sameShape, type Shape, sizeOf } from "./dtype.ts";
import { notAnElement } from "./elements.ts";
import type { BinaryFn, CompareFn, ReduceFn, UnaryFn } from "./ops.ts";
import type { ValueId } from "./program.ts";
import { type Axes, axesOf, axisOf, broadcastShape, expectNumbers, inferExtent } from "./shape_arguments.ts";
import { atUserLine, tracing } from "./site.ts";
import type { Trace } from "./trace.ts";

/** An operand of arithmetic. A number takes the dtype and shape of the other operand. */
export type Operand = Tensor | number;

/**
 * A value inside a traced function, with a known shape and dtype but no elements yet. Each method records one or a few
 * ops; nothing is computed until the traced function runs. Binary methods broadcast as NumPy does and never mix dtypes.
 *
 * Methods throw a {@link LocalgradError} that names the op, its operands and the caller's line if shapes or dtypes do
 * not fit.
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
  /** The trace that records this tensor. */
  readonly trace: Trace;
  /** The value that this tensor stands for in the program. */
  readonly id: ValueId;

  /** Called by tracing only; see {@link Trace}. */
  constructor(trace: Trace, id: ValueId) {
    this.trace = trace;
    this.id = id;
  }

  /** Extent of each axis, in elements. */
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

  /** Its name, if it is an argument, with dtype and shape, such as `Tensor "0.weight" f32[8,3]`. */
  toString(): string {
    const name = this.trace.builder.inputName(this.id) ?? "";
    return `Tensor ${name === "" ? "" : `"${name}" `}${formatAval(this)}`;
  }
  /**
   * Gives the text of a template; refuses operators, which would compute with that text.
   *
   * @throws {LocalgradError} in `a + b`, `a < b`, `-a` and the like.
   */
  [Symbol.toPrimitive](hint: string): string {
    return hint === "string" ? this.toString() : this.trace.fail(noOperator(this.toString(), hint));
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
  /** Element-wise quotient. Integer division truncates; an integer divided by 0 is itself. */
  div(other: Operand): Tensor {
    return this.#binary("div", other);
  }
  /** Element-wise power, f32 or bf16. x⁰ and 1ʸ are 1, even for NaN; a negative base gives NaN unless y is whole. */
  pow(other: Operand): Tensor {
    return this.#binary("pow", other);
  }
  /** Element-wise remainder, exact, with the sign of the dividend; 0 for an integer divided by 0. */
  rem(other: Operand): Tensor {
    return this.#binary("rem", other);
  }
  /** Element-wise maximum; NaN where either operand is. */
  maximum(other: Operand): Tensor {
    return this.#binary("max", other);
  }
  /** Element-wise minimum; NaN where either operand is. */
  minimum(other: Operand): Tensor {
    return this.#binary("min", other);
  }
  /** Element-wise and: logical on bool, bitwise on integers. */
  and(other: Operand): Tensor {
    return this.#binary("and", other);
  }
  /** Element-wise or: logical on bool, bitwise on integers. */
  or(other: Operand): Tensor {
    return this.#binary("or", other);
  }
  /** Element-wise exclusive or: logical on bool, bitwise on integers. */
  xor(other: Operand): Tensor {
    return this.#binary("xor", other);
  }
  /** Element-wise left shift of integers, by a count modulo 32. */
  shl(other: Operand): Tensor {
    return this.#binary("shl", other);
  }
  /** Element-wise right shift of integers, by a count modulo 32: arithmetic on i32, logical on u32. */
  shr(other: Operand): Tensor {
    return this.#binary("shr", other);
  }

  /** Element-wise negation. */
  neg(): Tensor {
    return this.#unary("neg");
  }
  /** Element-wise absolute value. */
  abs(): Tensor {
    return this.#unary("abs");
  }
  /** Element-wise sign: −1, 0 or 1; NaN where the operand is. */
  sign(): Tensor {
    return this.#unary("sign");
  }
  /** Element-wise largest integer at most x. */
  floor(): Tensor {
    return this.#unary("floor");
  }
  /** Element-wise eˣ. */
  exp(): Tensor {
    return this.#unary("exp");
  }
  /** Element-wise natural logarithm. */
  log(): Tensor {
    return this.#unary("log");
  }
  /** Element-wise square root. */
  sqrt(): Tensor {
    return this.#unary("sqrt");
  }
  /** Element-wise 1 / √x. */
  rsqrt(): Tensor {
    return this.#unary("rsqrt");
  }
  /** Element-wise sine, of radians. */
  sin(): Tensor {
    return this.#unary("sin");
  }
  /** Element-wise cosine, of radians. */
  cos(): Tensor {
    return this.#unary("cos");
  }
  /** Element-wise hyperbolic tangent. */
  tanh(): Tensor {
    return this.#unary("tanh");
  }
  /** Element-wise error function, 2 / √π times the integral of e^−t² from 0 to x; in [−1, 1]. */
  erf(): Tensor {
    return this.#unary("erf");
  }
  /** Element-wise complement: logical on bool, bitwise on integers. */
  not(): Tensor {
    return this.#unary("not");
  }
  /** Element-wise test for numbers that are neither infinite nor NaN; bool. */
  isFinite(): Tensor {
    return this.#unary("isFinite");
  }
  /** Element-wise x². */
  square(): Tensor {
    return this.mul(this);
  }
  /** Element-wise max(x, 0); NaN where x is. The gradient at 0 is 0, as in PyTorch. */
  relu(): Tensor {
    return this.maximum(0);
  }
  /** Element-wise logistic function 1 / (1 + e⁻ˣ). */
  sigmoid(): Tensor {
    // z = e^−|x| cannot overflow, and neither 1 / (1 + z) nor z / (1 + z) cancels: both stay accurate when tiny.
    // Unlike |x|, the minimum has a derivative at 0: with the select below, the right one.
    const z = this.minimum(this.neg()).exp();
    const low = this.lt(0);
    return low.trace.emit("select", [low, z, constantLike(1, z)], {}).div(z.add(1));
  }

  /** Element-wise =; bool. */
  eq(other: Operand): Tensor {
    return this.#compare("eq", other);
  }
  /** Element-wise ≠; bool. */
  ne(other: Operand): Tensor {
    return this.#compare("ne", other);
  }
  /** Element-wise <; bool. */
  lt(other: Operand): Tensor {
    return this.#compare("lt", other);
  }
  /** Element-wise ≤; bool. */
  le(other: Operand): Tensor {
    return this.#compare("le", other);
  }
  /** Element-wise >; bool. */
  gt(other: Operand): Tensor {
    return this.#compare("gt", other);
  }
  /** Element-wise ≥; bool. */
  ge(other: Operand): Tensor {
    return this.#compare("ge", other);
  }

  /**
   * Converts to another dtype. Conversion to bf16 rounds to nearest even. Conversion from floating point to an integer
   * truncates toward zero, saturates at the ends of the range, and turns NaN into 0.
   */
  cast(dtype: DType): Tensor {
    return dtype === this.dtype ? this : this.trace.emit("cast", [this], { dtype });
  }

  /**
   * Sum over axes. Like every reduction, it computes bf16 in f32 and rounds once.
   *
   * @param options `keepDims` (default false) keeps the reduced axes with extent 1.
   */
  sum(axes?: Axes, options?: { keepDims?: boolean }): Tensor {
    return this.#reduce("sum", axes, options);
  }
  /** Maximum over axes; NaN if any element is. */
  max(axes?: Axes, options?: { keepDims?: boolean }): Tensor {
    return this.#reduce("max", axes, options);
  }
  /** Minimum over axes; NaN if any element is. */
  min(axes?: Axes, options?: { keepDims?: boolean }): Tensor {
    return this.#reduce("min", axes, options);
  }
  /** Mean over axes, f32 or bf16: cast integers and bools to f32 first. */
  mean(axes?: Axes, options?: { keepDims?: boolean }): Tensor {
    if (this.dtype === "bf16") return this.cast("f32").mean(axes, options).cast("bf16");
    if (this.dtype !== "f32") {
      const why = `a mean of ${this.dtype} has fractions; cast to f32 first: x.cast("f32").mean()`;
      this.trace.fail(`mean(${formatAval(this)}): ${why}`);
    }
    const sum = this.#reduce("sum", axes, options);
    return sum.mul(1 / axesOf(this.rank, axes).reduce((count, axis) => count * at(this.shape, axis), 1));
  }
  /** Index (i32) of the first maximum along an axis, which is removed; of the first NaN if there is one. */
  argmax(axis: number = -1): Tensor {
    const exact = this.dtype === "bf16" ? this.cast("f32") : this;
    return this.trace.emit("argmax", [exact], { axis: axisOf(this.rank, axis) });
  }

  /**
   * Matrix product `[M, K] × [K, N]`, or of each pair of a batch, `[…B, M, K] × […B, K, N]`. Batch axes broadcast as in
   * NumPy. If the other operand is one matrix, `[…B, M, K]` is multiplied as one matrix of all rows.
   *
   * @param options `transposeA` and `transposeB` (default false) swap the last two axes of an operand first.
   */
  matmul(other: Tensor, options: { transposeA?: boolean; transposeB?: boolean } = {}): Tensor {
    expectTensor("matmul", other);
    expectOptions("matmul", options, { transposeA: "boolean?", transposeB: "boolean?" });
    const { transposeA = false, transposeB = false } = options;
    const product = (a: Tensor, b: Tensor) => this.trace.emit("matmul", [a, b], { transposeA, transposeB });
    const [batch, otherBatch] = [this.shape.slice(0, -2), other.shape.slice(0, -2)];
    const isPlain = batch.length <= 1 && sameShape(batch, otherBatch);
    if (isPlain || this.rank < 2 || other.rank < 2) return product(this, other); // or refused by the op's rule
    if (other.rank === 2 && !transposeA) {
      const columns = at(this.shape, this.rank - 1);
      const rows = product(this.reshape(sizeOf(this.shape.slice(0, -1)), columns), other);
      return rows.reshape(...this.shape.slice(0, -1), at(rows.shape, 1));
    }
    const shared = broadcastShape(batch, otherBatch);
    if (shared === undefined) {
      const why = `batches [${batch.join(",")}] and [${otherBatch.join(",")}] do not broadcast`;
      this.trace.fail(`matmul(${formatAval(this)}, ${formatAval(other)}): ${why}`);
    }
    const stacked = (t: Tensor) => {
      const matrix = t.shape.slice(-2);
      return t.broadcastTo([...shared, ...matrix]).reshape(sizeOf(shared), ...matrix);
    };
    const result = product(stacked(this), stacked(other));
    return result.reshape(...shared, ...result.shape.slice(1));
  }

  /** The same elements, row-major, in another shape; one extent may be −1, which is inferred. */
  reshape(...shape: number[]): Tensor {
    expectNumbers("reshape: the shape", shape);
    const full = inferExtent(shape, this.size);
    return sameShape(full, this.shape) ? this : this.trace.emit("reshape", [this], { shape: full });
  }
  /** Permutes axes: axis i of the result is axis `permutation[i]` of this tensor. Default: reverses them. */
  transpose(...permutation: number[]): Tensor {
    expectNumbers("transpose: the axes", permutation);
    const order = permutation.length > 0 ? permutation : this.shape.map((_, axis) => this.rank - 1 - axis);
    return this.trace.emit("transpose", [this], { permutation: order });
  }
  /** Broadcasts to a shape, as NumPy does. */
  broadcastTo(shape: Shape): Tensor {
    requireShape(shape, "broadcast");
    if (sameShape(shape, this.shape)) return this;
    // The op's own rule would complain of the rank, which NumPy's broadcasting extends automatically.
    if (shape.length < this.rank) {
      this.trace.fail(`broadcastTo: ${formatAval(this)} does not broadcast to [${shape.join(",")}]`);
    }
    const aligned = this.reshape(...new Array(shape.length - this.rank).fill(1), ...this.shape);
    return sameShape(shape, aligned.shape) ? aligned : this.trace.emit("broadcast", [aligned], { shape });
  }
  /** Elements `starts` (inclusive) to `limits` (exclusive) of each axis, in steps of `strides` (default 1). */
  slice(starts: Shape, limits: Shape, strides?: Shape): Tensor {
    for (const each of [starts, limits, strides ?? []]) {
      expectNumbers("slice: starts, limits and strides", each);
    }
    return this.trace.emit("slice", [this], { starts, limits, strides: strides ?? starts.map(() => 1) });
  }
  /** Adds zeros before (`low`), after (`high`) and between (`interior`, default 0) the elements of each axis. */
  pad(low: Shape, high: Shape, interior?: Shape): Tensor {
    for (const each of [low, high, interior ?? []]) expectNumbers("pad: low, high and interior", each);
    return this.trace.emit("pad", [this], { low, high, interior: interior ?? low.map(() => 0) });
  }
  /**
   * Selects rows of axis 0 by index, like PyTorch's `index_select` with indices of any shape (PyTorch's `gather` is
   * another function). Indices are clamped into range; a u8 tensor gives f32.
   *
   * @param indices Row numbers, i32 or u32, of shape `[…I]`. From `[rows, …R]` they select `[…I, …R]`.
   */
  gather(indices: Tensor): Tensor {
    expectTensor("gather", indices);
    return this.trace.emit("gather", [this, indices], {});
  }
  /** The same value, treated as a constant by gradients. */
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
  #reduce(fn: ReduceFn, axes: Axes | undefined, options: { keepDims?: boolean } = {}): Tensor {
    expectOptions(fn, options, { keepDims: "boolean?" });
    if (this.dtype === "bf16") return this.cast("f32").#reduce(fn, axes, options).cast("bf16");
    const folded = axesOf(this.rank, axes).sort((a, b) => a - b);
    const result = this.trace.emit("reduce", [this], { fn, axes: folded });
    if (options.keepDims !== true) return result;
    return result.reshape(...this.shape.map((extent, axis) => folded.includes(axis) ? 1 : extent));
  }
}

printsAsText(Tensor);

/** A tensor filled with `value`, of the shape and dtype of `like`. */
export function constantLike(value: number, like: Tensor): Tensor {
  return like.trace.emit("constant", [], { shape: like.shape, dtype: like.dtype, values: [value] });
}

/** Broadcasts two operands of `fn` to one shape, as NumPy does. */
function broadcastTogether(fn: string, a: Tensor, b: Operand): [Tensor, Tensor] {
  if (typeof b === "number") {
    const wrong = notAnElement(b, a.dtype);
    if (wrong === undefined) return [a, constantLike(b, a)];
    a.trace.fail(`${fn}(${formatAval(a)}, ${b}): ${wrong}; cast the tensor to f32 first`);
  }
  expectTensor(fn, b);
  const shape = broadcastShape(a.shape, b.shape);
  // If they do not broadcast, the op's own shape rule says so.
  return shape === undefined ? [a, b] : [a.broadcastTo(shape), b.broadcastTo(shape)];
}

/** Refuses anything but tensors, such as a device array outside of `jit`; `who` begins the message. */
export function expectTensor(who: string, ...values: readonly unknown[]): void {
  expectTensors(who, values);
}

/** The text of an array with elements; undefined for any other value. */
export function arrayText(value: unknown): string | undefined {
  if (ArrayBuffer.isView(value)) return shown(value);
  if (typeof value !== "object" || value === null || !("shape" in value) || !("dtype" in value)) {
    return undefined;
  }
  const name = value.constructor?.name;
  return name === "DeviceArray" || name === "HostArray"
    ? `the ${name} ${formatAval(value as Aval)}`
    : undefined;
}

/** Refuses a list with anything but tensors; `who` begins the message. */
export function expectTensors(who: string, values: readonly unknown[]): asserts values is readonly Tensor[] {
  for (const value of values) {
    if (value instanceof Tensor) continue;
    const array = arrayText(value);
    if (array === undefined) {
      throw new LocalgradError(`${who} takes tensors of a traced function, not ${shown(value)}`);
    }
    throw new LocalgradError(
      tracing()
        ? `${who}: the traced function reads ${array} from outside; pass it as an argument${atUserLine()}`
        : `${who} takes tensors of a traced function, not ${array}; call it within jit(…)${atUserLine()}`,
    );
  }
}
