/** Layers and their gradients, compared with PyTorch on every backend; see ../fixtures/README.md. */

import { assert, assertEquals } from "@std/assert";
import { vjp } from "../../src/autograd/grad.ts";
import { bits } from "../../src/base/random.ts";
import * as nn from "../../src/nn.ts";
import { type DeviceArray, disposeTree } from "../../src/runtime/arrays.ts";
import { jit } from "../../src/runtime/jit.ts";
import { HostArray } from "../../src/trace/host_array.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { units } from "../fixtures/formula.ts";
import { assertClose, load, testOn, type Whole } from "./fixture.ts";

// deno-lint-ignore no-explicit-any -- each layer has options of its own
type Attributes = any;

interface Case {
  readonly name: string;
  readonly op: string;
  readonly attributes: Attributes;
  readonly inputs: { readonly [name: string]: { shape: number[]; scale: number; offset: number } };
  readonly outputs: { readonly [name: string]: Whole };
}

type Inputs = { [name: string]: Tensor };

const { cases } = load<{ cases: Case[] }>("layers");

/** The layer of a case. */
const layers: { readonly [op: string]: (attributes: Attributes, c: Case) => nn.Layer } = {
  layerNorm: nn.layerNorm,
  groupNorm: nn.groupNorm,
  gelu: () => nn.gelu(),
  geluTanh: () => nn.gelu({ approximate: "tanh" }),
  silu: () => nn.silu(),
  relu6: () => nn.relu6(),
  linear: nn.linear,
  embedding: ({ vocabulary, width }) => nn.embedding({ vocabulary, width }),
  attention: ({ chunk, ...rest }) => nn.multiHeadAttention({ ...rest, ...(chunk === null ? {} : { chunk }) }),
  convTranspose({ stride = 1, output_padding: outputPadding = 0, ...rest }, { inputs }) {
    const [inputChannels, height, width, depth] = inputs["weight"]!.shape;
    return nn.convTranspose({
      in: inputChannels!,
      out: depth! * (rest.groups ?? 1),
      window: [height!, width!],
      strides: stride,
      outputPadding,
      ...rest,
    });
  },
  squeezeExcitation: nn.squeezeExcitation,
};

/** y and the gradients of sum(y · g), by input. */
function differentiated(c: Case, inputs: Inputs, tokens: Tensor, g: Tensor): Inputs {
  const layer = layers[c.op]!(c.attributes, c);
  const f = ({ x, ...own }: Inputs) => {
    const renamed = Object.entries(own).map(([key, value]) =>
      nn.nest(key.replace("out_", "out_proj."), value)
    );
    const input = x ?? tokens.reshape(...c.attributes.shape);
    return layer.apply(nn.merge(...renamed), {}, input, "train").y;
  };
  const [y, pullback] = vjp(f, inputs);
  const [gradients] = pullback(g.reshape(...y.shape));
  return {
    y,
    ...Object.fromEntries(Object.entries(gradients).map(([key, value]) => [`d${key}`, value])),
  };
}

/** Cases that are also run by oneDNN, which has products and convolutions, and by a simulated card, whose kernels take long. */
const more: { readonly [name: string]: readonly string[] } = {
  "layerNorm.tokens": ["cuda-simulated"],
  "attention.causal": ["cpu-onednn", "cuda-simulated"],
  "convTranspose.lopsided": ["cpu-onednn"],
  "linear.tokens": ["cpu-onednn"],
};

for (const c of cases) {
  await testOn(
    ["reference", "cpu", "webgpu", "cuda", ...more[c.name] ?? []],
    (backend) => `${c.name} on ${backend} equals PyTorch's`,
    async (device) => {
      const inputs = Object.fromEntries(
        Object.entries(c.inputs).map(([key, { shape, scale, offset }]) => {
          const count = shape.reduce((a, b) => a * b, 1);
          return [key, new HostArray(units(`${c.name}.${key}`, count, scale, offset), shape)];
        }),
      );
      const { shape } = c.outputs["y"]!;
      const g = new HostArray(units(`${c.name}.g`, shape.reduce((a, b) => a * b, 1)), shape);
      const f = jit((inputs: Inputs, tokens: Tensor, g: Tensor) => differentiated(c, inputs, tokens, g), {
        device,
        name: c.name,
      });
      const results: { [name: string]: DeviceArray } = f(
        inputs,
        Int32Array.from(c.attributes.tokens ?? [0]),
        g,
      );
      // At a mean of 10,000 float32 has three digits of a deviation of 1.
      const tolerance = c.name.endsWith("far-from-zero") && device.name !== "reference" ? 2e-3 : 1e-5;
      for (const [key, expected] of Object.entries(c.outputs)) {
        assert(results[key] !== undefined, `${c.name} gives no ${key}`);
        assertClose(await results[key].read(), expected, tolerance, `${c.name}: ${key}`);
      }
      disposeTree(results);
      f.dispose();
    },
  );
}

await testOn(
  ["cpu", "webgpu", "cuda"],
  (backend) => `dropout on ${backend} drops what the key says`,
  async (device) => {
    const count = 300, key = Uint32Array.of(1, 2);
    const layer = nn.dropout({ rate: 0.7 });
    const train = jit((x: Tensor, key: Tensor) => layer.apply({}, {}, x, "train", key).y, { device });
    using y = train(new HostArray(new Float32Array(count).fill(1), [3, 100]), key);
    const dropped = Array.from(bits(key, count), (word) => (word >>> 8) * 2 ** -24 < 0.7);
    assertEquals([...await y.read()].map((value) => value === 0), dropped);
    train.dispose();
  },
);
