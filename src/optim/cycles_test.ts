import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { cosine, cosineRestarts, everyStep, inSteps, oneCycle, warmup } from "./cycles.ts";
import { constant, steps } from "./schedules.ts";

const at = (step: number, stepsPerEpoch = 4) => ({ step, stepsPerEpoch });

/** Rates of PyTorch 2.15's schedulers by step, made with a learning rate of 0.4. */
const pytorch = {
  // CosineAnnealingLR(T_max=6, eta_min=0.1)
  cosine: [0.4, 0.3799038106, 0.325, 0.25, 0.175, 0.1200961894, 0.1],
  // CosineAnnealingWarmRestarts(T_0=3, T_mult=2, eta_min=0.1)
  restarts: [
    0.4,
    0.325,
    0.175,
    0.4,
    0.3799038106,
    0.325,
    0.25,
    0.175,
    0.1200961894,
    0.4,
    0.3948888739,
    0.3799038106,
  ],
  // OneCycleLR(max_lr=0.4, total_steps=11): rises until step 0.3 · 11 − 1, falls until step 10
  oneCycle: [
    0.016,
    0.1689364455,
    0.3841045699,
    0.3918986271,
    0.3537902899,
    0.2904348197,
    0.2122330832,
    0.1320232116,
    0.0629730051,
    0.0164182173,
    1.6e-06,
  ],
};

Deno.test("cosine(), cosineRestarts() and oneCycle() have PyTorch's rates, and go on after their end", () => {
  const check = (curve: (time: number) => number, expected: readonly number[]) =>
    expected.forEach((rate, step) => assertAlmostEquals(curve(step), rate, 1e-9));
  check(cosine({ base: 0.4, length: 6, minimum: 0.1 }), pytorch.cosine);
  check(cosineRestarts({ base: 0.4, first: 3, factor: 2, minimum: 0.1 }), pytorch.restarts);
  check(oneCycle({ peak: 0.4, length: 10, rise: 0.23 }), pytorch.oneCycle);
  assertEquals([6, 7, 1e6].map(cosine({ base: 0.4, length: 6, minimum: 0.1 })), [0.1, 0.1, 0.1]);
  const cycle = oneCycle({ peak: 0.4, length: 10 });
  assertEquals(cycle(1e6), cycle(10));
  const restarts = cosineRestarts({ base: 1, first: 3 });
  assertEquals([0, 3, 3e6].map(restarts), [1, 1, 1]);
});

Deno.test("everyStep() and inSteps() decide what a curve counts", () => {
  const falling = (time: number) => 10 - time;
  assertEquals([0, 1, 4, 6].map((step) => everyStep(falling)(Math.floor(step / 4), at(step))), [
    10,
    9.75,
    9,
    8.5,
  ]);
  assertEquals(everyStep(falling)(0, at(7, Infinity)), 10); // outside of a run
  assertEquals([0, 1, 6].map((step) => inSteps(falling)(Math.floor(step / 4), at(step))), [10, 9, 4]);
});

Deno.test("warmup() leads to any schedule, by steps or by epochs", () => {
  const bySteps = warmup(constant(2), { steps: 4 }, 0);
  assertEquals([0, 1, 3, 4, 9].map((step) => bySteps(0, at(step))), [0, 0.5, 1.5, 2, 2]);
  const byEpochs = warmup(steps({ base: 1, at: [1], factor: 0.5 }), { epochs: 2 }, 0.5);
  assertEquals([0, 2, 4, 8].map((step) => byEpochs(Math.floor(step / 4), at(step))), [
    0.5,
    0.625,
    0.375,
    0.5,
  ]);
  assertEquals(warmup(constant(2), { steps: 0 })(0, at(0)), 2);
});

Deno.test("schedules refuse impossible settings", () => {
  assertThrows(() => cosine({ base: 1, length: 0 }), LocalgradError, "the length");
  assertThrows(() => cosineRestarts({ base: 1, first: 2, factor: 0.5 }), LocalgradError, "factor");
  assertThrows(() => oneCycle({ peak: 1, length: 2, rise: 1 }), LocalgradError, "rise");
  assertThrows(() => oneCycle({ peak: 1, length: 2, total: 2 } as never), LocalgradError, '"total"');
  assertThrows(() => warmup(constant(1), {} as never), LocalgradError, "in epochs or in steps");
  assertThrows(() => warmup(constant(1), { epochs: 1, steps: 1 }), LocalgradError, "in epochs or in steps");
  assertThrows(() => everyStep(0.1 as never), LocalgradError, "a function");
});
