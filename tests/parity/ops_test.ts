/** Single ops, compared with PyTorch on every backend. */

import { assert } from "@std/assert";
import { grad, vjp } from "../../src/autograd/grad.ts";
import { binaryCrossEntropy, crossEntropy, supervisedContrastive } from "../../src/local/losses.ts";
import { batchNorm } from "../../src/nn/batch_norm.ts";
import { adamw } from "../../src/optim/adamw.ts";
import { type Optimizer, zeroSlots } from "../../src/optim/optimizer.ts";
import { sgd } from "../../src/optim/sgd.ts";
import type { Device, DeviceArray } from "../../src/runtime/arrays.ts";
import { jit } from "../../src/runtime/jit.ts";
import { avgPool, conv2d, full, maxPool, type Padding, resizeBilinear } from "../../src/trace/functions.ts";
import { HostArray } from "../../src/trace/host_array.ts";
import type { Pair } from "../../src/trace/ops.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { hash, units } from "../fixtures/formula.ts";
import { assertClose, load, testOn, type Whole } from "./fixture.ts";

interface Case {
  readonly name: string;
  readonly op: string;
  // deno-lint-ignore no-explicit-any -- each op has attributes of its own
  readonly attributes: any;
  readonly inputs: { readonly [name: string]: { shape: number[]; scale: number; offset: number } };
  readonly outputs: { readonly [name: string]: Whole };
}

type Inputs = { [name: string]: Tensor };

const { cases } = load<{ cases: Case[] }>("ops");

/** Applies the op of a case to its inputs; `labels` are for losses. */
const ops: {
  readonly [op: string]: (inputs: Inputs, attributes: Case["attributes"], labels: Tensor) => Tensor;
} = {
  conv2d: ({ x, w }, { stride, padding, dilation, groups }) =>
    conv2d(x!, w!, { strides: stride, padding, dilation, groups }),
  maxPool2d: ({ x }, { window, stride, padding }) =>
    maxPool(x!, { window, strides: stride, padding: symmetric(padding) }),
  avgPool2d: ({ x }, { window, stride, padding, countPadding }) => {
    const pool = (t: Tensor) => avgPool(t, { window, strides: stride, padding: symmetric(padding) });
    return countPadding ? pool(x!) : pool(x!).div(pool(full(x!.shape, 1)));
  },
  resizeBilinear: ({ x }, { size, alignCorners }) => resizeBilinear(x!, size, { alignCorners }),
  crossEntropy: ({ x }, _, labels) => crossEntropy(x!, labels),
  logSoftmax: ({ x }) => {
    const shifted = x!.sub(x!.max(-1, { keepDims: true }).stopGradient());
    return shifted.sub(shifted.exp().sum(-1, { keepDims: true }).log());
  },
  bceWithLogits: ({ x, target }) => binaryCrossEntropy(x!, target!),
  mse: ({ x, target }) => x!.sub(target!).square().mean(),
  supervisedContrastive: ({ x }, { temperature, anchors }, labels) =>
    supervisedContrastive(x!, labels, temperature, anchors),
};

function symmetric([height, width]: Pair): Padding {
  return [[height, height], [width, width]];
}

/** y and the gradients of sum(y · g), by input. */
function differentiated(
  f: (inputs: Inputs) => Tensor,
  inputs: Inputs,
  g: Tensor,
  extra: () => Inputs = () => ({}),
): Inputs {
  const [y, pullback] = vjp(f, inputs);
  const [gradients] = pullback(g.reshape(...y.shape));
  return {
    y,
    ...Object.fromEntries(Object.entries(gradients).map(([key, value]) => [`d${key}`, value])),
    ...extra(),
  };
}

/** The traced function of a case that is a layer or a composite. */
function traced(c: Case, inputs: Inputs, labels: Tensor, g: Tensor): Inputs {
  if (c.op === "conv2d-twice") {
    const loss = ({ x, w }: Inputs) =>
      ops["conv2d"]!({ x: x!, w: w! }, c.attributes, labels).tanh().mul(g).sum();
    const slope = (inputs: Inputs) =>
      grad((x: Tensor) => loss({ ...inputs, x }))(inputs["x"]!).square().sum();
    const { x, w } = grad(slope)(inputs);
    return { dx: x!, dw: w! };
  }
  if (c.op === "batchNorm") {
    const { x, weight, bias, runningMean, runningVariance } = inputs;
    const layer = batchNorm({
      channels: weight!.size,
      epsilon: c.attributes.eps,
      momentum: c.attributes.momentum,
    });
    const before = { running_mean: runningMean!, running_var: runningVariance! };
    let after: Inputs = {};
    const f = ({ x, weight, bias }: Inputs) => {
      const { y, state } = layer.apply({ weight: weight!, bias: bias! }, before, x!, "train");
      after = state as Inputs;
      return y;
    };
    return differentiated(f, { x: x!, weight: weight!, bias: bias! }, g, () => ({
      runningMean: after["running_mean"]!,
      runningVariance: after["running_var"]!,
      evaluated: layer.apply({ weight: weight!, bias: bias! }, after, x!, "evaluate").y,
    }));
  }
  return differentiated((inputs) => ops[c.op]!(inputs, c.attributes, labels), inputs, g);
}

/** Float32 rounding, larger where the case amplifies it; the reference computes in float64. */
function toleranceOf(c: Case, device: Device): number {
  if (device.name === "reference") return 1e-6;
  if (c.name.endsWith("far-from-zero")) return 1e-4; // the mean is 35 standard deviations
  return c.op === "supervisedContrastive" ? 2e-5 : 1e-5;
}

async function check(c: Case, device: Device): Promise<void> {
  const inputs = Object.fromEntries(
    Object.entries(c.inputs).map(([key, { shape, scale, offset }]) => {
      const count = shape.reduce((a, b) => a * b, 1);
      return [key, new HostArray(units(`${c.name}.${key}`, count, scale, offset), shape)];
    }),
  );
  const rows = Object.values(c.inputs)[0]!.shape[0]!;
  const labels = Int32Array.from(
    { length: rows },
    (_, n) => hash(`${c.name}.labels`, n) % (c.attributes.classes ?? 1),
  );
  const y = c.outputs["y"] ?? c.outputs["dx"]!;
  const shape = c.op === "conv2d-twice" ? [2, 3, 5, 4] : y.shape;
  const g = new HostArray(units(`${c.name}.g`, shape.reduce((a, b) => a * b, 1)), shape);
  const f = jit((inputs: Inputs, labels: Tensor, g: Tensor) => traced(c, inputs, labels, g), {
    device,
    name: c.name,
  });
  const results = f(inputs, labels, g);
  for (const [key, expected] of Object.entries(c.outputs)) {
    assert(results[key] !== undefined, `${c.name} gives no ${key}`);
    assertClose(await results[key].read(), expected, toleranceOf(c, device), `${c.name}: ${key}`);
  }
  for (const array of Object.values(results)) array.dispose();
  f.dispose();
}

async function checkOptimizer(c: Case, device: Device): Promise<void> {
  const { steps, learningRate, momentum, nesterov, weightDecay, betas, eps } = c.attributes;
  const optimizer: Optimizer = c.op === "adamw"
    ? adamw({ betas, epsilon: eps, weightDecay })
    : sgd({ momentum, nesterov, weightDecay });
  const step = jit((x: Tensor, g: Tensor, slots: Inputs, scalars: Inputs) => {
    const after = optimizer.update(x, g, slots, scalars);
    return { x: after.params as Tensor, slots: after.slots as Inputs };
  }, { device, name: c.name, donate: [0, 2] });
  let x = device.array(units(`${c.name}.x`, 9));
  let slots = device.put(zeroSlots(optimizer, x)) as { [slot: string]: DeviceArray };
  for (let i = 0; i < steps; i++) {
    const g = units(`${c.name}.grad.${i}`, 9);
    ({ x, slots } = step(x, g, slots, optimizer.scalars(i, learningRate) as { [name: string]: number }));
    const tolerance = device.name === "reference" ? 1e-6 : 1e-5;
    assertClose(await x.read(), c.outputs[`step${i}`]!, tolerance, `${c.name}, step ${i + 1}`);
  }
  for (const array of [x, ...Object.values(slots)]) array.dispose();
  step.dispose();
}

for (const op of new Set(cases.map((c) => c.op))) {
  const isOptimizer = op === "sgd" || op === "adamw";
  await testOn(
    ["reference", "cpu", "cpu-onednn", "webgpu", "cuda-simulated", "cuda"],
    (backend) => `${op} on ${backend} gives PyTorch's values`,
    async (device) => {
      for (const c of cases.filter((c) => c.op === op)) {
        await (isOptimizer ? checkOptimizer : check)(c, device);
      }
    },
  );
}
