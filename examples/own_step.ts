/**
 * A custom training step: parameters as a plain tree, a loss in tensors, `valueAndGrad`, and `jit` to compile it. The
 * parameters are donated: the updated ones are written to the same memory, so a step allocates nothing that stays.
 *
 *     deno run examples/own_step.ts
 *
 * Takes `--steps`, `--batch`, `--rate` and `--device auto|cpu|webgpu|reference`.
 */

// A full specifier, because scripts run by URL have no import map.
// deno-lint-ignore no-import-prefix
import { parseArgs } from "npm:deno-std@1.4.0/cli/parse_args.js";
import {
  conv2d,
  data,
  devices,
  disposeTree,
  HostArray,
  jit,
  keys,
  literal,
  local,
  type Tensor,
  treeMap,
  valueAndGrad,
} from "../mod.ts";

const flags = parseArgs(Deno.args, {
  string: ["steps", "batch", "rate", "device"],
  default: { steps: "200", batch: "64", rate: "0.1", device: "auto" },
  unknown(flag: string) {
    console.error(`there is no ${flag}; choose among --steps --batch --rate --device`);
    Deno.exit(2);
  },
});
const [steps, batch, rate] = [flags.steps, flags.batch, flags.rate].map(Number);

/** The parameters of two convolutions and a linear layer, each a `T`. */
type Params<T> = { conv1: T; conv2: T; weight: T; bias: T };

const { train, classes, mean, std } = data.shapes({ train: 2_000, test: 1 });

function lossOf(params: Params<Tensor>, x: Tensor, labels: Tensor): Tensor {
  const h1 = conv2d(x, params.conv1, { strides: 2, padding: 1 }).relu(); // [batch, 16, 16, 16]
  const h2 = conv2d(h1, params.conv2, { strides: 2, padding: 1 }).relu(); // [batch, 8, 8, 32]
  return local.crossEntropy(h2.max([1, 2]).matmul(params.weight).add(params.bias), labels);
}

/** One step of gradient descent on the images at `indices`, which are read from the device's bytes. */
function step(params: Params<Tensor>, pixels: Tensor, labels: Tensor, indices: Tensor) {
  const x = pixels.gather(indices).div(255).sub(literal(mean)).div(literal(std));
  const [loss, gradients] = valueAndGrad(lossOf)(params, x, labels.gather(indices));
  const moved = treeMap((p: Tensor, g: Tensor) => p.sub(g.mul(rate)), params, gradients);
  return { params: moved as Params<Tensor>, loss };
}

/** A parameter drawn from a normal distribution that keeps the variance of activations (He et al., 2015). */
function drawn(place: number, shape: number[], inputs: number): HostArray {
  const size = shape.reduce((a, b) => a * b);
  const values = keys.normal(keys.foldIn(keys.key(0), place), size);
  return new HostArray(values.map((value) => value * Math.sqrt(2 / inputs)), shape);
}

await using device = await devices.open(flags.device as devices.DeviceName);
console.log(device.choice);
using pixels = device.array(train.images, [train.count, 32, 32, 3]);
using labels = device.array(train.labels);
let params = device.put({
  conv1: drawn(0, [16, 3, 3, 3], 27),
  conv2: drawn(1, [32, 3, 3, 16], 144),
  weight: drawn(2, [32, classes.length], 32),
  bias: new HostArray(new Float32Array(classes.length)),
});

const compiled = jit(step, { device, donate: [0] });
for (let i = 0; i < steps; i++) {
  const indices = keys.permutation(keys.foldIn(keys.key(1), i), train.count).subarray(0, batch);
  const result = compiled(params, pixels, labels, indices);
  params = result.params; // the old ones were donated; the new ones have their memory
  using loss = result.loss;
  // A read waits for the device, so only every twentieth loss is.
  if (i % 20 === 0 || i === steps - 1) {
    console.log(`step ${i + 1}: loss ${(await loss.read())[0].toFixed(4)}`);
  }
}
disposeTree(params);
