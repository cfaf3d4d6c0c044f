/** Functions of bf16 tensors compute in f32 and round once, also along long axes, where sums in bf16 would stand still. */

import { assert, assertEquals } from "@std/assert";
import { vjp } from "../src/autograd/grad.ts";
import { at } from "../src/base/at.ts";
import type { Device } from "../src/runtime/arrays.ts";
import { jit } from "../src/runtime/jit.ts";
import { gelu, logSoftmax, logSumExp, silu, softmax } from "../src/trace/activations.ts";
import { fromBf16, toBf16 } from "../src/trace/bf16.ts";
import type { HostData } from "../src/trace/dtype.ts";
import { HostArray } from "../src/trace/host_array.ts";
import { cumsum } from "../src/trace/scan.ts";
import { norm, std, variance } from "../src/trace/statistics.ts";
import type { Tensor } from "../src/trace/tensor.ts";
import { units } from "./fixtures/formula.ts";
import { testOn } from "./parity/fixture.ts";

const LENGTH = 5000;
const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

/** Sums of the elements up to each, in float64. */
function sums(values: readonly number[]): number[] {
  let total = 0;
  return values.map((value) => total += value);
}

/** The error function: its series, in float64. */
function erf(x: number): number {
  let [term, total] = [x, x];
  for (let n = 1; n < 200; n++) {
    term *= -x * x / n;
    total += term / (2 * n + 1);
  }
  return 2 / Math.sqrt(Math.PI) * total;
}

/** The results in float64, and the gradients of their sum weighted by `w`. */
interface Expected {
  readonly y: readonly number[];
  readonly dx: readonly number[];
}

function expectedSoftmax(x: readonly number[], w: readonly number[]): Expected {
  const powers = x.map(Math.exp);
  const total = sum(powers);
  const y = powers.map((power) => power / total);
  const mean = sum(y.map((share, i) => share * at(w, i)));
  return { y, dx: y.map((share, i) => share * (at(w, i) - mean)) };
}

type Function = readonly [(x: Tensor) => Tensor, (x: readonly number[], w: readonly number[]) => Expected];

const functions: { readonly [name: string]: Function } = {
  softmax: [(x) => softmax(x), expectedSoftmax],
  logSoftmax: [(x) => logSoftmax(x), (x, w) => {
    const { y } = expectedSoftmax(x, w);
    const total = sum(w);
    return { y: y.map(Math.log), dx: y.map((share, i) => at(w, i) - share * total) };
  }],
  logSumExp: [(x) => logSumExp(x), (x, [w = 0]) => ({
    y: [Math.log(sum(x.map(Math.exp)))],
    dx: expectedSoftmax(x, x).y.map((share) => share * w),
  })],
  gelu: [(x) => gelu(x), (x, w) => {
    const share = (value: number) => (1 + erf(value / Math.SQRT2)) / 2;
    const density = (value: number) => Math.exp(-value * value / 2) / Math.sqrt(2 * Math.PI);
    return {
      y: x.map((value) => value * share(value)),
      dx: x.map((value, i) => at(w, i) * (share(value) + value * density(value))),
    };
  }],
  silu: [silu, (x, w) => {
    const share = (value: number) => 1 / (1 + Math.exp(-value));
    return {
      y: x.map((value) => value * share(value)),
      dx: x.map((value, i) => at(w, i) * share(value) * (1 + value * (1 - share(value)))),
    };
  }],
  cumsum: [(x) => cumsum(x), (x, w) => ({ y: sums(x), dx: sums(w.toReversed()).reverse() })],
  variance: [(x) => variance(x), (x, [w = 0]) => {
    const mean = sum(x) / x.length;
    const apart = x.map((value) => value - mean);
    return {
      y: [sum(apart.map((value) => value * value)) / x.length],
      dx: apart.map((value) => 2 * w * value / x.length),
    };
  }],
  std: [(x) => std(x), (x, [w = 0]) => {
    const mean = sum(x) / x.length;
    const apart = x.map((value) => value - mean);
    const y = Math.sqrt(sum(apart.map((value) => value * value)) / x.length);
    return { y: [y], dx: apart.map((value) => w * value / x.length / y) };
  }],
  norm: [(x) => norm(x), (x, [w = 0]) => {
    const y = Math.sqrt(sum(x.map((value) => value * value)));
    return { y: [y], dx: x.map((value) => w * value / y) };
  }],
};

/** Fails unless each element is bf16 and rounded once: half a unit off, and a little, as f32 is. */
function assertRounded(actual: HostData, expected: readonly number[], what: string): void {
  if (!(actual instanceof Uint16Array)) throw new Error(`${what} is not bf16`);
  assertEquals(actual.length, expected.length);
  const most = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  fromBf16(actual).forEach((value, i) => {
    const wanted = at(expected, i);
    const off = Math.abs(value - wanted);
    assert(off <= Math.abs(wanted) * 2 ** -8 + most * 1e-5, `${what}[${i}] is ${value}, not ${wanted}`);
  });
}

async function check(device: Device): Promise<void> {
  const x = toBf16(units("x", LENGTH, 2, 1));
  const wide = [...fromBf16(x)];
  // Of weights with one sign the gradient of cumsum would stand still in bf16 too.
  const w = toBf16(units("w", LENGTH, 0.25, 0.5));
  const wideW = [...fromBf16(w)];
  const f = jit((x: Tensor, w: Tensor) =>
    Object.values(functions).map(([f]) => {
      const [y, pullback] = vjp(f, x);
      const [dx] = pullback(y.shape.length === 0 ? w.slice([0], [1]).reshape() : w);
      return { y, dx };
    }), { device });
  const results = f(new HostArray(x, [LENGTH]), new HostArray(w, [LENGTH]));
  for (const [k, [name, [, expected]]] of Object.entries(functions).entries()) {
    const { y, dx } = at(results, k);
    const wanted = expected(wide, wideW);
    assertRounded(await y.read(), wanted.y, name);
    assertRounded(await dx.read(), wanted.dx, `the gradient of ${name}`);
    y.dispose();
    dx.dispose();
  }
  f.dispose();
}

await testOn(
  ["reference", "cpu-bf16", "cuda-simulated", "cuda"],
  (backend) => `functions of bf16 along ${LENGTH} elements are rounded once on ${backend}`,
  check,
);
