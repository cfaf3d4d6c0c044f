import { type DType, type Shape, sizeOf } from "../src/trace/dtype.ts";
import { type Program, ProgramBuilder, type ProgramOutput, type ValueId } from "../src/trace/program.ts";
import { windowCount } from "../src/trace/shapes/images.ts";

/** A random program over all ops, with elements for its inputs; it depends only on the seed. */
export interface RandomProgram {
  /** The program. */
  readonly program: Program;
  /** Elements of each input. */
  readonly inputs: readonly number[][];
}

/** Generates a program of about `length` instructions. */
export function randomProgram(seed: number, length: number): RandomProgram {
  return new Generator(seed).generate(length);
}

/** Numbers in [0, 1) from a seed (mulberry32). */
export function generatorOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const MAX_SIZE = 3000;

class Generator {
  readonly #random: () => number;
  readonly #builder = new ProgramBuilder();
  readonly #pool: ValueId[] = [];
  readonly #inputs: number[][] = [];
  readonly #donated: { index: number; value: ValueId }[] = [];

  constructor(seed: number) {
    this.#random = generatorOf(seed);
  }

  generate(length: number): RandomProgram {
    for (let i = 0; i < 4; i++) this.#input(this.#shape(), this.#pick(["f32", "f32", "i32", "u32", "bool"]));
    this.#input([2, this.#int(3, 6), this.#int(3, 6), 4], "f32");
    this.#input([this.#int(2, 9)], "u8");
    this.#input([2], "u32");
    const { instructions } = this.#builder;
    while (instructions.length < length) this.#grow();
    return { program: this.#finish(), inputs: this.#inputs };
  }

  #finish(): Program {
    const outputs: ProgramOutput[] = [];
    const count = this.#int(1, 6);
    for (let i = 0; i < count; i++) {
      const value = this.#random() < 0.7 ? this.#pool[this.#pool.length - 1 - i] : this.#value();
      const { shape, dtype } = this.#builder.aval(value);
      if (dtype === "u8") continue;
      const donor = this.#donated.find(({ value }) => {
        const aval = this.#builder.aval(value);
        return aval.dtype === dtype && aval.shape.join() === shape.join();
      });
      outputs.push({ value, name: `out${i}`, ...(donor === undefined ? {} : { donor: donor.index }) });
      if (donor !== undefined) this.#donated.splice(this.#donated.indexOf(donor), 1);
    }
    return this.#builder.finish("random", outputs);
  }

  #input(shape: Shape, dtype: DType): ValueId {
    const donated = dtype !== "u8" && this.#random() < 0.5;
    const index = this.#inputs.length;
    const value = this.#builder.input({ shape, dtype }, `in${index}`, "inputs", donated);
    const draw: { [D in DType]: () => number } = {
      bf16: () => this.#int(-16, 17) / 8,
      f32: () => this.#int(-16, 17) / 8,
      i32: () => this.#int(-9, 10),
      u32: () => Math.floor(this.#random() * 2 ** 32),
      bool: () => this.#int(0, 2),
      u8: () => this.#int(0, 256),
    };
    this.#inputs.push(Array.from({ length: sizeOf(shape) }, draw[dtype]));
    if (donated) this.#donated.push({ index, value });
    this.#pool.push(value);
    return value;
  }

  /** Adds one or a few ops. */
  #grow(): void {
    const b = this.#builder;
    b.scope = `part ${Math.floor(b.instructions.length / 10)}`;
    const x = this.#value();
    const { shape, dtype } = b.aval(x);
    if (dtype === "u8") {
      if (this.#random() < 0.5) {
        this.#add(b.emit("cast", [x], { dtype: this.#pick(["f32", "i32", "u32", "bool"]) }));
      } else this.#add(b.emit("gather", [x, this.#indices()], {}));
      return;
    }
    const choice = this.#random();
    if (choice < 0.45) this.#elementwise(x, dtype);
    else if (choice < 0.7) this.#move(x, shape, dtype);
    else if (choice < 0.85) this.#reduce(x, shape, dtype);
    else if (choice < 0.97) this.#structured(x, shape, dtype);
    else this.#source();
  }

  #elementwise(x: ValueId, dtype: DType): void {
    const b = this.#builder;
    const { shape } = b.aval(x);
    const kind = this.#random();
    if (kind < 0.2) {
      const to = this.#pick<DType>(["f32", "i32", "u32", "bool"]);
      return this.#add(b.emit("cast", [x], { dtype: to }));
    }
    if (kind < 0.3 && dtype === "bool") return this.#add(b.emit("unary", [x], { fn: "not" }));
    const y = this.#like(shape, dtype);
    if (kind < 0.4) {
      const condition = b.emit("compare", [x, y], { fn: this.#pick(["eq", "ne", "lt", "le", "gt", "ge"]) });
      this.#add(condition);
      return this.#add(
        b.emit("select", [condition, this.#random() < 0.5 ? x : y, this.#like(shape, dtype)], {}),
      );
    }
    if (dtype === "bool") {
      return this.#add(b.emit("binary", [x, y], { fn: this.#pick(["and", "or", "xor"]) }));
    }
    if (dtype === "f32") return this.#floating(x, y);
    const fn = this.#pick(
      ["add", "sub", "mul", "max", "min", "and", "or", "xor", "shl", "shr", "div", "rem"] as const,
    );
    const constant = ["shl", "shr", "div", "rem"].includes(fn)
      ? b.emit("constant", [], { shape, dtype, values: [this.#int(1, 5)] })
      : y;
    this.#add(b.emit("binary", [x, constant], { fn }));
  }

  #floating(x: ValueId, y: ValueId): void {
    const b = this.#builder;
    const { shape } = b.aval(x);
    const number = (value: number) => b.emit("constant", [], { shape, dtype: "f32", values: [value] });
    // Keeps values from growing without bound, which would make the order of sums visible.
    const bounded = () =>
      b.emit("binary", [b.emit("binary", [x, number(2)], { fn: "min" }), number(-2)], { fn: "max" });
    const positive = () =>
      b.emit("binary", [b.emit("unary", [bounded()], { fn: "abs" }), number(0.5)], { fn: "add" });
    switch (this.#int(0, 9)) {
      case 0:
        return this.#add(
          b.emit("unary", [x], { fn: this.#pick(["neg", "abs", "sign", "floor", "isFinite"]) }),
        );
      case 1:
        return this.#add(b.emit("unary", [bounded()], { fn: this.#pick(["exp", "sin", "cos", "tanh"]) }));
      case 2:
        return this.#add(b.emit("unary", [positive()], { fn: this.#pick(["log", "sqrt", "rsqrt"]) }));
      case 3:
        return this.#add(
          b.emit("binary", [positive(), number(this.#pick([1, 2, 3, 0.5, -1]))], { fn: "pow" }),
        );
      case 4:
        return this.#add(b.emit("binary", [bounded(), y], { fn: "mul" }));
      case 5:
        return this.#add(b.emit("binary", [x, positive()], { fn: "div" }));
      case 6:
        return this.#add(b.emit("binary", [x, number(this.#pick([0, -0, 1, -1, 2, 0.25]))], {
          fn: this.#pick(["add", "sub", "mul"]),
        }));
      default:
        return this.#add(b.emit("binary", [x, y], { fn: this.#pick(["add", "sub", "max", "min"]) }));
    }
  }

  #move(x: ValueId, shape: Shape, dtype: DType): void {
    const b = this.#builder;
    switch (this.#int(0, 7)) {
      case 0:
        return this.#add(b.emit("reshape", [x], { shape: this.#reshaped(sizeOf(shape)) }));
      case 1:
        return this.#add(
          b.emit("transpose", [x], { permutation: this.#shuffle(shape.map((_, axis) => axis)) }),
        );
      case 2: {
        const starts = shape.map((extent) => this.#int(0, Math.max(1, extent)));
        const limits = shape.map((extent, axis) => this.#int(Math.min(extent, starts[axis] + 1), extent + 1));
        return this.#add(b.emit("slice", [x], { starts, limits, strides: shape.map(() => this.#int(1, 3)) }));
      }
      case 3: {
        const unit = [...shape];
        unit.splice(this.#int(0, shape.length + 1), 0, 1);
        const extent = this.#int(1, 4);
        if (sizeOf(shape) * extent > MAX_SIZE) return;
        const reshaped = b.emit("reshape", [x], { shape: unit });
        const wide = b.aval(reshaped).shape.map((e) => e === 1 ? extent : e);
        return sizeOf(wide) <= MAX_SIZE
          ? this.#add(b.emit("broadcast", [reshaped], { shape: wide }))
          : undefined;
      }
      case 4: {
        const some = () => shape.map(() => this.#int(0, 2));
        if (sizeOf(shape) > MAX_SIZE / 8) return;
        return this.#add(b.emit("pad", [x], { low: some(), high: some(), interior: some() }));
      }
      case 5: {
        if (shape.length === 0 || sizeOf(shape) > MAX_SIZE / 3) return;
        const axis = this.#int(0, shape.length);
        return this.#add(
          b.emit("concat", [x, this.#like(shape, dtype), x].slice(0, this.#int(1, 4)), { axis }),
        );
      }
      default:
        return this.#add(b.emit(this.#random() < 0.5 ? "barrier" : "stopGradient", [x], {}));
    }
  }

  #reduce(x: ValueId, shape: Shape, dtype: DType): void {
    const b = this.#builder;
    if (dtype === "bool" || shape.length === 0) return;
    if (this.#random() < 0.15 && !shape.includes(0)) {
      return this.#add(b.emit("argmax", [x], { axis: this.#int(0, shape.length) }));
    }
    const axes = shape.map((_, axis) => axis).filter(() => this.#random() < 0.6);
    const fn = shape.includes(0) ? "sum" : this.#pick(["sum", "sum", "max", "min"] as const);
    const reduced = b.emit("reduce", [x], { fn, axes });
    this.#add(reduced);
    if (this.#random() < 0.5) { // broadcast again, as in a normalisation
      const kept = b.emit("reshape", [reduced], {
        shape: shape.map((e, axis) => axes.includes(axis) ? 1 : e),
      });
      const spread = b.emit("broadcast", [kept], { shape });
      this.#add(b.emit("binary", [x, spread], { fn: "sub" }));
    }
  }

  #structured(x: ValueId, shape: Shape, dtype: DType): void {
    const b = this.#builder;
    if (dtype !== "f32" || sizeOf(shape) === 0) {
      if (sizeOf(shape) > 0 && shape.length > 0) this.#add(b.emit("gather", [x, this.#indices()], {}));
      return;
    }
    if (shape.length === 4 && this.#random() < 0.8) return this.#image(x, shape);
    if (shape.length === 2 && this.#random() < 0.6) {
      const transposeB = this.#random() < 0.5;
      const other = this.#like(transposeB ? [3, shape[1]] : [shape[1], 3], "f32");
      return this.#add(b.emit("matmul", [x, other], { transposeA: false, transposeB }));
    }
    const rows = this.#indices();
    const lead = b.aval(rows).shape;
    if (this.#random() < 0.5 && shape.length > 0) return this.#add(b.emit("gather", [x, rows], {}));
    const updates = this.#like([...lead, 3], "f32");
    this.#add(b.emit("scatterAdd", [updates, rows], { rows: 4 }));
  }

  #image(x: ValueId, shape: Shape): void {
    const b = this.#builder;
    const [height, width] = [shape[1], shape[2]];
    const groups = shape[3] % 2 === 0 && this.#random() < 0.3 ? 2 : 1;
    const attrs = {
      strides: [this.#int(1, 3), this.#int(1, 3)],
      padding: [[this.#int(0, 2), this.#int(0, 2)], [this.#int(0, 2), this.#int(0, 2)]],
      dilation: [1, this.#int(1, 3)],
      groups,
    } as const;
    const window = [Math.min(2, height), Math.min(2, width)] as const;
    const filterShape = [4, window[0], window[1], shape[3] / groups];
    const rows = windowCount(height, window[0], attrs.strides[0], attrs.padding[0]);
    const columns = windowCount(width, window[1], attrs.strides[1], attrs.padding[1], attrs.dilation[1]);
    const choice = this.#int(0, 5);
    if (choice < 2 && rows > 0 && columns > 0) {
      const filter = this.#like(filterShape, "f32");
      const y = b.emit("conv", [x, filter], attrs);
      this.#add(y);
      if (choice === 1) {
        this.#add(b.emit("convInputGrad", [y, filter], { ...attrs, inputShape: shape }));
        this.#add(b.emit("convFilterGrad", [x, y], { ...attrs, filterShape }));
      }
    } else if (choice === 2) {
      const pool = { window, strides: window, padding: [[0, window[0] - 1], [0, 0]] } as const;
      const y = b.emit("maxPool", [x], pool);
      this.#add(y);
      this.#add(b.emit("maxPoolGrad", [x, y], pool));
      this.#add(b.emit("maxPoolPick", [x, x], pool));
    } else if (choice === 3) {
      const pool = { window, strides: [1, 1], padding: [[0, 0], [0, window[1] - 1]] } as const;
      const y = b.emit("avgPool", [x], pool);
      this.#add(y);
      this.#add(b.emit("avgPoolGrad", [y], { ...pool, inputShape: shape }));
    } else if (sizeOf(shape) < MAX_SIZE / 4) {
      const y = b.emit("resize", [x], { height: 3, width: 5, alignCorners: this.#random() < 0.5 });
      this.#add(y);
      this.#add(b.emit("resizeGrad", [y], { height, width, alignCorners: true }));
    }
  }

  #source(): void {
    const b = this.#builder;
    const shape = this.#shape();
    switch (this.#int(0, 4)) {
      case 0:
        return this.#add(
          b.emit("iota", [], {
            shape: [...shape, 3],
            dtype: this.#pick(["f32", "i32", "u32"]),
            axis: shape.length,
          }),
        );
      case 1: {
        const values = Array.from({ length: sizeOf(shape) }, () => this.#int(-4, 5));
        return this.#add(b.emit("constant", [], { shape, dtype: "f32", values }));
      }
      case 2:
        return this.#add(
          b.emit("constant", [], { shape, dtype: this.#pick(["f32", "i32"]), values: [this.#int(-2, 3)] }),
        );
      default: {
        const key = this.#like([2], "u32");
        return this.#add(b.emit("randomBits", [key], { shape, word: 0 }));
      }
    }
  }

  /** Row numbers, some out of range. */
  #indices(): ValueId {
    const shape = this.#pick<Shape>([[3], [2, 2], [5]]);
    return this.#builder.emit("constant", [], {
      shape,
      dtype: "i32",
      values: Array.from({ length: sizeOf(shape) }, () => this.#int(-1, 7)),
    });
  }

  /** A value of this shape, existing or new. */
  #like(shape: Shape, dtype: DType): ValueId {
    const b = this.#builder;
    const same = this.#pool.filter((value) => {
      const aval = b.aval(value);
      return aval.dtype === dtype && aval.shape.join() === shape.join();
    });
    if (same.length > 0 && this.#random() < 0.8) return this.#pick(same);
    const unit = shape.map((extent) => this.#random() < 0.4 ? 1 : extent);
    return b.emit("broadcast", [this.#input(unit, dtype)], { shape });
  }

  #add(value: ValueId): void {
    if (sizeOf(this.#builder.aval(value).shape) <= MAX_SIZE) this.#pool.push(value);
  }

  #value(): ValueId {
    const recent = this.#random() < 0.6 ? Math.min(8, this.#pool.length) : this.#pool.length;
    return this.#pool[this.#pool.length - 1 - this.#int(0, recent)];
  }

  #shape(): Shape {
    return Array.from({ length: this.#int(0, 4) }, () => this.#random() < 0.04 ? 0 : this.#int(1, 6));
  }

  #reshaped(size: number): Shape {
    const shape: number[] = [];
    let rest = size;
    while (rest > 1 && shape.length < 3) {
      const divisors = Array.from({ length: Math.min(rest, 12) }, (_, i) => i + 1).filter((d) =>
        rest % d === 0
      );
      const extent = this.#pick(divisors);
      shape.push(extent);
      rest /= extent;
    }
    return size === 0 ? [0, 2] : [...shape, rest];
  }

  #shuffle<T>(list: T[]): T[] {
    return list.map((item) => [this.#random(), item] as const).sort((a, b) => a[0] - b[0]).map(([, item]) =>
      item
    );
  }

  #int(from: number, to: number): number {
    return from + Math.floor(this.#random() * (to - from));
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#int(0, list.length)];
  }
}
