import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { host, run, runRounded } from "../../tests/run.ts";
import { LocalgradError } from "../base/errors.ts";
import type { Tensor } from "../trace/tensor.ts";
import { treePaths } from "../trace/tree.ts";
import { adamw } from "./adamw.ts";
import { grouped } from "./grouped.ts";
import { hiddenMatrix, muon } from "./muon.ts";
import { type Optimizer, zeroSlots } from "./optimizer.ts";
import { decayed, freeze } from "./selection.ts";
import { sgd } from "./sgd.ts";
import { clipped, scaled } from "./transforms.ts";

type Params = { [name: string]: { [name: string]: Tensor } };

const params = {
  bn: { weight: host([1, 2]) },
  conv: { bias: host([3]), weight: host([4, 5, 6, 7], [2, 2]) },
  fc: { weight: host([8, 9], [1, 2]) },
};
const ones = {
  bn: { weight: host([1, 1]) },
  conv: { bias: host([1]), weight: host([1, 1, 1, 1], [2, 2]) },
  fc: { weight: host([1, 1], [1, 2]) },
};

/** The result of a first step, by path. */
function step(optimizer: Optimizer, gradients: unknown = ones, rate = 0.1, evaluate = run) {
  const after = evaluate(
    (p: Params, g: Params, s: never, k: never) => optimizer.update(p, g, s, k),
    params,
    gradients,
    zeroSlots(optimizer, params),
    optimizer.scalars(0, rate),
  );
  return (path: string) => [...after[path]?.data ?? []];
}

Deno.test("grouped() updates each parameter with its group's rule; slots keep the order of parameters", () => {
  const rule = ({ path, shape }: { path: string; shape: readonly number[] }) =>
    path.startsWith("fc.") ? "adam" as const : shape.length === 1 ? "slow" as const : "rest" as const;
  const optimizer = grouped(rule, {
    rest: sgd({ momentum: 0.5 }),
    slow: scaled(sgd({ momentum: 0.9 }), 0.1),
    adam: adamw(),
  });
  assertEquals(treePaths(zeroSlots(optimizer, params)), [
    ...["momentum.bn.weight", "momentum.conv.bias", "momentum.conv.weight"],
    ...["mean.fc.weight", "square.fc.weight"],
  ]);
  const after = step(optimizer);
  const close = (path: string, expected: number[]) =>
    after(path).forEach((value, i) => assertAlmostEquals(value, expected[i], 1e-6));
  close("params.conv.weight", [3.9, 4.9, 5.9, 6.9]);
  close("params.bn.weight", [0.99, 1.99]);
  close("params.conv.bias", [2.99]);
  close("params.fc.weight", [8 * 0.999 - 0.1, 9 * 0.999 - 0.1]);
  close("slots.momentum.bn.weight", [1, 1]);
  assertEquals(optimizer.kindOf?.({ path: "fc.weight", shape: [1, 2] }), "adam ");
  assertThrows(
    () => zeroSlots(grouped(() => "b" as "a", { a: sgd() }), params),
    LocalgradError,
    'puts bn.weight into "b"; the groups are a',
  );
});

Deno.test("freeze() keeps parameters, decayed() spares vectors, muon() leaves classifiers and vectors to others", () => {
  const frozen = step(freeze(sgd({ momentum: 0.9 }), ["conv", "bn.weight"]));
  assertEquals(frozen("params.conv.weight"), [4, 5, 6, 7]);
  assertEquals(frozen("params.bn.weight"), [1, 2]);
  assertAlmostEquals(frozen("params.fc.weight")[0], 7.9, 1e-6);
  assertEquals(frozen("slots.momentum.conv.weight"), []);
  assertEquals(treePaths(zeroSlots(freeze(adamw(), () => true), params)), []);

  const decay = step(decayed((weightDecay) => sgd({ weightDecay }), 0.5));
  assertAlmostEquals(decay("params.conv.weight")[0], 4 - 0.1 * (1 + 2), 1e-6);
  assertAlmostEquals(decay("params.bn.weight")[0], 0.9, 1e-6);

  assertEquals(treePaths(zeroSlots(muon(), params)), [
    ...["momentum.conv.weight", "mean.bn.weight", "mean.conv.bias", "mean.fc.weight"],
    ...["square.bn.weight", "square.conv.bias", "square.fc.weight"],
  ]);
  const own = muon({ matrices: (parameter) => parameter.shape.length === 2, others: sgd() });
  assertEquals(treePaths(zeroSlots(own, params)), ["momentum.conv.weight", "momentum.fc.weight"]);
  assert(!hiddenMatrix({ path: "fc.weight", shape: [2, 2] }));
  for (const path of ["heads.head.weight", "classifier.weight", "classifier.6.weight"]) {
    assert(!hiddenMatrix({ path, shape: [2, 2] }), path);
  }
  assert(hiddenMatrix({ path: "local.0.classifier.hidden.0.linear.weight", shape: [2, 2] }));
  assert(!hiddenMatrix({ path: "encoder.pos_embedding", shape: [1, 5, 2] }));
  assertThrows(() => muon({ scale: "rms" as never }), LocalgradError, "matchRmsAdamW or original");
});

Deno.test("clipped() by norm scales all gradients alike, and tells those that are not finite", () => {
  const each = (value: number) => ({
    bn: { weight: host([value, value]) },
    conv: { bias: host([value]), weight: host([value, value, value, value], [2, 2]) },
    fc: { weight: host([value, value], [1, 2]) },
  });
  const clip = clipped(sgd(), { norm: 3 });
  // Norm 3 in nine elements is 1 each; squares of 1e20 overflow in f32, those of 1e-25 vanish.
  for (const [value, moved] of [[2, 1], [1e20, 1], [3e37, 1], [0.5, 0.5], [1e-25, 1e-25], [0, 0]]) {
    const after = step(clip, each(value), 1, runRounded);
    assertAlmostEquals(after("params.bn.weight")[0], 1 - moved, 1e-6);
    assertAlmostEquals(after("norm")[0] / (3 * value || 1), value === 0 ? 0 : 1, 1e-6);
  }
  for (const wrong of [Infinity, -Infinity, NaN]) {
    const after = step(clip, { ...each(1), conv: { ...each(1).conv, bias: host([wrong]) } }, 1, runRounded);
    assert(after("params.bn.weight").concat(after("params.fc.weight"), after("norm")).every(Number.isNaN));
  }
  // The group's own norm: two elements of 2.
  const inner = step(
    grouped(({ path }) => path.startsWith("fc") ? "a" : "b", {
      a: clipped(sgd(), { norm: Math.SQRT2 }),
      b: sgd(),
    }),
    each(2),
    1,
  );
  assertAlmostEquals(inner("params.fc.weight")[0], 7, 1e-6);
  assertAlmostEquals(inner("params.bn.weight")[0], -1, 1e-6);
  assertAlmostEquals(inner("norm")[0], 2 * Math.SQRT2, 1e-6);
});

Deno.test("clipped() by value limits elements, but not those that are not finite", () => {
  const gradients = { ...ones, conv: { bias: host([-Infinity]), weight: host([-9, 9, 0.5, NaN], [2, 2]) } };
  const after = step(clipped(sgd(), { value: 2 }), gradients, 1);
  assertEquals(after("params.conv.weight"), [6, 3, 5.5, NaN]);
  assertEquals(after("params.conv.bias"), [Infinity]);
  assertEquals(after("norm"), []);
  assertThrows(() => clipped(sgd(), {}), LocalgradError, "either a norm or a value");
  assertThrows(() => clipped(sgd(), { norm: 1, value: 1 }), LocalgradError, "either a norm or a value");
  assertThrows(() => clipped(sgd(), { norm: 0 }), LocalgradError, "above 0");
});
