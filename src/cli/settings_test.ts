import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { publishedSgd } from "../optim/published.ts";
import { scheduleOf, setupOf } from "./build.ts";
import { optimizerNames } from "./flags/optimizer.ts";
import { settingsFrom } from "./settings.ts";
import { saveEveryFrom } from "./flags/save_every.ts";

Deno.test("saveEveryFrom() accepts steps and minutes, and nothing else", () => {
  assertEquals(saveEveryFrom("500"), { steps: 500 });
  assertEquals(saveEveryFrom("10m"), { minutes: 10 });
  assertEquals(saveEveryFrom("0.5m"), { minutes: 0.5 });
  for (const text of ["", "m", "0", "0m", "1.5", "-3", "10s", "10 m", "1e3", ".", ".m"]) {
    assertThrows(() => saveEveryFrom(text), LocalgradError, "--save-every must be");
  }
});

Deno.test("flags make the optimizer: what they say, and the defaults for the rest", () => {
  const optimizer = (flags: Parameters<typeof settingsFrom>[0]) => {
    const { optimizer: { name, options }, ...rest } = setupOf(settingsFrom(flags));
    return { ...rest, made: { name, ...options } };
  };
  assertEquals(optimizer({}).made, { name: "sgd", ...publishedSgd, dampening: 0 } as never);
  assertEquals(optimizer({ "sgd-momentum": "0", "weight-decay": "0.1" }).made, {
    ...{ name: "sgd", momentum: 0, nesterov: false, weightDecay: 0.1, dampening: 0 },
  });
  assertEquals(optimizer({ optimizer: "lion", "weight-decay": "0.3" }).made, {
    ...{ name: "lion", beta1: 0.9, beta2: 0.99, weightDecay: 0.3 },
  });
  const all = optimizer({
    ...{ optimizer: "adamw", decay: "matrices", clip: "2", freeze: "conv1, bn1" },
    ...{ "weight-average": "equal", accumulate: "4" },
  });
  assertEquals([all.average, all.accumulate], [{}, 4]);
  const adamw = { name: "adamw", beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 };
  const clipped = { name: "clipped", norm: 2, inner: { name: "decayed", decayed: "isMatrix", inner: adamw } };
  assertEquals(all.made, { name: "freeze", frozen: ["conv1", "bn1"], inner: clipped });
  for (const name of optimizerNames) {
    const { lr } = settingsFrom({ optimizer: name, batch: "64" });
    assertEquals(lr, { sgd: 0.05, adamw: 1e-3, lamb: 5e-3, lion: 1e-4, muon: 1e-3 }[name]);
    assertEquals(optimizer({ optimizer: name }).made.name, name);
  }
});

Deno.test("--lr-schedule and --warmup shape the learning rate by step", () => {
  const rates = (flags: Parameters<typeof settingsFrom>[0], steps: readonly number[]) => {
    const schedule = scheduleOf(settingsFrom({ lr: "1", epochs: "8", ...flags }));
    return steps.map((step) =>
      Number(schedule(Math.floor(step / 10), { step, stepsPerEpoch: 10 }).toPrecision(12))
    );
  };
  assertEquals(rates({ "lr-schedule": "constant" }, [0, 79, 200]), [1, 1, 1]);
  assertEquals(rates({ "lr-schedule": "steps" }, [0, 39, 40, 60, 200]), [1, 1, 0.1, 0.01, 0.01]);
  assertEquals(rates({ "lr-schedule": "cosine" }, [0, 40, 80, 200]), [1, 0.5, 0, 0]);
  assertEquals(rates({ "lr-schedule": "one-cycle" }, [0, 24, 80]), [0.04, 1, 4e-6]);
  assertEquals(rates({ "lr-schedule": "constant", warmup: "20s" }, [0, 10, 20]), [0.01, 0.505, 1]);
  assertEquals(rates({ "lr-schedule": "constant", warmup: "4" }, [0, 20, 40]), [0.01, 0.505, 1]);
  // With the published schedule, --warmup takes the place of its own.
  const [first, , third] = rates({ warmup: "2" }, [0, 10, 20]);
  const published = (epoch: number) => (1 + Math.cos(Math.PI * epoch / 9)) / 2;
  assertAlmostEquals(first, 0.01 * published(1), 1e-12);
  assertAlmostEquals(third, published(3), 1e-12);
  assertEquals(rates({ "lr-schedule": "cosine", "schedule-epochs": "16" }, [80]), [0.5]);
});

Deno.test("a schedule with its own length is kept when a run becomes longer", () => {
  const rates = (epochs: string, schedule?: string, count = Number(epochs)) => {
    const own = schedule === undefined ? {} : { "schedule-epochs": schedule };
    const rate = scheduleOf(settingsFrom({ lr: "0.1", epochs, ...own }));
    return Array.from({ length: count }, (_, epoch) => rate(epoch, { step: epoch, stepsPerEpoch: 1 }));
  };
  const four = rates("4");
  assertEquals(rates("8", "4"), [...four, ...[4, 5, 6, 7].map(() => four[3])]);
  assertEquals(rates("4", "8"), rates("8").slice(0, 4)); // a part of a longer run
  assertAlmostEquals(four[3], 0.1 * (1 + Math.cos(Math.PI * 4 / 5)) / 2, 1e-12);
  assert(rates("8")[4] > 3 * four[3]); // what --epochs alone does
  // A long schedule ends at 0, where nothing more would be learned.
  const [end, ...after] = rates("44", "40").slice(39);
  assertEquals(end, 0);
  assert(after.every((rate) => rate === rates("40")[38] && rate > 0));
});
