/** Programs in which every value is an operand twice: as trees they have 2⁶⁴ leaves. */

import { assert, assertEquals } from "@std/assert";
import { at } from "../src/base/at.ts";
import { grad } from "../src/autograd/grad.ts";
import { referenceTarget } from "../src/backends/reference/target.ts";
import { compile } from "../src/compile/compile.ts";
import { Makers } from "../src/compile/makers.ts";
import type { Device } from "../src/runtime/arrays.ts";
import { jit } from "../src/runtime/jit.ts";
import { HostArray } from "../src/trace/host_array.ts";
import type { Tensor } from "../src/trace/tensor.ts";
import { testOn } from "./parity/fixture.ts";

const LINKS = 64;
const SIDE = 8;

function chain(x: Tensor, link: (x: Tensor) => Tensor): Tensor {
  for (let i = 0; i < LINKS; i++) x = link(x);
  return x;
}

const doubled = (x: Tensor) => x.add(x);
const turned = (x: Tensor) => x.maximum(x.transpose());
const squared = (x: Tensor) => x.mul(x).add(x).mul(0.25);

/** Runs `body`, which may look up the makers of values `most` times. */
function countingVisits<T>(body: () => T, most: number): T {
  const { find, get } = Makers.prototype;
  let visits = 0;
  const count = <A extends unknown[], R>(f: (this: Makers, ...args: A) => R) =>
    function (this: Makers, ...args: A): R {
      if (++visits > most) throw new Error(`more than ${most} visits`);
      return f.apply(this, args);
    };
  Makers.prototype.find = count(find);
  Makers.prototype.get = count(get);
  try {
    return body();
  } finally {
    Object.assign(Makers.prototype, { find, get });
  }
}

/** A network whose backward pass reads values of a long chain again. */
function chained(x: Tensor): Tensor[] {
  return [chain(x, squared), grad((x: Tensor) => chain(x, squared).mul(x).sum())(x)];
}

/** One whose backward pass reads products again, beside a chain of values that are never stored. */
function beside(x: Tensor): Tensor[] {
  const products = (x: Tensor) => {
    let h = x;
    for (let i = 0; i < 6; i++) h = h.matmul(x).mul(0.01).tanh();
    return h.sum();
  };
  return [chain(x.add(1), squared), grad(products)(x)];
}

for (const network of [chained, beside]) {
  Deno.test(`recomputation visits shared operands once for each value, not for each path: ${network.name}`, () => {
    const program = jit(network).program({ shape: [64, 64], dtype: "f32" });
    const { peakBytes } = compile(program, referenceTarget).memory;
    for (const recompute of [true, { limit: peakBytes / 2 }]) {
      // About 30 for each instruction; along paths, 3⁶⁴.
      const plan = countingVisits(
        () => compile(program, referenceTarget, { recompute, verify: true }),
        100 * program.instructions.length,
      );
      assert(plan.memory.peakBytes <= peakBytes);
    }
  });
}

async function check(device: Device): Promise<void> {
  for (const recompute of [false, true]) {
    const f = jit((x: Tensor) => ({
      doubled: chain(x, doubled),
      turned: chain(x, turned),
      gradients: [doubled, turned].map((link) => grad((x: Tensor) => chain(x, link).sum())(x)),
    }), { device, recompute });
    const x = Float32Array.from({ length: SIDE * SIDE }, (_, i) => (i * 37) % 61 - 30);
    const across = x.map((_, i) => at(x, (i % SIDE) * SIDE + Math.floor(i / SIDE)));
    const result = f(new HostArray(x, [SIDE, SIDE]));
    const [first, second] = result.gradients;
    assert(first !== undefined && second !== undefined);
    assertEquals(await result.doubled.read(), x.map((value) => value * 2 ** LINKS));
    assertEquals(await result.turned.read(), x.map((value, i) => Math.max(value, at(across, i))));
    assertEquals(await first.read(), x.map(() => 2 ** LINKS));
    // Of two different elements the larger has both gradients; on the diagonal, an element has its own.
    assertEquals(await second.read(), x.map((value, i) => 1 + Math.sign(value - at(across, i))));
    for (const array of [result.doubled, result.turned, first, second]) array.dispose();
    f.dispose();
  }
}

await testOn(
  ["reference", "cpu", "cpu-onednn", "webgpu", "cuda-simulated", "cuda"],
  (backend) => `${LINKS} links of shared operands, and their gradients, run on ${backend}`,
  check,
);
