import { assert, assertEquals, assertThrows } from "@std/assert";
import { tinyVit } from "../../tests/tiny.ts";
import { LocalgradError } from "../base/errors.ts";
import { type Model, network } from "../models/model.ts";
import type { Layers } from "../nn/layer.ts";
import { layerNorm } from "../nn/layer_norm.ts";
import { linear } from "../nn/linear.ts";
import { relu } from "../nn/activation.ts";
import { sizeOf } from "../trace/dtype.ts";
import { HostArray } from "../trace/host_array.ts";
import { namedLeaves, type NetworkValues, valuesOf } from "./network_values.ts";

/** A transformer with this head after its class token. */
function headed(classes: number, head: Layers): Model {
  const { head: { token }, ...rest } = tinyVit(classes);
  return { ...rest, head: { ...(token === undefined ? {} : { token }), ...head } };
}

/** A head as ViT, ConvNeXt and VGG have: layers that are the same for any number of classes, before the last. */
const usual = (classes: number, hidden = 8): Layers => ({
  "encoder.ln": layerNorm({ features: 6 }),
  "heads.0": linear({ in: 6, out: hidden }),
  "relu": relu(),
  "heads.head": linear({ in: hidden, out: classes }),
});

/** Values of a network. */
function valuesIn(model: Model): NetworkValues {
  const leaves = namedLeaves(network(model).params);
  return {
    name: "f",
    tensors: new Map(leaves.map(([name, { shape }]) => {
      return [name, new HostArray(new Float32Array(sizeOf(shape)), shape)];
    })),
  };
}

/** The names in the head that a network takes from the values of another, with a new head. */
const taken = (model: Model, values: NetworkValues): string[] =>
  [...valuesOf(model, values, { newHead: true }).keys()].filter((name) => /^(encoder|heads|fc)/.test(name));

Deno.test("a new head replaces the last layer, and keeps a normalisation and hidden layers before it", () => {
  assertEquals(taken(headed(5, usual(5)), valuesIn(headed(3, usual(3)))), [
    "encoder.ln.weight",
    "encoder.ln.bias",
    "heads.0.weight",
    "heads.0.bias",
  ]);
  const whole = valuesOf(headed(5, usual(5)), valuesIn(headed(5, usual(5))));
  assert(whole.has("heads.head.weight"));
});

Deno.test("a new head replaces layers that the values lack or have in another shape", () => {
  const norm = ["encoder.ln.weight", "encoder.ln.bias"];
  assertEquals(taken(headed(5, usual(5, 7)), valuesIn(headed(3, usual(3)))), norm);
  const { "heads.0": _, ...rest } = usual(3, 6);
  assertEquals(taken(headed(5, usual(5)), valuesIn(headed(3, rest))), norm);
  const values = valuesIn(headed(3, { fc: linear({ in: 6, out: 3 }) }));
  const other = { ...headed(5, { heads: linear({ in: 6, out: 5 }) }) };
  assertThrows(
    () => taken(other, values),
    LocalgradError,
    "f has fc.weight and 1 more, which tinyVit has no",
  );
});
