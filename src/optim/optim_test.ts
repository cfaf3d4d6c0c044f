import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { host, noise, run } from "../../tests/run.ts";
import { LocalgradError } from "../base/errors.ts";
import type { HostArray } from "../trace/host_array.ts";
import type { Tensor } from "../trace/tensor.ts";
import { treePaths } from "../trace/tree.ts";
import { adamw, type AdamWOptions } from "./adamw.ts";
import { type Optimizer, type Slots, zeroSlots } from "./optimizer.ts";
import { constant, steps, warmupCosine } from "./schedules.ts";
import { sgd, type SgdOptions } from "./sgd.ts";

const shape = [2, 3];
const gradientOf = (step: number) => noise(`gradient ${step}`, shape);

/** Four steps with rates 0.1, 0.2, …; returns the parameter after each. */
function train(optimizer: Optimizer): Float64Array[] {
  let params: unknown = { a: { w: noise("w", shape) } };
  let slots: unknown = zeroSlots(optimizer, params as never);
  return [0, 1, 2, 3].map((step) => {
    const gradients = { a: { w: gradientOf(step) } };
    const scalars = optimizer.scalars(step, 0.1 * (step + 1));
    const after = run(
      (p: Tensor, g: Tensor, s: Slots<Tensor>, k: never) => optimizer.update(p, g, s, k),
      params,
      gradients,
      slots,
      scalars,
    );
    const back = (path: string) => ({ a: { w: host([...after[path].data], shape) } });
    params = back("params.a.w");
    slots = Object.fromEntries(
      Object.keys(after).filter((path) => path.startsWith("slots.")).map((path) => [
        path.split(".")[1],
        back(path),
      ]),
    );
    return after["params.a.w"].data;
  });
}

/** PyTorch's SGD, one number at a time. */
function expectedSgd(options: SgdOptions): number[][] {
  const { momentum = 0, nesterov = false, weightDecay = 0, dampening = 0 } = options;
  const p: number[] = [...noise("w", shape).data];
  const buffers: (number | undefined)[] = p.map(() => undefined);
  return [0, 1, 2, 3].map((step) => {
    gradientOf(step).data.forEach((gradient, i) => {
      let d = gradient + weightDecay * p[i];
      if (momentum !== 0) {
        const old = buffers[i];
        const v = old === undefined ? d : momentum * old + (1 - dampening) * d;
        buffers[i] = v;
        d = nesterov ? d + momentum * v : v;
      }
      p[i] -= 0.1 * (step + 1) * d;
    });
    return [...p];
  });
}

for (
  const options of [
    {},
    { weightDecay: 0.1 },
    { momentum: 0.9 },
    { momentum: 0.5, weightDecay: 0.2, nesterov: true },
    { momentum: 0.9, dampening: 0.3, weightDecay: 0.01 },
  ] satisfies SgdOptions[]
) {
  Deno.test(`sgd(${JSON.stringify(options)}) steps as PyTorch's SGD`, () => {
    const expected = expectedSgd(options);
    train(sgd(options)).forEach((params, step) =>
      params.forEach((value, i) => assertAlmostEquals(value, expected[step][i], 1e-6))
    );
  });
}

for (const options of [{}, { betas: [0.5, 0.9], epsilon: 0.1, weightDecay: 0.3 }] satisfies AdamWOptions[]) {
  Deno.test(`adamw(${JSON.stringify(options)}) steps as PyTorch's AdamW`, () => {
    const { betas: [beta1, beta2] = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0.01 } =
      options as AdamWOptions;
    const p: number[] = [...noise("w", shape).data];
    const [m, v] = [p.map(() => 0), p.map(() => 0)];
    train(adamw(options)).forEach((params, step) => {
      const rate = 0.1 * (step + 1);
      gradientOf(step).data.forEach((gradient, i) => {
        p[i] *= 1 - rate * weightDecay;
        m[i] = beta1 * m[i] + (1 - beta1) * gradient;
        v[i] = beta2 * v[i] + (1 - beta2) * gradient ** 2;
        const [mHat, vHat] = [m[i] / (1 - beta1 ** (step + 1)), v[i] / (1 - beta2 ** (step + 1))];
        p[i] -= rate * mHat / (Math.sqrt(vHat) + epsilon);
        assertAlmostEquals(params[i], p[i], 1e-5);
      });
    });
  });
}

Deno.test("zeroSlots() returns trees like the parameters', and none for an optimizer without slots", () => {
  const params = { a: { w: host([1, 2]) }, b: [host(3)] };
  assertEquals(zeroSlots(sgd(), params), {});
  const slots = zeroSlots(adamw(), params);
  assertEquals(treePaths(slots), ["mean.a.w", "mean.b.0", "square.a.w", "square.b.0"]);
  assert((slots["mean"] as { a: { w: HostArray } }).a.w.data.every((value) => value === 0));
});

Deno.test("optimizers refuse impossible settings", () => {
  assertThrows(() => sgd({ nesterov: true }), LocalgradError, "nesterov");
  assertThrows(() => sgd({ nesterov: true, momentum: 0.9, dampening: 0.1 }), LocalgradError, "dampening");
  assertThrows(() => sgd({ momentum: 1 }), LocalgradError, "momentum");
  assertThrows(() => sgd({ weightDecay: -1 }), LocalgradError, "weight decay");
  assertThrows(() => sgd({ weightDecay: NaN }), LocalgradError, "weight decay");
  assertThrows(() => adamw({ betas: [0.9, 1] }), LocalgradError, "second beta");
});

Deno.test("update() refuses slots and scalars that lack what it needs", () => {
  const update = (optimizer: Optimizer, scalars: { readonly [name: string]: number }) => () =>
    run((p: Tensor) => optimizer.update(p, p, {}, scalars).params, host([1]));
  const momentum = sgd({ momentum: 0.9 });
  assertThrows(update(momentum, momentum.scalars(0, 0.1)), LocalgradError, "sgd: update() needs momentum;");
  assertThrows(update(sgd(), {}), LocalgradError, "sgd: update() needs learningRate;");
  assertThrows(update(adamw(), adamw().scalars(0, 0.1)), LocalgradError, "adamw: update() needs mean;");
});

Deno.test("warmupCosine() equals the published schedule in every epoch", () => {
  const [base, epochs] = [0.8, 400];
  const schedule = warmupCosine({ base, epochs });
  for (let e = 1; e <= epochs; e++) {
    const cosine = 0.5 * base * (1 + Math.cos(Math.PI * e / epochs));
    const expected = e <= 10 ? cosine * (e - 1) / 10 + 0.01 * (11 - e) / 10 : cosine;
    assertAlmostEquals(schedule(e - 1), expected, 1e-12);
  }
  assertEquals(schedule(0), 0.01);
  assertEquals(schedule(399), 0);
});

Deno.test("warmupCosine() without a warm-up, or with one as long as the run, stays in range", () => {
  assertEquals(warmupCosine({ base: 1, warmup: 0, epochs: 2 })(0), 0.5);
  const short = warmupCosine({ base: 0.5, warmup: 3, epochs: 3 });
  for (const epoch of [0, 1, 2]) assert(short(epoch) > 0 && short(epoch) <= 0.5);
  assertThrows(() => warmupCosine({ base: 1, epochs: 0 }), LocalgradError, "epochs");
  assertThrows(() => warmupCosine({ base: 1, epochs: 3, warmup: 1.5 }), LocalgradError, "warmup");
  assertThrows(() => warmupCosine({ base: -1, epochs: 3 }), LocalgradError, "base");
});

Deno.test("steps() drops at the start of each given epoch, constant() never", () => {
  const schedule = steps({ base: 1, at: [2, 4], factor: 0.5 });
  assertEquals([0, 1, 2, 3, 4, 5].map(schedule), [1, 1, 0.5, 0.5, 0.25, 0.25]);
  assertEquals([0, 7].map(constant(0.3)), [0.3, 0.3]);
  assertThrows(() => constant(-0.1), LocalgradError, "learning rate");
});
