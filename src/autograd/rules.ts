import { at } from "../base/at.ts";
import { allReduce } from "../trace/collectives.ts";
import { isFloat, type Shape } from "../trace/dtype.ts";
import { where } from "../trace/functions.ts";
import type { OpAttrs, OpName, OpOperands, PoolAttrs, UnaryFn } from "../trace/ops.ts";
import { constantLike, type Tensor } from "../trace/tensor.ts";

/** The arguments of a gradient rule. */
interface RuleContext<N extends OpName> {
  /** The cotangent of the result, of its shape. */
  readonly ct: Tensor;
  /** The operands. */
  readonly inputs: OpOperands<Tensor>[N];
  /** The result. */
  readonly output: Tensor;
  /** The op's attributes. */
  readonly attrs: OpAttrs[N];
  /** For each operand, true if its cotangent is needed. */
  readonly wanted: readonly boolean[];
}

/**
 * Computes the cotangents of an op's operands, undefined for those that receive none. Rules are made of ops, so gradients
 * have gradients too.
 */
export type Rule<N extends OpName> = (context: RuleContext<N>) => readonly (Tensor | undefined)[];

const nothing = (): [] => [];

/** dL/dx of an element-wise function y(x) from dL/dy, computed from y if possible, so that x need not stay in memory. */
const unaryRules: { readonly [F in UnaryFn]: (ct: Tensor, x: Tensor, y: Tensor) => Tensor | undefined } = {
  neg: (ct) => ct.neg(),
  abs: (ct, x) => ct.mul(x.sign()),
  sign: () => undefined,
  floor: () => undefined,
  exp: (ct, _, y) => ct.mul(y),
  log: (ct, x) => ct.div(x),
  sqrt: (ct, _, y) => ct.mul(0.5).div(y),
  rsqrt: (ct, _, y) => ct.mul(-0.5).mul(y).mul(y).mul(y),
  sin: (ct, x) => ct.mul(x.cos()),
  cos: (ct, x) => ct.mul(x.sin()).neg(),
  tanh: (ct, _, y) => ct.mul(constantLike(1, y).sub(y.mul(y))),
  erf: (ct, x) => ct.mul(x.square().neg().exp().mul(2 / Math.sqrt(Math.PI))),
  not: () => undefined,
  isFinite: () => undefined,
};

/** The gradient rule of every op. */
export const rules: { readonly [N in OpName]: Rule<N> } = {
  unary: ({ ct, inputs: [x], output, attrs }) => [unaryRules[attrs.fn](ct, x, output)],
  binary({ ct, inputs: [a, b], output: y, attrs, wanted }) {
    const zero = () => constantLike(0, ct);
    switch (attrs.fn) {
      case "add":
        return [ct, ct];
      case "sub":
        return [ct, wanted[1] ? ct.neg() : undefined];
      case "mul":
        return [wanted[0] ? ct.mul(b) : undefined, wanted[1] ? ct.mul(a) : undefined];
      case "div":
        return [wanted[0] ? ct.div(b) : undefined, wanted[1] ? ct.mul(y).div(b).neg() : undefined];
      case "pow": {
        // a⁰ is 1 for any a, so its derivative to a is 0. The derivative to b is taken as 0 at a ≤ 0, where log(a) is
        // undefined.
        const low = a.le(0);
        return [
          wanted[0] ? where(b.eq(0), 0, ct.mul(b).mul(a.pow(b.sub(1)))) : undefined,
          wanted[1] ? where(low, 0, ct.mul(y).mul(where(low, 1, a).log())) : undefined,
        ];
      }
      // The mask is computed from the result, so that only that stays in memory after a ReLU. On a tie the second
      // operand receives everything: ReLU, max(x, 0), has gradient 0 at 0, as in PyTorch. A NaN reaches both, as there.
      case "max":
        return [
          wanted[0] ? where(y.le(b), zero(), ct) : undefined,
          wanted[1] ? where(y.gt(b), zero(), ct) : undefined,
        ];
      case "min":
        return [
          wanted[0] ? where(y.ge(b), zero(), ct) : undefined,
          wanted[1] ? where(y.lt(b), zero(), ct) : undefined,
        ];
      case "rem": // a − b·trunc(a / b)
        return [ct, wanted[1] ? ct.mul(y.sub(a)).div(b) : undefined];
      case "and":
      case "or":
      case "xor":
      case "shl":
      case "shr":
        return [];
      default:
        return attrs.fn satisfies never;
    }
  },
  compare: nothing,
  select({ ct, inputs: [condition], wanted }) {
    return [
      undefined,
      wanted[1] ? where(condition, ct, 0) : undefined,
      wanted[2] ? where(condition, 0, ct) : undefined,
    ];
  },
  cast: ({ ct, inputs: [x] }) => [isFloat(x.dtype) && isFloat(ct.dtype) ? ct.cast(x.dtype) : undefined],
  constant: nothing,
  iota: nothing,
  randomBits: nothing,
  broadcast({ ct, inputs: [x] }) {
    const repeated = x.shape.flatMap((extent, axis) => extent !== ct.shape[axis] ? [axis] : []);
    return [ct.sum(repeated).reshape(...x.shape)];
  },
  reshape: ({ ct, inputs: [x] }) => [ct.reshape(...x.shape)],
  transpose({ ct, attrs: { permutation } }) {
    return [ct.transpose(...permutation.map((_, axis) => permutation.indexOf(axis)))];
  },
  slice({ ct, inputs: [x], attrs: { starts, strides } }) {
    if (ct.size === 0) return [constantLike(0, x)];
    const end = (axis: number) => at(starts, axis) + (at(ct.shape, axis) - 1) * at(strides, axis) + 1;
    return [ct.pad(starts, x.shape.map((extent, axis) => extent - end(axis)), strides.map((s) => s - 1))];
  },
  pad({ ct, inputs: [x], attrs: { low, interior } }) {
    if (x.size === 0) return [constantLike(0, x)];
    const limits = x.shape.map((extent, axis) => at(low, axis) + (extent - 1) * (at(interior, axis) + 1) + 1);
    return [ct.slice(low, limits, interior.map((count) => count + 1))];
  },
  concat({ ct, inputs, attrs: { axis }, wanted }) {
    let end = 0;
    return inputs.map((input, index) => {
      const start = end;
      end += at(input.shape, axis);
      if (!wanted[index]) return undefined;
      return ct.slice(ct.shape.map(() => 0).with(axis, start), ct.shape.with(axis, end));
    });
  },
  reduce({ ct, inputs: [x], output, attrs: { fn, axes } }) {
    const kept = x.shape.map((extent, axis) => axes.includes(axis) ? 1 : extent);
    const spread = ct.reshape(...kept).broadcastTo(x.shape);
    if (fn === "sum") return [spread];
    // Ties share the gradient evenly, as PyTorch's amax does.
    const chosen = x.eq(output.reshape(...kept)).cast("f32");
    const count = chosen.sum(axes, { keepDims: true });
    return [spread.mul(chosen).div(count)];
  },
  argmax: nothing,
  matmul({ ct, inputs: [a, b], attrs: { transposeA, transposeB }, wanted }) {
    return [
      !wanted[0]
        ? undefined
        : transposeA
        ? b.matmul(ct, { transposeA: transposeB, transposeB: true })
        : ct.matmul(b, { transposeB: !transposeB }),
      !wanted[1]
        ? undefined
        : transposeB
        ? ct.matmul(a, { transposeA: true, transposeB: transposeA })
        : a.matmul(ct, { transposeA: !transposeA }),
    ];
  },
  // Each of the three convolution ops is bilinear in two of image, filter and cotangent; its gradients are the others.
  conv({ ct, inputs: [image, filter], attrs, wanted }) {
    return [
      wanted[0]
        ? ct.trace.emit("convInputGrad", [ct, filter], { ...attrs, inputShape: image.shape })
        : undefined,
      wanted[1]
        ? ct.trace.emit("convFilterGrad", [image, ct], { ...attrs, filterShape: filter.shape })
        : undefined,
    ];
  },
  convInputGrad({ ct, inputs: [dy, filter], attrs: { inputShape: _, ...attrs }, wanted }) {
    return [
      wanted[0] ? ct.trace.emit("conv", [ct, filter], attrs) : undefined,
      wanted[1]
        ? ct.trace.emit("convFilterGrad", [ct, dy], { ...attrs, filterShape: filter.shape })
        : undefined,
    ];
  },
  convFilterGrad({ ct, inputs: [image, dy], attrs: { filterShape: _, ...attrs }, wanted }) {
    return [
      wanted[0] ? ct.trace.emit("convInputGrad", [dy, ct], { ...attrs, inputShape: image.shape }) : undefined,
      wanted[1] ? ct.trace.emit("conv", [image, ct], attrs) : undefined,
    ];
  },
  maxPool: ({ ct, inputs: [image], attrs }) => [ct.trace.emit("maxPoolGrad", [image, ct], attrs)],
  // The position of a maximum is constant almost everywhere, so the gradient to the image is 0.
  maxPoolGrad: ({ ct, inputs: [image], attrs, wanted }) => [
    wanted[0] ? constantLike(0, image) : undefined,
    wanted[1] ? ct.trace.emit("maxPoolPick", [image, ct], attrs) : undefined,
  ],
  maxPoolPick: ({ ct, inputs: [image], attrs, wanted }) => [
    wanted[0] ? constantLike(0, image) : undefined,
    wanted[1] ? ct.trace.emit("maxPoolGrad", [image, ct], attrs) : undefined,
  ],
  avgPool: ({ ct, inputs: [image], attrs }) => [
    tiles(image.shape, attrs)
      ? overWindows(ct, attrs).reshape(...image.shape)
      : ct.trace.emit("avgPoolGrad", [ct], { ...attrs, inputShape: image.shape }),
  ],
  avgPoolGrad: ({ ct, attrs: { inputShape: _, ...attrs } }) => [ct.trace.emit("avgPool", [ct], attrs)],
  resize: ({ ct, inputs: [image], attrs }) => [
    ct.trace.emit("resizeGrad", [ct], { ...attrs, height: at(image.shape, 1), width: at(image.shape, 2) }),
  ],
  resizeGrad: ({ ct, inputs: [dy], attrs }) => [
    ct.trace.emit("resize", [ct], { ...attrs, height: at(dy.shape, 1), width: at(dy.shape, 2) }),
  ],
  gather({ ct, inputs: [operand, indices] }) {
    const [rows] = operand.shape;
    return [rows === undefined ? undefined : ct.trace.emit("scatterAdd", [ct, indices], { rows })];
  },
  scatterAdd: ({ ct, inputs: [, indices] }) => [ct.gather(indices)],
  stopGradient: nothing,
  barrier: ({ ct }) => [ct],
  // The result is on every process, and what is differentiated is the sum of their losses: so are the cotangents added.
  allReduce({ ct, inputs: [x], output, attrs: { group, fn } }) {
    const spread = allReduce(ct, { group });
    if (fn === "sum") return [spread];
    const chosen = x.eq(output).cast("f32");
    return [spread.mul(chosen).div(allReduce(chosen, { group }))];
  },
  broadcastFrom: ({ ct }) =>
    ct.trace.fail("broadcastFrom has no gradient; pass its operand through stopGradient"),
  send: nothing,
  receive: nothing,
};

/** Adds the cotangents that reach one value from several consumers. */
export function accumulate(a: Tensor | undefined, b: Tensor): Tensor {
  return a === undefined ? b : a.add(b);
}

/** Tests whether the windows tile an image: each pixel is in exactly one. */
function tiles([, height = 0, width = 0]: Shape, { window, strides, padding }: PoolAttrs): boolean {
  return [height, width].every((extent, axis) =>
    at(window, axis) === at(strides, axis) && extent % at(window, axis) === 0 &&
    at(padding, axis).every((pixels) => pixels === 0)
  );
}

/** The part of each pixel in the gradients of the means of the windows that tile an image: element-wise, so never kept. */
function overWindows(ct: Tensor, { window: [down, across] }: PoolAttrs): Tensor {
  const [n = 0, rows = 0, columns = 0, channels = 0] = ct.shape;
  // In f32, because not every number of pixels is a bfloat16.
  return ct.cast("f32").div(down * across).cast(ct.dtype)
    .reshape(n, rows, 1, columns, 1, channels)
    .broadcastTo([n, rows, down, columns, across, channels]);
}
