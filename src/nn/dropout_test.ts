import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { noise, run } from "../../tests/run.ts";
import { LocalgradError } from "../base/errors.ts";
import { bits, key, split } from "../base/random.ts";
import { HostArray } from "../trace/host_array.ts";
import type { Tensor } from "../trace/tensor.ts";
import { dropout, stochasticDepth } from "./dropout.ts";
import { type Layer, layer, sequential, stateless } from "./layer.ts";

const keyOf = (seed: number) => new HostArray(key(seed), [2], "u32");

/** What a layer without parameters gives in training. */
function trained(layer: Layer, x: HostArray, seed: number): Float64Array {
  return run((x: Tensor, key: Tensor) => layer.apply({}, {}, x, "train", key).y, x, keyOf(seed))[""]!.data;
}

Deno.test("dropout() drops what its key says, and divides the rest by 1 − rate", () => {
  const x = noise("x", [4, 50]);
  const words = bits(key(3), 200);
  const y = trained(dropout({ rate: 0.3 }), x, 3);
  y.forEach((value, i) => {
    const dropped = (words[i]! >>> 8) * 2 ** -24 < 0.3;
    assertAlmostEquals(value, dropped ? 0 : x.data[i]! / 0.7, 1e-9);
  });
  const share = y.filter((value) => value === 0).length / 200;
  assert(Math.abs(share - 0.3) < 0.1, `${share}`);
  assertEquals([...trained(dropout({ rate: 0 }), x, 3)], [...x.data]);
});

Deno.test("dropout() changes nothing in evaluation, and needs a key in training", () => {
  const x = noise("x", [2, 5]);
  const apply = (mode: "train" | "evaluate") => (x: Tensor) => dropout().apply({}, {}, x, mode).y;
  assertEquals([...run(apply("evaluate"), x)[""]!.data], [...x.data]);
  assertThrows(() => run(apply("train"), x), LocalgradError, "dropout needs a random key in training");
  assertThrows(() => dropout({ rate: 1 }), LocalgradError, "rate must be at least 0 and below 1, not 1");
});

Deno.test("stochasticDepth() drops whole images of a layer's result", () => {
  const x = noise("x", [40, 3, 2]);
  const y = trained(stochasticDepth({ layer: stateless((x) => x.mul(3)), rate: 0.25 }), x, 5);
  let dropped = 0;
  for (let image = 0; image < 40; image++) {
    const [got, given] = [y, x.data].map((data) => [...data.subarray(6 * image, 6 * image + 6)]);
    if (got!.every((value) => value === 0)) dropped++;
    else got!.forEach((value, i) => assertAlmostEquals(value, given![i]! * 4, 1e-6));
  }
  assert(dropped > 2 && dropped < 20, `${dropped}`);
});

Deno.test("sequential() gives each random layer a key of its own, as split() on the host", () => {
  const keys: Tensor[] = [];
  const reading = layer({
    random: true,
    apply: (_params, state, x, _mode, key) => ({ y: (keys.push(key!), x), state }),
  });
  const net = sequential({ a: reading, b: stateless((x) => x), c: sequential({ d: reading, e: reading }) });
  assertEquals(net.random, true);
  assertEquals(sequential({ a: dropout({ rate: 0 }), b: stateless((x) => x) }).random, true);
  assertEquals(sequential({ b: stateless((x) => x) }).random, undefined);
  const words = run(
    (x: Tensor, key: Tensor) => {
      net.apply({}, {}, x, "train", key);
      return keys.splice(0);
    },
    noise("x", [1, 2]),
    keyOf(7),
  );
  const [first, second] = split(key(7));
  const inner = split(second!);
  const expected = [first!, ...inner].map((key) => [...key]);
  assertEquals(Object.values(words).map(({ data }) => [...data]), expected);
});
