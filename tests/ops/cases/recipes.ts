import { type Shape, sizeOf } from "../../../src/trace/dtype.ts";
import type { BinaryFn, CompareFn, OpAttrs, OpName, ReduceFn, UnaryFn } from "../../../src/trace/ops.ts";
import { ProgramBuilder, type ProgramOutput, type ValueId } from "../../../src/trace/program.ts";
import type { HostData } from "../../../src/trace/dtype.ts";
import { type Case, opCase } from "../check.ts";
import { f32, type Random } from "../random.ts";

/** A builder with the operations that training steps consist of. */
class Recipe {
  readonly builder = new ProgramBuilder();
  readonly data: HostData[] = [];
  readonly outputs: ProgramOutput[] = [];

  constructor(readonly label: string, readonly random: Random) {}

  input(shape: Shape, options: { donated?: boolean; data?: HostData } = {}): ValueId {
    const { donated = false, data = this.random.elements(f32(...shape)) } = options;
    const dtype = data instanceof Uint8Array ? "u8" : data instanceof Int32Array ? "i32" : "f32";
    this.data.push(data);
    return this.builder.input({ shape, dtype }, `x${this.data.length - 1}`, "inputs", donated);
  }

  output(value: ValueId, donor?: number): void {
    const name = `y${this.outputs.length}`;
    this.outputs.push(donor === undefined ? { value, name } : { value, name, donor });
  }

  finish(): Case {
    return { label: this.label, program: this.builder.finish(this.label, this.outputs), inputs: this.data };
  }

  shape(value: ValueId): Shape {
    return this.builder.aval(value).shape;
  }

  /** `value` with its axes of extent 1 repeated. */
  wide(value: ValueId, shape: Shape): ValueId {
    return this.builder.emit("broadcast", [value], { shape });
  }

  literal(value: number, like: ValueId): ValueId {
    return this.builder.emit("constant", [], { ...this.builder.aval(like), values: [value] });
  }

  unary(fn: UnaryFn, x: ValueId): ValueId {
    return this.builder.emit("unary", [x], { fn });
  }

  binary(fn: BinaryFn, a: ValueId, b: ValueId | { literal: number }): ValueId {
    return this.builder.emit("binary", [a, typeof b === "number" ? b : this.literal(b.literal, a)], { fn });
  }

  compare(fn: CompareFn, a: ValueId, b: ValueId): ValueId {
    return this.builder.emit("compare", [a, b], { fn });
  }

  /** Reduces axes, and keeps them with extent 1. */
  reduce(fn: ReduceFn, x: ValueId, axes: readonly number[]): ValueId {
    const shape = this.shape(x).map((extent, axis) => axes.includes(axis) ? 1 : extent);
    return this.builder.emit("reshape", [this.builder.emit("reduce", [x], { fn, axes })], { shape });
  }

  mean(x: ValueId, axes: readonly number[]): ValueId {
    const n = axes.reduce((size, axis) => size * this.shape(x)[axis], 1);
    return this.binary("div", this.reduce("sum", x, axes), { literal: n });
  }
}

/** Batch norm in training mode with ReLU, its running statistics, and all its gradients, given dy. */
function batchNorm(random: Random, shape: Shape): Case {
  const r = new Recipe(`batch norm and its gradients over [${shape}]`, random);
  const channels = [1, 1, 1, shape[3]];
  const [x, dy] = [r.input(shape), r.input(shape)];
  const [scale, shift] = [r.input(channels), r.input(channels)];
  const running = r.input(channels, { donated: true });
  const axes = [0, 1, 2];
  const mean = r.mean(x, axes);
  const centred = r.binary("sub", x, r.wide(mean, shape));
  const variance = r.mean(r.binary("mul", centred, centred), axes);
  const inverse = r.unary("rsqrt", r.binary("add", variance, { literal: 1e-5 }));
  const normal = r.binary("mul", centred, r.wide(inverse, shape));
  const affine = r.binary("add", r.binary("mul", normal, r.wide(scale, shape)), r.wide(shift, shape));
  const zero = r.literal(0, affine);
  const y = r.binary("max", affine, zero);
  r.output(y);
  r.output(
    r.binary("add", r.binary("mul", running, { literal: 0.9 }), r.binary("mul", mean, { literal: 0.1 })),
    4,
  );
  // The sign of a value near zero may differ in f32, so the gradient of ReLU uses an exact input instead.
  const gate = r.compare("gt", r.input(shape), zero);
  const through = r.builder.emit("select", [gate, dy, zero], {});
  const dShift = r.reduce("sum", through, axes);
  const dScale = r.reduce("sum", r.binary("mul", through, normal), axes);
  r.output(dShift);
  r.output(dScale);
  const n = { literal: sizeOf(shape) / shape[3] };
  const meanShift = r.wide(r.binary("div", dShift, n), shape);
  const meanScale = r.binary("mul", normal, r.wide(r.binary("div", dScale, n), shape));
  const inner = r.binary("sub", r.binary("sub", through, meanShift), meanScale);
  r.output(r.binary("mul", inner, r.wide(r.binary("mul", inverse, scale), shape)));
  return r.finish();
}

/** Softmax cross-entropy of integer labels with its gradient, and the number of correct rows. */
function crossEntropy(random: Random, batch: number, classes: number): Case {
  const r = new Recipe(`cross-entropy of ${batch} in ${classes} classes`, random);
  const shape = [batch, classes];
  const logits = r.input(shape);
  const labels = r.input([batch, 1], { data: Int32Array.from(random.ints(batch, 0, classes - 1)) });
  const shifted = r.binary("sub", logits, r.wide(r.reduce("max", logits, [1]), shape));
  const powers = r.unary("exp", shifted);
  const total = r.reduce("sum", powers, [1]);
  const column = r.builder.emit("iota", [], { shape, dtype: "i32", axis: 1 });
  const hot = r.compare("eq", column, r.wide(labels, shape));
  const ones = r.builder.emit("cast", [hot], { dtype: "f32" });
  const picked = r.reduce("sum", r.binary("mul", shifted, ones), [1]);
  r.output(r.mean(r.binary("sub", r.unary("log", total), picked), [0, 1]));
  const softmax = r.binary("div", powers, r.wide(total, shape));
  r.output(r.binary("div", r.binary("sub", softmax, ones), { literal: batch }));
  const best = r.builder.emit("argmax", [logits], { axis: 1 });
  const flat = r.builder.emit("reshape", [labels], { shape: [batch] });
  const right = r.builder.emit("cast", [r.compare("eq", best, flat)], { dtype: "u32" });
  r.output(r.builder.emit("reduce", [right], { fn: "sum", axes: [0] }));
  return r.finish();
}

/** SGD with Nesterov momentum and weight decay, then an EMA of the parameters before the step, all in place. */
function sgdInPlace(random: Random, shape: Shape): Case {
  const r = new Recipe(`Nesterov SGD and EMA in place over [${shape}]`, random);
  const parameter = r.input(shape, { donated: true });
  const momentum = r.input(shape, { donated: true });
  const average = r.input(shape, { donated: true });
  const gradient = r.binary("add", r.input(shape), r.binary("mul", parameter, { literal: 1e-4 }));
  const velocity = r.binary("add", r.binary("mul", momentum, { literal: 0.9 }), gradient);
  const step = r.binary("add", gradient, r.binary("mul", velocity, { literal: 0.9 }));
  r.output(r.binary("sub", parameter, r.binary("mul", step, { literal: 0.1 })), 0);
  r.output(velocity, 1);
  r.output(
    r.binary(
      "add",
      r.binary("mul", average, { literal: 0.995 }),
      r.binary("mul", parameter, { literal: 0.005 }),
    ),
    2,
  );
  return r.finish();
}

/**
 * Donated memory whose old elements are read at other positions than they are written: in place this would be wrong.
 */
function donationTraps(random: Random): Case[] {
  const square = new Recipe("a donated matrix plus its transpose", random);
  const x = square.input([33, 33], { donated: true });
  square.output(square.binary("add", x, square.builder.emit("transpose", [x], { permutation: [1, 0] })), 0);

  const swap = new Recipe("two donated inputs that are swapped", random);
  const [a, b] = [swap.input([70], { donated: true }), swap.input([70], { donated: true })];
  swap.output(b, 0);
  swap.output(a, 1);

  const late = new Recipe("a donated input that is read after its successor is ready", random);
  const w = late.input([5, 5], { donated: true });
  const image = late.input([3, 5]);
  const next = late.binary("mul", w, { literal: 0.5 });
  late.output(next, 0);
  late.output(late.builder.emit("matmul", [image, w], { transposeA: false, transposeB: false }));
  late.output(late.builder.emit("matmul", [image, next], { transposeA: false, transposeB: true }));

  const kept = new Recipe("a donated input that is also an unchanged result", random);
  const state = kept.input([40], { donated: true });
  kept.output(kept.binary("add", state, { literal: 1 }), 0);
  kept.output(state);

  const rolled = new Recipe("a donated row rolled by one", random);
  const row = rolled.input([65], { donated: true });
  const rest = rolled.builder.emit("slice", [row], { starts: [1], limits: [65], strides: [1] });
  const head = rolled.builder.emit("slice", [row], { starts: [0], limits: [1], strides: [1] });
  rolled.output(rolled.builder.emit("concat", [rest, head], { axis: 0 }), 0);

  const summed = new Recipe("a donated row divided by its own sum", random);
  const values = summed.input([1, 300], { donated: true });
  const size = summed.reduce("sum", summed.unary("abs", values), [1]);
  summed.output(summed.binary("div", values, summed.wide(size, [1, 300])), 0);
  return [square, swap, late, kept, rolled, summed].map((recipe) => recipe.finish());
}

/** Bytes selected, cropped after reflection, flipped and normalised, as training images are. */
function augmentation(random: Random): Case {
  const [count, side, batch] = [12, 8, 5];
  const r = new Recipe("images from bytes: gather, pad, crop, flip, normalise", random);
  const images = r.input([count, side * side * 3], {
    data: Uint8Array.from(random.ints(count * side * side * 3, 0, 255)),
  });
  const chosen = r.input([batch], { data: Int32Array.from(random.ints(batch, 0, count - 1)) });
  const rows = r.builder.emit("gather", [images, chosen], {});
  const shape = [batch, side, side, 3];
  const batchOf = r.builder.emit("reshape", [rows], { shape });
  const edge = r.builder.emit("slice", [batchOf], {
    starts: [0, 1, 0, 0],
    limits: [batch, 3, side, 3],
    strides: [1, 1, 1, 1],
  });
  const tall = r.builder.emit("concat", [edge, batchOf, edge], { axis: 1 });
  const cropped = r.builder.emit("slice", [tall], {
    starts: [0, 3, 0, 0],
    limits: [batch, 3 + side, side, 3],
    strides: [1, 1, 1, 1],
  });
  const key = r.builder.emit("constant", [], { shape: [2], dtype: "u32", values: [7, 11] });
  const bits = r.builder.emit("randomBits", [key], { shape: [batch, 1, 1, 1], word: 0 });
  const one = r.builder.emit("constant", [], { shape: [batch, 1, 1, 1], dtype: "u32", values: [1] });
  const coin = r.builder.emit("binary", [bits, one], { fn: "and" });
  const heads = r.builder.emit("cast", [coin], { dtype: "bool" });
  // Flipped by selecting columns from the last to the first.
  const columns = r.builder.emit("transpose", [cropped], { permutation: [2, 0, 1, 3] });
  const order = r.builder.emit("constant", [], {
    shape: [side],
    dtype: "i32",
    values: Array.from({ length: side }, (_, i) => side - 1 - i),
  });
  const turned = r.builder.emit("gather", [columns, order], {});
  const flipped = r.builder.emit("transpose", [turned], { permutation: [1, 2, 0, 3] });
  const either = r.builder.emit("select", [r.wide(heads, shape), flipped, cropped], {});
  const mean = r.builder.emit("constant", [], {
    shape: [1, 1, 1, 3],
    dtype: "f32",
    values: [125.3, 123, 113.9],
  });
  const scale = r.builder.emit("constant", [], {
    shape: [1, 1, 1, 3],
    dtype: "f32",
    values: [1 / 63, 1 / 62.1, 1 / 66.7],
  });
  r.output(r.binary("mul", r.binary("sub", either, r.wide(mean, shape)), r.wide(scale, shape)));
  r.output(chosen);
  return r.finish();
}

/** Results that are inputs, literals, one another, and views of one another. */
function odd(random: Random): Case[] {
  const same = new Recipe("results that are inputs, twice, and reshaped", random);
  const x = same.input([4, 6]);
  const flat = same.builder.emit("reshape", [x], { shape: [24] });
  const y = same.unary("neg", x);
  [x, x, flat, y, y, same.builder.emit("reshape", [y], { shape: [2, 12] })].forEach((value) =>
    same.output(value)
  );

  const none = new Recipe("results that depend on no input", random);
  none.input([3]);
  const two = none.builder.emit("constant", [], { shape: [2, 2], dtype: "f32", values: [1, 2, 3, 4] });
  none.output(two);
  none.output(none.reduce("sum", none.unary("exp", two), [0, 1]));
  none.output(none.builder.emit("iota", [], { shape: [5], dtype: "u32", axis: 0 }));

  const many = new Recipe("twenty inputs added up, twenty results", random);
  const inputs = Array.from({ length: 20 }, () => many.input([37]));
  let sum = inputs[0];
  for (const input of inputs.slice(1)) {
    sum = many.binary("add", many.binary("mul", sum, { literal: 0.5 }), input);
    many.output(sum);
  }

  const bytes = new Recipe("bytes reshaped, selected and converted", random);
  const raw = bytes.input([6, 10], { data: Uint8Array.from(random.ints(60, 0, 255)) });
  const reshaped = bytes.builder.emit("reshape", [raw], { shape: [3, 20] });
  bytes.output(bytes.builder.emit("cast", [reshaped], { dtype: "i32" }));
  const pick = bytes.input([2], { data: Int32Array.of(2, 0) });
  bytes.output(bytes.builder.emit("gather", [reshaped, pick], {}));
  return [same, none, many, bytes].map((recipe) => recipe.finish());
}

/** Values without elements, where the shape rules allow them. */
export function emptyCases(random: Random): Case[] {
  const r = new Recipe("values without elements", random);
  const x = r.input([3, 4]);
  const slice = r.builder.emit("slice", [x], { starts: [1, 0], limits: [1, 4], strides: [1, 1] });
  r.output(slice);
  r.output(r.unary("exp", slice));
  r.output(r.builder.emit("reduce", [slice], { fn: "sum", axes: [0] }));
  r.output(r.builder.emit("concat", [slice, x], { axis: 0 }));
  r.output(r.builder.emit("pad", [slice], { low: [1, 0], high: [1, 0], interior: [0, 0] }));

  const plain = { transposeA: false, transposeB: false };
  const conv = { strides: [1, 1], padding: [[1, 1], [1, 1]], dilation: [1, 1], groups: 1 } as const;
  const pool = { window: [2, 2], strides: [2, 2], padding: [[0, 0], [0, 0]] } as const;
  const none = f32(0, 4, 4, 3);
  const single = <N extends OpName>(op: N, shapes: readonly Shape[], attrs: OpAttrs[N]) =>
    opCase(op, shapes.map((shape) => f32(...shape)), attrs, shapes.map((s) => random.floats(sizeOf(s))));
  const indices = { shape: [0], dtype: "i32" } as const;
  return [
    r.finish(),
    single("matmul", [[3, 0], [0, 4]], plain), // sums of nothing are zero
    single("matmul", [[0, 3], [3, 4]], plain),
    single("conv", [none.shape, [5, 3, 3, 3]], conv),
    single("conv", [[2, 4, 4, 0], [5, 3, 3, 0]], conv),
    single("convFilterGrad", [none.shape, [0, 4, 4, 5]], { ...conv, filterShape: [5, 3, 3, 3] }),
    single("maxPool", [none.shape], pool),
    single("resize", [none.shape], { height: 2, width: 3, alignCorners: true }),
    single("resizeGrad", [none.shape], { height: 2, width: 3, alignCorners: false }),
    single("argmax", [[0, 3]], { axis: 1 }),
    single("reduce", [[0, 3]], { fn: "max", axes: [1] }),
    opCase("gather", [f32(4, 3), indices], {}, [random.floats(12), new Int32Array(0)]),
    opCase("scatterAdd", [f32(0, 3), indices], { rows: 2 }, [new Float32Array(0), new Int32Array(0)]),
  ];
}

/** Programs as in training, and those most likely to reveal faults of ordering, in-place fusion and donation. */
export function recipeCases(random: Random): Case[] {
  return [
    batchNorm(random, [4, 6, 5, 3]),
    batchNorm(random, [2, 9, 9, 16]),
    batchNorm(random, [64, 8, 8, 20]), // more summands than one workgroup or block
    crossEntropy(random, 5, 10),
    crossEntropy(random, 33, 3),
    sgdInPlace(random, [3, 3, 5]),
    sgdInPlace(random, [1000]),
    ...donationTraps(random),
    augmentation(random),
    ...odd(random),
  ];
}
