import { assert, assertRejects } from "@std/assert";
import { ReferenceBackend } from "../../src/backends/reference/backend.ts";
import { type OpRules, opRules, type Value } from "../../src/backends/reference/ops.ts";
import type { Kernel, Node } from "../../src/compile/kernel.ts";
import type { Plan } from "../../src/compile/plan.ts";
import type { OpAttrs, Pair, PoolAttrs } from "../../src/trace/ops.ts";
import { windowCount } from "../../src/trace/shapes/images.ts";
import { evaluateBounded } from "./bounds.ts";
import { checkCases, difference, opCase } from "./check.ts";
import { f32, Random } from "./random.ts";
import { groups } from "./suite.ts";
import { unfusedPlan } from "./unfused.ts";

// A test of the suite itself: a backend with any of these faults must not pass it.

/** The faulty replacement of an op. */
type Fault = Partial<OpRules>;

const swap = ([a, b]: Pair): Pair => [b, a];

/** Rounds an operand to `bits` bits of mantissa, as a tensor core or a half-precision unit may. */
function coarse(value: Value, bits: number): Value {
  const data = value.data.map((x) => {
    const unit = 2 ** (Math.floor(Math.log2(Math.abs(x) || 1)) - bits);
    return Math.round(x / unit) * unit;
  });
  return { ...value, data };
}

/** An op rule with its attributes changed. */
function using<N extends keyof OpAttrs>(op: N, change: (attrs: OpAttrs[N]) => OpAttrs[N]): OpRules[N] {
  return ((out, inputs, attrs) => opRules[op](out, inputs, change(attrs))) as OpRules[N];
}

/** Pooling that selects the last maximum of a window: the first of the reversed image. */
function lastMaximum(out: Value, [image, v]: readonly Value[], attrs: PoolAttrs): void {
  const turn = (value: Value): Value => ({ ...value, data: value.data.toReversed() });
  const pad = (axis: 0 | 1): Pair => {
    const [extent, window, stride] = [image.shape[axis + 1], attrs.window[axis], attrs.strides[axis]];
    const [before, after] = attrs.padding[axis];
    const covered = (windowCount(extent, window, stride, [before, after]) - 1) * stride + window;
    return [covered - extent - before, before];
  };
  const turned: PoolAttrs = { ...attrs, padding: [pad(0), pad(1)] };
  const result = { ...out, data: new Float64Array(out.data.length) };
  opRules.maxPoolPick(result, [turn(image), turn(v)], turned);
  out.data.set(result.data.reverse());
}

/** A value with −∞ in place of each NaN. */
function withoutNaN(value: Value): Value {
  return { ...value, data: value.data.map((x) => Number.isNaN(x) ? -Infinity : x) };
}

const opFaults: readonly [string, string, Fault][] = [
  ["convolution and its gradients", "padding before and after swapped", {
    conv: using("conv", (attrs) => ({ ...attrs, padding: [swap(attrs.padding[0]), swap(attrs.padding[1])] })),
  }],
  ["convolution and its gradients", "products of 10-bit mantissas", {
    conv: (out, [x, w], attrs) => opRules.conv(out, [coarse(x, 10), coarse(w, 10)], attrs),
  }],
  ["convolution and its gradients", "strides swapped in the input gradient", {
    convInputGrad: using("convInputGrad", (attrs) => ({ ...attrs, strides: swap(attrs.strides) })),
  }],
  ["convolution and its gradients", "dilation forgotten in the filter gradient", {
    convFilterGrad: using("convFilterGrad", (attrs) => ({ ...attrs, dilation: [1, 1] })),
  }],
  ["convolution and its gradients", "one tap too few in the last column of wide results", {
    conv(out, inputs, attrs) {
      opRules.conv(out, inputs, attrs);
      if (out.shape[2] > 8) out.data[out.data.length - 1] -= inputs[0].data.at(-1)! * inputs[1].data.at(-1)!;
    },
  }],
  ["pooling and its gradients", "the last maximum instead of the first", { maxPoolPick: lastMaximum }],
  ["pooling and its gradients", "padding not counted in the mean", {
    avgPool(out, [image], attrs) {
      const ones = { ...image, data: image.data.map(() => 1) };
      const share = { ...out, data: new Float64Array(out.data.length) };
      opRules.avgPool(share, [ones], attrs);
      opRules.avgPool(out, [image], attrs);
      out.data.forEach((x, i) => out.data[i] = x / share.data[i]);
    },
  }],
  ["pooling and its gradients", "overlapping windows overwrite", {
    maxPoolGrad(out, [image, dy], attrs) {
      opRules.maxPoolGrad(out, [image, dy], attrs);
      out.data.forEach((x, i) => out.data[i] = Math.max(-2, Math.min(2, x)));
    },
  }],
  ["resize and its gradient", "corners aligned when they should not be", {
    resize: using("resize", (attrs) => ({ ...attrs, alignCorners: true })),
  }],
  ["matmul", "an operand transposed that should not be", {
    matmul: using("matmul", (attrs) => ({ ...attrs, transposeB: !attrs.transposeB })),
  }],
  ["matmul", "products of 10-bit mantissas", {
    matmul: (out, [a, b], attrs) => opRules.matmul(out, [coarse(a, 10), coarse(b, 10)], attrs),
  }],
  ["argmax", "the last of equal maxima", {
    argmax(out, [x], { axis }) {
      const step = x.shape.slice(axis + 1).reduce((a, b) => a * b, 1);
      const extent = x.shape[axis];
      out.data.forEach((_, i) => {
        const first = Math.floor(i / step) * step * extent + i % step;
        let best = 0;
        for (let n = 1; n < extent; n++) {
          if (x.data[first + n * step] >= x.data[first + best * step]) best = n;
        }
        out.data[i] = best;
      });
    },
  }],
  ["argmax", "a NaN passed over", {
    argmax: (out, [x], attrs) => opRules.argmax(out, [withoutNaN(x)], attrs),
  }],
  ["pooling and its gradients", "a NaN passed over", {
    maxPool: (out, [image], attrs) => opRules.maxPool(out, [withoutNaN(image)], attrs),
  }],
  ["gather", "indices out of range wrap around", {
    gather(out, [operand, indices]) {
      const rows = operand.shape[0];
      const data = indices.data.map((i) => ((i % rows) + rows) % rows);
      opRules.gather(out, [operand, { ...indices, data }], {});
    },
  }],
  ["gather", "bytes read as signed", {
    gather(out, [operand, indices]) {
      const data = operand.dtype === "u8" ? operand.data.map((x) => x > 127 ? x - 256 : x) : operand.data;
      opRules.gather(out, [{ ...operand, data }, indices], {});
    },
  }],
  ["scatterAdd", "the last of equal indices wins", {
    scatterAdd(out, [updates, indices], { rows }) {
      const width = out.data.length / rows;
      out.data.fill(0);
      indices.data.forEach((index, i) => {
        const row = Math.min(rows - 1, Math.max(0, index));
        out.data.set(updates.data.subarray(i * width, (i + 1) * width), row * width);
      });
    },
  }],
  ["pad", "no zeros between elements", {
    pad: using("pad", (attrs) => ({ ...attrs, interior: attrs.interior.map(() => 0) })),
  }],
  ["concat", "operands in the wrong order", {
    concat(out, inputs, attrs) {
      opRules.concat(out, [...inputs].reverse(), attrs);
    },
  }],
];

for (const [group, fault, rules] of opFaults) {
  Deno.test(`the op suite detects: ${fault} (${group})`, async () => {
    const backend = new ReferenceBackend({ ...opRules, ...rules });
    await assertRejects(() => checkCases(backend, groups[group](new Random(1)), unfusedPlan), Error, "wrong");
    await backend.close();
  });
}

/** A faulty printer of kernels: the replacement of a node. */
type Misprint = (node: Node) => Node;

const unary = (from: string, to: OpAttrs["unary"]["fn"]): Misprint => (node) =>
  node.kind === "unary" && node.fn === from ? { ...node, fn: to } : node;
const binary = (from: string, to: OpAttrs["binary"]["fn"], dtype: string = "f32"): Misprint => (node) =>
  node.kind === "binary" && node.fn === from && node.dtype === dtype ? { ...node, fn: to } : node;

const kernelFaults: readonly [string, string, Misprint][] = [
  ["unary functions", "sin for cos", unary("cos", "sin")],
  ["unary functions", "reciprocal forgotten", unary("rsqrt", "sqrt")],
  [
    "unary functions",
    "truncation for floor",
    (node) =>
      node.kind === "unary" && node.fn === "floor" ? { kind: "cast", args: node.args, dtype: "i32" } : node,
  ],
  [
    "unary functions",
    "isFinite always true",
    (node) =>
      node.kind === "unary" && node.fn === "isFinite" ? { kind: "constant", value: 1, dtype: "bool" } : node,
  ],
  ["binary functions", "minimum for maximum", binary("max", "min")],
  [
    "binary functions",
    "an unsigned shift for a signed one",
    (node) => node.kind === "binary" && node.fn === "shr" ? { ...node, dtype: "u32" } : node,
  ],
  ["binary functions", "exclusive or for or, on bool", binary("or", "xor", "bool")],
  [
    "comparisons",
    "less or equal for less",
    (node) => node.kind === "compare" && node.fn === "lt" ? { ...node, fn: "le" } : node,
  ],
  [
    "select",
    "the arms of a selection swapped",
    (node) => node.kind === "select" ? { ...node, args: [node.args[0], node.args[2], node.args[1]] } : node,
  ],
  [
    "broadcast",
    "a repeated axis read on",
    (node) =>
      node.kind === "load"
        ? { ...node, view: { ...node.view, strides: node.view.strides.map((s) => s || 1) } }
        : node,
  ],
  [
    "slice",
    "the first element forgotten",
    (node) => node.kind === "load" ? { ...node, view: { ...node.view, offset: 0 } } : node,
  ],
  [
    "transpose",
    "strides in the wrong order",
    (node) =>
      node.kind === "load"
        ? { ...node, view: { ...node.view, strides: node.view.strides.toReversed() } }
        : node,
  ],
  [
    "constants, indices and random bits",
    "random bits counted from one",
    (node) => node.kind === "randomBits" ? { ...node, view: { ...node.view, offset: 1 } } : node,
  ],
  [
    "constants, indices and random bits",
    "the other word of random bits",
    (node) => node.kind === "randomBits" ? { ...node, word: node.word === 0 ? 1 : 0 } : node,
  ],
  [
    "cast",
    "floor for truncation",
    (node) => node.kind === "cast" && node.dtype === "i32" ? { ...node, kind: "unary", fn: "floor" } : node,
  ],
];

for (const [group, fault, misprint] of kernelFaults) {
  Deno.test(`the op suite detects: ${fault} (${group})`, async () => {
    const backend = new ReferenceBackend();
    const planner: typeof unfusedPlan = (program, target) =>
      misprinted(unfusedPlan(program, target), misprint);
    await assertRejects(() => checkCases(backend, groups[group](new Random(1)), planner), Error, "wrong");
    await backend.close();
  });
}

function misprinted(plan: Plan, misprint: Misprint): Plan {
  const mend = (kernel: Kernel): Kernel => ({ ...kernel, nodes: kernel.nodes.map(misprint) });
  const steps = plan.steps.map((step) =>
    step.kind === "kernel" ? { ...step, kernel: mend(step.kernel) } : step
  );
  return { ...plan, steps };
}

Deno.test("bounds reject 100,003 numbers added one by one in f32, and allow sums in blocks", () => {
  const size = 100_003;
  const data = new Float32Array(size).fill(0.1);
  const { program } = opCase("reduce", [f32(size)], { fn: "sum", axes: [0] }, [data]);
  const [want] = evaluateBounded(program, [data]);
  const oneByOne = data.reduce((sum, x) => Math.fround(sum + x), 0);
  assert(difference(Float32Array.of(oneByOne), want) !== undefined);
  let blocks = 0;
  for (let start = 0; start < size; start += 256) {
    const block = data.subarray(start, start + 256).reduce((sum, x) => Math.fround(sum + x), 0);
    blocks = Math.fround(blocks + block);
  }
  assert(difference(Float32Array.of(blocks), want) === undefined);
});
