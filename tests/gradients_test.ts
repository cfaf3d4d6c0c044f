import { assert, assertEquals } from "@std/assert";
import { checkpoint, grad, vjp } from "../src/autograd/grad.ts";
import { type Rule, rules } from "../src/autograd/rules.ts";
import { evaluate } from "../src/backends/reference/evaluate.ts";
import { referenceTarget } from "../src/backends/reference/target.ts";
import { binaryCrossEntropy, crossEntropy, supervisedContrastive } from "../src/local/losses.ts";
import { batchNorm } from "../src/nn/batch_norm.ts";
import { adaptiveAveragePool } from "../src/nn/pooling.ts";
import { jit } from "../src/runtime/jit.ts";
import type { Shape } from "../src/trace/dtype.ts";
import {
  avgPool,
  concat,
  conv2d,
  iota,
  literal,
  maxPool,
  resizeBilinear,
  scatterAdd,
  where,
} from "../src/trace/functions.ts";
import { gelu, logSoftmax, logSumExp, silu, softmax } from "../src/trace/activations.ts";
import { einsum } from "../src/trace/einsum.ts";
import { cumsum } from "../src/trace/scan.ts";
import { sort } from "../src/trace/sorting.ts";
import { norm, std, variance } from "../src/trace/statistics.ts";
import type { BinaryFn, ConvAttrs, OpName, ReduceFn, UnaryFn } from "../src/trace/ops.ts";
import { allReduce, broadcastFrom, send } from "../src/trace/collectives.ts";
import type { Tensor } from "../src/trace/tensor.ts";
import { checkGradient, derivative, type Differentiable, point, record } from "./gradients.ts";
import { Random } from "./ops/random.ts";

/** A function that uses an op, the shapes of its inputs, and the range of their elements; default [−2, 2). */
interface Use {
  readonly f: Differentiable;
  readonly shapes: readonly Shape[];
  readonly range?: readonly [number, number];
}

function use(f: Differentiable, shapes: readonly Shape[], range?: readonly [number, number]): Use {
  return range === undefined ? { f, shapes } : { f, shapes, range };
}

const unaryRanges: { readonly [F in UnaryFn]: readonly [number, number] } = {
  neg: [-2, 2],
  abs: [-2, 2],
  sign: [-2, 2],
  floor: [-2, 2],
  exp: [-2, 2],
  log: [0.3, 3],
  sqrt: [0.3, 3],
  rsqrt: [0.3, 3],
  sin: [-4, 4],
  cos: [-4, 4],
  tanh: [-2, 2],
  erf: [-2, 2],
  not: [-2, 2],
  isFinite: [-2, 2],
};

const unaryUses = Object.entries(unaryRanges).map(([name, range]) => {
  const fn = name as UnaryFn;
  if (fn === "isFinite") return use((x) => where(x.isFinite(), x.mul(x), 0), [[3, 5]]);
  if (fn === "not") return use((x) => where(x.gt(0).not(), x.mul(x), x), [[3, 5]]);
  return use((x) => x.trace.emit("unary", [x], { fn }), [[3, 5]], range);
});

const binaryRanges: { readonly [F in BinaryFn]: readonly [number, number] | undefined } = {
  add: [-2, 2],
  sub: [-2, 2],
  mul: [-2, 2],
  div: [0.5, 2],
  pow: [0.5, 2],
  max: [-2, 2],
  min: [-2, 2],
  rem: [0.5, 2],
  and: undefined, // of integers and bool, which have no gradient
  or: undefined,
  xor: undefined,
  shl: undefined,
  shr: undefined,
};

const binaryUses = Object.entries(binaryRanges).flatMap(([name, range]) => {
  const fn = name as BinaryFn;
  const both: Differentiable = (x, y) => x.trace.emit("binary", [x, y], { fn });
  return range === undefined
    ? []
    : [use(both, [[3, 5], [3, 5]], range), use((x) => both(x, x.mul(1.5)), [[7]], range)];
});

const convs: readonly { image: Shape; filter: Shape; attrs: ConvAttrs }[] = [
  {
    image: [2, 5, 4, 3],
    filter: [4, 3, 3, 3],
    attrs: { strides: [1, 1], padding: [[1, 1], [1, 1]], dilation: [1, 1], groups: 1 },
  },
  {
    image: [1, 7, 6, 4],
    filter: [6, 3, 2, 2],
    attrs: { strides: [2, 3], padding: [[2, 0], [0, 1]], dilation: [1, 2], groups: 2 },
  },
  {
    image: [3, 2, 2, 2],
    filter: [3, 1, 1, 2],
    attrs: { strides: [2, 2], padding: [[0, 0], [0, 0]], dilation: [1, 1], groups: 1 },
  },
];

/** A convolution op as a function of its two operands, whose shapes `conv` gives. */
function convUses(op: "conv" | "convInputGrad" | "convFilterGrad"): Use[] {
  return convs.map(({ image, filter, attrs }) => {
    const program = record((x, w) => x.trace.emit("conv", [x, w], attrs), [image, filter]);
    const dy = program.values[program.outputs[0].value].shape;
    switch (op) {
      case "conv":
        return use((x, w) => x.trace.emit(op, [x, w], attrs), [image, filter]);
      case "convInputGrad":
        return use((y, w) => y.trace.emit(op, [y, w], { ...attrs, inputShape: image }), [dy, filter]);
      case "convFilterGrad":
        return use((x, y) => x.trace.emit(op, [x, y], { ...attrs, filterShape: filter }), [image, dy]);
    }
  });
}

const pool = { window: [3, 2], strides: [2, 2], padding: [[1, 1], [0, 1]] } as const;
const IMAGE = [2, 6, 5, 3];
const POOLED = [2, 3, 3, 3];

const reduceUses = (["sum", "max", "min"] as const).flatMap((fn: ReduceFn) =>
  [[], [0], [1], [2], [0, 2], [0, 1, 2]].map((axes) =>
    use((x) => x.trace.emit("reduce", [x], { fn, axes }), [[3, 4, 2]])
  )
);

const matmulUses = [[false, false], [true, false], [false, true], [true, true]].flatMap(
  ([transposeA, transposeB]) =>
    [[], [2]].map((batch) => {
      const [a, b] = [transposeA ? [4, 3] : [3, 4], transposeB ? [5, 4] : [4, 5]];
      return use((x, y) => x.matmul(y, { transposeA, transposeB }), [[...batch, ...a], [...batch, ...b]]);
    }),
);

/** Row indices of type i32, some repeated, some out of range. */
const rows = (x: Tensor) => (void x, literal([2, 0, 2, 9, -1], [5], "i32"));

const group = "alone";

type UsedOp = Exclude<OpName, "receive">;

/**
 * Uses of every op. Ops without a gradient are combined with ops that have one. Collective ops are those of a group of one
 * process, which receives nothing.
 */
const uses: { readonly [N in UsedOp]: readonly Use[] } = {
  unary: unaryUses,
  binary: binaryUses,
  compare: [use((x, y) => x.lt(y).cast("f32").mul(x).add(y), [[9], [9]])],
  select: [use((x, y) => where(x.lt(y), x.mul(y), y.mul(y)), [[3, 4], [3, 4]])],
  cast: [use((x) => x.mul(3).cast("i32").cast("f32").mul(x), [[9]])],
  constant: [use((x) => x.mul(literal([1, 2, 3, 4], [4])).add(0.5), [[3, 4]])],
  iota: [use((x) => x.mul(iota([3, 4], 1, "f32")), [[3, 4]])],
  randomBits: [use((x) => {
    const bits = x.trace.emit("randomBits", [literal([1, 2], [2], "u32")], { shape: [3, 4], word: 0 });
    return where(bits.and(1).eq(0), x.mul(x), x);
  }, [[3, 4]])],
  broadcast: [[1, 4, 1], [3, 1, 2], [1, 1, 1], [3, 4, 2]].map((shape) =>
    use((x) => x.broadcastTo([3, 4, 2]), [shape])
  ),
  reshape: [use((x) => x.reshape(2, 6), [[3, 4]])],
  transpose: [[0, 1, 2], [2, 0, 1], [1, 0, 2], [2, 1, 0]].map((permutation) =>
    use((x) => x.trace.emit("transpose", [x], { permutation }), [[2, 3, 4]])
  ),
  slice: [
    use((x) => x.slice([1, 0], [3, 5]), [[4, 5]]),
    use((x) => x.slice([0, 1], [4, 5], [2, 3]), [[4, 5]]),
    use((x) => x.slice([1, 2], [4, 5], [3, 2]), [[5, 6]]),
  ],
  pad: [
    use((x) => x.pad([1, 0], [0, 2]), [[3, 4]]),
    use((x) => x.pad([1, 2], [2, 1], [1, 2]), [[3, 4]]),
  ],
  concat: [
    use((x, y) => concat([x, y, x], 0), [[2, 3], [1, 3]]),
    use((x, y) => concat([x, y], 1), [[2, 3], [2, 1]]),
  ],
  reduce: reduceUses,
  argmax: [use((x) => x.argmax(1).cast("f32").reshape(3, 1).mul(x), [[3, 4]])],
  matmul: matmulUses,
  conv: convUses("conv"),
  convInputGrad: convUses("convInputGrad"),
  convFilterGrad: convUses("convFilterGrad"),
  maxPool: [use((x) => x.trace.emit("maxPool", [x], pool), [IMAGE])],
  maxPoolGrad: [use((x, y) => x.trace.emit("maxPoolGrad", [x, y], pool), [IMAGE, POOLED])],
  maxPoolPick: [use((x, v) => x.trace.emit("maxPoolPick", [x, v], pool), [IMAGE, IMAGE])],
  avgPool: [
    use((x) => x.trace.emit("avgPool", [x], pool), [IMAGE]),
    // Windows that tile the image, and some that leave pixels out.
    ...[[2, 6, 4, 3], [2, 7, 5, 3]].map((image) => use((x) => avgPool(x, { window: [3, 2] }), [image])),
  ],
  avgPoolGrad: [use((y) => y.trace.emit("avgPoolGrad", [y], { ...pool, inputShape: IMAGE }), [POOLED])],
  resize: [true, false].flatMap((alignCorners) =>
    [[3, 9], [6, 2]].map(([height, width]) =>
      use((x) => x.trace.emit("resize", [x], { height, width, alignCorners }), [[2, 4, 5, 3]])
    )
  ),
  resizeGrad: [true, false].map((alignCorners) =>
    use((y) => y.trace.emit("resizeGrad", [y], { height: 4, width: 5, alignCorners }), [[2, 3, 9, 3]])
  ),
  gather: [use((x) => x.gather(rows(x)), [[4, 3]])],
  scatterAdd: [use((x) => scatterAdd(x, rows(x), 4), [[5, 3]])],
  stopGradient: [use((x) => x.stopGradient().mul(0).add(x), [[3]])],
  barrier: [use((x) => x.trace.emit("barrier", [x], {}).mul(x), [[3]])],
  allReduce: (["sum", "max"] as const).map((fn) => use((x) => allReduce(x, { group, fn }).mul(x), [[3]])),
  broadcastFrom: [
    use((x) => broadcastFrom(x.stopGradient(), { group, root: 0 }).mul(0).add(x).mul(x), [[3]]),
  ],
  send: [use((x) => (send(x, { group, to: 0 }), x.mul(x)), [[3]])],
};

function check({ f, shapes, range = [-2, 2] }: Use, random: Random, order: number): void {
  checkGradient(f, shapes.map((shape) => point(random, shape, ...range)), random, order);
}

for (const [op, list] of Object.entries(uses)) {
  Deno.test(`the gradients of ${op} equal central differences, up to the third order`, () => {
    const random = new Random(3);
    list.forEach((each) => check(each, random, 3));
  });
}

Deno.test("the gradient of the means of windows that tile an image is element-wise, and never kept", () => {
  for (const [height, isTiled] of [[6, true], [7, false]] as const) {
    const step = jit((x: Tensor) =>
      grad((x: Tensor) => avgPool(x, { window: [3, 2] }).square().sum())(x).exp()
    );
    const aval = { shape: [64, height, 4, 3], dtype: "f32" } as const;
    const ops = step.plan(referenceTarget, aval).steps.flatMap((each) =>
      each.kind === "op" ? each.instruction.op : []
    );
    assertEquals(ops, isTiled ? ["avgPool"] : ["avgPool", "avgPoolGrad"]);
  }
});

const bn = batchNorm({ channels: 3 });
const normalise = (x: Tensor, weight: Tensor, bias: Tensor) => {
  const state = { running_mean: literal([0, 0, 0], [3]), running_var: literal([1, 1, 1], [3]) };
  return bn.apply({ weight, bias }, state, x, "train").y;
};
const labels = (n: number) => literal(Array.from({ length: n }, (_, i) => i * i % 3), [n], "i32");

/** The parts of networks. */
const networks: Readonly<Record<string, Use>> = {
  "convolution, batch norm, ReLU, pooling, linear, cross-entropy": use(
    (x, w, weight, bias, linear) => {
      const y = normalise(conv2d(x, w, { padding: 1, strides: 2 }), weight, bias).relu();
      const features = avgPool(maxPool(y, { window: 2, strides: 1 }), { window: 2 });
      return crossEntropy(features.reshape(4, -1).matmul(linear), labels(4));
    },
    [[4, 6, 6, 2], [3, 3, 3, 2], [3], [3], [3, 5]],
  ),
  "batch norm in training mode": use((x, weight, bias) => normalise(x, weight, bias), [[2, 3, 2, 3], [3], [
    3,
  ]]),
  "a residual block whose filter is used twice": use((x, w, weight, bias) => {
    const y = normalise(conv2d(x, w, { padding: 1 }), weight, bias).tanh();
    return conv2d(y, w, { padding: 1 }).add(x).relu();
  }, [[2, 3, 3, 3], [3, 3, 3, 3], [3], [3]]),
  "a decoder: resize, convolution, binary cross-entropy": use(
    (x, w) => {
      const y = conv2d(resizeBilinear(x, [5, 6], { alignCorners: true }), w, { padding: 1 });
      return binaryCrossEntropy(y, y.stopGradient().mul(0).add(0.3));
    },
    [[2, 2, 3, 2], [3, 3, 3, 2]],
  ),
  "supervised contrastive loss": use((x) => supervisedContrastive(x, labels(6), 0.5), [[6, 4]]),
  "softmax, its logarithm, and the logarithm of a sum of exponentials": use(
    (x) => softmax(x, 0).add(logSoftmax(x).mul(0.1)).add(logSumExp(x, 1, { keepDims: true })),
    [[3, 4]],
  ),
  "activations": use((x) => gelu(x).add(gelu(x, { approximate: "tanh" })).mul(silu(x)), [[7]]),
  "variance, standard deviation and norms": use(
    (x) => variance(x, 0).mul(std(x, 0, { correction: 1 })).add(norm(x)).add(norm(x, 0, { order: 1 })),
    [[4, 3]],
  ),
  "cumulative sums": use((x) => cumsum(x).mul(cumsum(x, 0)), [[2, 34]]),
  "sorting": use((x) => sort(x).values.mul(sort(x, 0, { descending: true }).values), [[2, 5]]),
  "products of batches": use(
    (x, y) => x.matmul(y, { transposeB: true }).mul(einsum("bij,kj->bik", x, y)),
    [[2, 3, 4], [2, 4]],
  ),
  "adaptive average pooling": use((x) => adaptiveAveragePool(x, 2, 3).tanh(), [[2, 5, 4, 2]]),
};

for (const [name, each] of Object.entries(networks)) {
  Deno.test(`gradients of gradients equal central differences: ${name}`, () => check(each, new Random(4), 2));
}

/** A random function of two matrices in which values are used more than once. */
function randomFunction(random: Random): Differentiable {
  const steps = Array.from({ length: random.int(4, 14) }, () => ({
    kind: random.int(0, 11),
    picks: [random.unit(), random.unit()],
    axis: random.int(0, 1),
  }));
  return (...inputs) => {
    const made = [...inputs];
    for (const { kind, picks, axis } of steps) {
      // The newest are likeliest, so that functions grow deep.
      const [x, y] = picks.map((p) => made[made.length - 1 - Math.floor(p * p * made.length)]);
      const next = [
        () => x.mul(y),
        () => x.add(y.mul(0.5)),
        () => x.sub(y),
        () => x.tanh(),
        () => x.mul(x).add(1).sqrt(),
        () => x.sin().maximum(y),
        () => where(x.gt(y), x.cos(), y.mul(x)),
        () => x.sub(x.mean(axis, { keepDims: true })),
        () => x.transpose(),
        () => x.tanh().matmul(y, { transposeB: true }).mul(0.25),
        () => concat([x.slice([1, 0], [4, 4]), y.slice([0, 0], [1, 4])], 0),
        () => x.tanh().exp().div(x.tanh().exp().sum(axis, { keepDims: true })),
      ][kind];
      made.push(next());
    }
    return made.at(-1)!;
  };
}

Deno.test("gradients of random functions, and gradients of those, equal central differences", () => {
  for (let seed = 0; seed < 60; seed++) {
    const random = new Random(seed);
    const f = randomFunction(random);
    try {
      check(use(f, [[4, 4], [4, 4]], [-1, 1]), random, 2);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`);
    }
  }
});

Deno.test("checkpoint() changes no first or second gradient of random functions", () => {
  for (let seed = 100; seed < 120; seed++) {
    const random = new Random(seed);
    const [inner, outer] = [randomFunction(random), randomFunction(random)];
    const wrapped = checkpoint((x: Tensor, y: Tensor) => inner(x, y));
    const plain: Differentiable = (x, y) => outer(inner(x, y), y);
    const checked: Differentiable = (x, y) => outer(wrapped(x, y), y);
    const data = [0, 1, 2, 3].map(() => point(random, [4, 4], -1, 1).data).with(3, point(random, [32]).data);
    for (const order of [1, 2]) {
      const shapes = [[4, 4], [4, 4], [4, 4], [32]].slice(0, order + 2);
      const [want, got] = [plain, checked].map((f) => {
        const g = order === 1 ? derivative(f) : derivative(derivative(f));
        return evaluate(record(g, shapes), data.slice(0, order + 2))[0];
      });
      want.forEach((x, i) =>
        assert(Math.abs(got[i] - x) <= 1e-9 * (1 + Math.abs(x)), `seed ${seed}, order ${order}`)
      );
    }
  }
});

Deno.test("stopGradient() gives a gradient of exactly zero, whatever follows it", () => {
  const f: Differentiable = (x, w) => conv2d(x.stopGradient(), w, { padding: 1 }).tanh();
  const program = record((x, w, ct) => vjp(f as (...a: readonly Tensor[]) => Tensor, x, w)[1](ct)[0], [
    [1, 4, 4, 2],
    [2, 3, 3, 2],
    [1, 4, 4, 2],
  ]);
  const random = new Random(6);
  const [dx] = evaluate(
    program,
    [[1, 4, 4, 2], [2, 3, 3, 2], [1, 4, 4, 2]].map((shape) => point(random, shape).data),
  );
  assertEquals([...new Set(dx)], [0]);
});

/** The ops whose rules give some operand a gradient. */
const differentiable = (Object.keys(uses) as UsedOp[]).filter((op) =>
  !["compare", "cast", "constant", "iota", "randomBits", "argmax", "stopGradient", "broadcastFrom", "send"]
    .includes(op)
);

Deno.test("the checks detect an error of a thousandth in each rule, for each operand", () => {
  const table = rules as { -readonly [N in OpName]: Rule<N> };
  for (const op of differentiable) {
    const rule = table[op] as Rule<OpName>;
    const found = [0, 1, 2].filter((operand) => {
      let reached = false;
      const faulty: Rule<OpName> = (context) =>
        rule(context).map((ct, i) => {
          if (i !== operand || ct === undefined || !context.wanted[i]) return ct;
          reached = true;
          return ct.mul(1.001);
        });
      Object.assign(table, { [op]: faulty });
      try {
        uses[op].forEach((each) => check(each, new Random(3), 1));
      } catch {
        return true;
      } finally {
        Object.assign(table, { [op]: rule });
      }
      // Only the gradient to the operand that selects the maximum may be scaled unnoticed, since it is zero.
      const zero = (op === "maxPoolGrad" || op === "maxPoolPick") && operand === 0;
      assert(!reached || zero, `${op}: operand ${operand}`);
      return false;
    });
    assert(found.length > 0, op);
  }
});
