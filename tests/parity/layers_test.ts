/** Layers and their gradients, compared with PyTorch on every backend; see ../fixtures/README.md. */

import { assert } from "@std/assert";
import { vjp } from "../../src/autograd/grad.ts";
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

for (const c of cases) {
  await testOn(
    ["reference", "cpu", "cpu-onednn", "webgpu", "cuda-simulated", "cuda"],
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
