import { type Aval, sameShape, type Shape, sizeOf } from "../../../src/trace/dtype.ts";
import type { OpAttrs, OpName } from "../../../src/trace/ops.ts";
import { ProgramBuilder, type ProgramOutput, type ValueId } from "../../../src/trace/program.ts";
import type { HostData } from "../../../src/trace/dtype.ts";
import type { Case } from "../check.ts";
import { aval, f32, Random } from "../random.ts";

/** Records a random program, in which every value may be used by later instructions. */
class Writer {
  readonly #random: Random;
  readonly #builder = new ProgramBuilder();
  readonly #inputs: { readonly value: ValueId; readonly data: HostData; readonly donated: boolean }[] = [];
  /** Values by dtype, with the largest magnitude an element can have. */
  readonly #made: { readonly value: ValueId; readonly most: number }[] = [];

  constructor(random: Random) {
    this.#random = random;
    for (let i = random.int(1, 3); i > 0; i--) this.input(f32(...this.#shape()));
    for (let i = random.int(4, 24); i > 0; i--) this.#step();
  }

  /** Adds an input of random elements. */
  input(aval: Aval): ValueId {
    const donated = this.#random.chance(0.3);
    const value = this.#builder.input(aval, `x${this.#inputs.length}`, "inputs", donated);
    this.#inputs.push({ value, data: this.#random.elements(aval), donated });
    this.#made.push({ value, most: aval.dtype === "f32" ? 2 : 2 ** 32 });
    return value;
  }

  /** Ends the program: a few of its values are results, some in the memory of a donated input. */
  finish(label: string): Case {
    const results = this.#random.shuffle(this.#made.map(({ value }) => value)).slice(
      0,
      this.#random.int(1, 4),
    );
    const last = this.#made.at(-1)!.value;
    if (!results.includes(last)) results.push(last);
    const donors = this.#inputs.map((_, i) => i).filter((i) => this.#inputs[i].donated);
    const outputs = results.map((value, i): ProgramOutput => {
      const fits = donors.findIndex((input) => this.#same(value, input));
      const name = `y${i}`;
      return fits < 0 ? { value, name } : { value, name, donor: donors.splice(fits, 1)[0] };
    });
    const inputs = this.#inputs.map(({ data }) => data);
    return { label, program: this.#builder.finish(label, outputs), inputs };
  }

  #same(value: ValueId, input: number): boolean {
    const [a, b] = [this.#builder.aval(value), this.#builder.aval(this.#inputs[input].value)];
    return a.dtype === b.dtype && sameShape(a.shape, b.shape);
  }

  #shape(): number[] {
    return this.#random.shape(this.#random.int(1, 4), [1, 2, 3, 4, 5, 8]);
  }

  #emit<N extends OpName>(op: N, inputs: readonly ValueId[], attrs: OpAttrs[N], most: number): ValueId {
    const value = this.#builder.emit(op, inputs, attrs);
    this.#made.push({ value, most });
    return value;
  }

  #most(value: ValueId): number {
    return this.#made.find((made) => made.value === value)!.most;
  }

  #pick(dtype: Aval["dtype"], shape?: Shape): ValueId | undefined {
    const fit = this.#made.filter(({ value }) => {
      const a = this.#builder.aval(value);
      return a.dtype === dtype && (shape === undefined || sameShape(a.shape, shape));
    });
    // Recent values are more likely, so that chains grow long.
    return fit.length === 0 ? undefined : fit[Math.max(0, fit.length - 1 - this.#random.int(0, 3))].value;
  }

  /** An f32 value to continue from, with magnitudes up to `limit`. */
  #float(limit: number, shape?: Shape): ValueId {
    const value = this.#pick("f32", shape) ?? this.#filled(f32(...shape ?? this.#shape()));
    return this.#most(value) <= limit ? value : this.#emit("unary", [value], { fn: "tanh" }, 1);
  }

  /** A new value of a shape: an input, a broadcast row, a literal or random numbers. */
  #filled(aval: Aval): ValueId {
    const { shape } = aval;
    switch (this.#random.int(0, 3)) {
      case 0:
        return this.#emit("constant", [], { ...aval, values: [this.#random.int(-3, 3) / 2] }, 2);
      case 1: {
        const row = this.input(f32(...shape.map((extent) => this.#random.chance(0.5) ? 1 : extent)));
        return this.#emit("broadcast", [row], { shape }, 2);
      }
      case 2: {
        const key = this.#emit("constant", [], {
          shape: [2],
          dtype: "u32",
          values: this.#random.ints(2, 0, 1e9),
        }, 2 ** 32);
        const bits = this.#emit("randomBits", [key], { shape, word: 1 }, 2 ** 32);
        const eight = this.#emit("constant", [], { shape, dtype: "u32", values: [8] }, 8);
        const high = this.#emit("binary", [bits, eight], { fn: "shr" }, 2 ** 24);
        const float = this.#emit("cast", [high], { dtype: "f32" }, 2 ** 24);
        const scale = this.#emit("constant", [], { ...aval, values: [2 ** -24] }, 1);
        return this.#emit("binary", [float, scale], { fn: "mul" }, 1);
      }
      default:
        return this.input(aval);
    }
  }

  #step(): void {
    const x = this.#float(1e4);
    const most = this.#most(x);
    const { shape } = this.#builder.aval(x);
    const rank = shape.length;
    switch (this.#random.int(0, 13)) {
      case 0:
      case 1:
        return void this.#unary(x, most);
      case 2:
      case 3:
      case 4: {
        const y = this.#random.chance(0.3) ? this.#filled(f32(...shape)) : this.#float(1e4, shape);
        const fn = this.#random.pick(["add", "sub", "mul", "max", "min"] as const);
        const limit = fn === "mul" ? most * this.#most(y) : most + this.#most(y);
        return void this.#emit("binary", this.#random.shuffle([x, y]), { fn }, limit);
      }
      case 5: { // a selection, and the condition as numbers
        const y = this.#float(1e4, shape);
        const level = this.#emit("constant", [], { shape, dtype: "f32", values: [this.#random.unit()] }, 1);
        const condition = this.#emit("compare", [x, level], { fn: this.#random.pick(["lt", "ge", "eq"]) }, 1);
        const negated = this.#emit("unary", [condition], { fn: "not" }, 1);
        this.#emit("cast", [this.#random.pick([condition, negated])], { dtype: "f32" }, 1);
        return void this.#emit("select", [negated, x, y], {}, Math.max(most, this.#most(y)));
      }
      case 6: { // integers that wrap around
        const value = this.#pick("i32", shape) ?? this.input(aval("i32", shape));
        const other = this.#pick("i32", shape) ?? this.input(aval("i32", shape));
        const fn = this.#random.pick(["add", "sub", "mul", "and", "xor", "max"] as const);
        const mixed = this.#emit("binary", [value, other], { fn }, 2 ** 32);
        const mask = this.#emit("constant", [], { shape, dtype: "i32", values: [1023] }, 1023);
        const small = this.#emit("binary", [mixed, mask], { fn: "and" }, 1023);
        return void this.#emit("cast", [small], { dtype: "f32" }, 1023);
      }
      case 7: { // statistics, broadcast back to every element
        const axes = shape.map((_, axis) => axis).filter(() => this.#random.chance(0.5));
        const fn = this.#random.pick(["sum", "sum", "max", "min"] as const);
        const n = axes.reduce((size, axis) => size * shape[axis], 1);
        const reduced = this.#emit("reduce", [x], { fn, axes }, most * (fn === "sum" ? n : 1));
        if (this.#random.chance(0.3)) return;
        const kept = shape.map((extent, axis) => axes.includes(axis) ? 1 : extent);
        const column = this.#emit("reshape", [reduced], { shape: kept }, this.#most(reduced));
        return void this.#emit("broadcast", [column], { shape }, this.#most(reduced));
      }
      case 8: {
        const permutation = this.#random.shuffle(shape.map((_, axis) => axis));
        return void this.#emit("transpose", [x], { permutation }, most);
      }
      case 9: {
        const starts = shape.map((extent) => this.#random.chance(0.5) ? 0 : this.#random.int(0, extent - 1));
        const limits = shape.map((extent, axis) => this.#random.int(starts[axis] + 1, extent));
        const strides = shape.map(() => this.#random.pick([1, 1, 2]));
        return void this.#emit("slice", [x], { starts, limits, strides }, most);
      }
      case 10: {
        const amounts = () => shape.map(() => this.#random.int(0, 1));
        return void this.#emit("pad", [x], { low: amounts(), high: amounts(), interior: amounts() }, most);
      }
      case 11: {
        const y = this.#float(1e4, shape);
        const axis = this.#random.int(-1, rank - 1);
        if (axis < 0) return;
        return void this.#emit("concat", [x, y, x], { axis }, Math.max(most, this.#most(y)));
      }
      case 12: {
        const size = sizeOf(shape);
        const factor = this.#random.pick([1, 2, 3, 4, 5].filter((n) => size % n === 0));
        return void this.#emit("reshape", [x], { shape: [size / factor, factor] }, most);
      }
      case 13: {
        const size = sizeOf(shape);
        const rows = rank === 0 ? 1 : shape[0];
        const matrix = this.#emit("reshape", [this.#float(100, shape)], { shape: [rows, size / rows] }, 100);
        const n = this.#random.int(1, 5);
        const weights = this.input(f32(n, size / rows));
        const attrs = { transposeA: false, transposeB: true };
        const name = this.#random.pick(["stopGradient", "barrier"] as const);
        const product = this.#emit("matmul", [matrix, weights], attrs, 200 * size / rows);
        return void this.#emit(name, [product], {}, 200 * size / rows);
      }
    }
  }

  /** A unary function, with its operand mapped to the range where it is well conditioned. */
  #unary(x: ValueId, most: number): void {
    const aval = this.#builder.aval(x);
    const positive = () => {
      const half = this.#emit("constant", [], { ...aval, dtype: "f32", values: [0.5] }, 0.5);
      const size = this.#emit("unary", [x], { fn: "abs" }, most);
      return this.#emit("binary", [size, half], { fn: "add" }, most + 0.5);
    };
    const fn = this.#random.pick(
      ["neg", "abs", "tanh", "sin", "cos", "exp", "log", "sqrt", "rsqrt", "div"] as const,
    );
    switch (fn) {
      case "exp":
        return void this.#emit("unary", [this.#emit("unary", [x], { fn: "tanh" }, 1)], { fn }, 3);
      case "div":
        return void this.#emit("binary", [x, positive()], { fn }, 1);
      case "log":
      case "sqrt":
      case "rsqrt":
        return void this.#emit("unary", [positive()], { fn }, Math.max(2, most));
      default:
        return void this.#emit("unary", [x], { fn }, Math.max(1, most));
    }
  }
}

/** Random programs, with everything that fusion, ordering and planning could get wrong. */
export function programCases(random: Random, count: number): Case[] {
  return Array.from({ length: count }, () => {
    const seed = random.int(0, 2 ** 31);
    return new Writer(new Random(seed)).finish(`random program ${seed}`);
  });
}
