import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { host, integers, noise, run, runRounded } from "../../tests/run.ts";
import { grad } from "../autograd/grad.ts";
import { LocalgradError } from "../base/errors.ts";
import type { Tensor } from "../trace/tensor.ts";
import {
  binaryCrossEntropy,
  correctCount,
  crossEntropies,
  crossEntropy,
  similarityMatching,
  supervisedContrastive,
} from "./losses.ts";

Deno.test("crossEntropy() is −log softmax at the label, however large the logits", () => {
  const logits = [1, 2, 0.5, 1000, 1001, 999.5, -1000, -3000, -1000];
  const { "": { data } } = runRounded(
    (z: Tensor, t: Tensor) => crossEntropy(z, t),
    host(logits, [3, 3]),
    integers([1, 1, 2]),
  );
  const row = Math.log(Math.exp(1) + Math.exp(2) + Math.exp(0.5)) - 2;
  assertAlmostEquals(data[0], (2 * row + Math.log(2)) / 3, 1e-6);
});

Deno.test("crossEntropy() has the gradient (softmax − one-hot) / batch", () => {
  const logits = noise("z", [2, 4]);
  const got = run(
    (z: Tensor, t: Tensor) => grad((z: Tensor) => crossEntropy(z, t))(z),
    logits,
    integers([3, 0]),
  )[""];
  for (let n = 0; n < 2; n++) {
    const row = Array.from(logits.data.subarray(4 * n, 4 * n + 4), Math.exp);
    const sum = row.reduce((a, b) => a + b);
    row.forEach((e, c) =>
      assertAlmostEquals(got.data[4 * n + c], (e / sum - (c === [3, 0][n] ? 1 : 0)) / 2, 1e-9)
    );
  }
});

Deno.test("crossEntropy() refuses labels that do not fit the logits", () => {
  const apply = (z: Tensor, t: Tensor) => crossEntropy(z, t);
  assertThrows(() => run(apply, noise("z", [3, 4]), integers([1, 2])), LocalgradError, "labels [batch]");
});

Deno.test("crossEntropy() accepts logits of −∞: an impossible class has no effect, and an impossible label costs ∞", () => {
  const z = [1, 2, -Infinity, -Infinity, 5, 6, -Infinity, -Infinity, -Infinity];
  const rows =
    run((z: Tensor, t: Tensor) => crossEntropies(z, t), host(z, [3, 3]), integers([1, 0, 0]))[""].data;
  assertAlmostEquals(rows[0], Math.log(1 + Math.exp(-1)), 1e-7); // 0.3133
  assertEquals([...rows.slice(1)], [Infinity, NaN]); // as in PyTorch
  const slope = run(
    (z: Tensor, t: Tensor) => grad((z: Tensor) => crossEntropies(z, t).sum())(z),
    host(z.slice(0, 6), [2, 3]),
    integers([1, 0]),
  )[""].data;
  const [p, q] = [1 / (1 + Math.exp(1)), 1 / (1 + Math.exp(1))];
  [p, -p, 0, -1, q, 1 - q].forEach((want, i) => assertAlmostEquals(slope[i], want, 1e-7));
});

Deno.test("correctCount() counts a row with a NaN as wrong, whatever its label", () => {
  const nan = host(new Array(9).fill(NaN), [3, 3]);
  assertEquals([...run(correctCount, nan, integers([0, 1, 2]))[""].data], [0]);
  const some = host([0, NaN, 2, 3, 1, -Infinity, 0, Infinity, 1], [3, 3]);
  assertEquals([...run(correctCount, some, integers([1, 0, 1]))[""].data], [1]);
});

Deno.test("correctCount() counts rows whose largest logit is at the label", () => {
  const logits = host([0, 1, 2, 5, 1, 2, 0, 3, 2], [3, 3]);
  const { "": { data } } = run((z: Tensor, t: Tensor) => correctCount(z, t), logits, integers([2, 1, 1]));
  assertEquals([...data], [2]);
});

Deno.test("binaryCrossEntropy() equals the formula where that is safe, and is finite elsewhere", () => {
  const [z, t] = [[-3, -0.5, 0, 0.7, 4], [0, 1, 0.25, 0.6, 1]];
  const value = run((z: Tensor, t: Tensor) => binaryCrossEntropy(z, t), host(z), host(t))[""].data[0];
  const sigmoid = z.map((x) => 1 / (1 + Math.exp(-x)));
  const expected =
    sigmoid.map((s, i) => -Math.fround(t[i]) * Math.log(s) - (1 - Math.fround(t[i])) * Math.log(1 - s))
      .reduce((a, b) => a + b) / 5;
  assertAlmostEquals(value, expected, 1e-6);
  const gradient = run(
    (z: Tensor, t: Tensor) => grad((z: Tensor) => binaryCrossEntropy(z, t))(z),
    host(z),
    host(t),
  )[""].data;
  gradient.forEach((g, i) => assertAlmostEquals(g, (sigmoid[i] - t[i]) / 5, 1e-7));
  const extreme = runRounded(
    (z: Tensor, t: Tensor) => binaryCrossEntropy(z, t),
    host([1e4, -1e4]),
    host([0, 1]),
  );
  assertEquals(extreme[""].data[0], 1e4);
});

Deno.test("supervisedContrastive() averages −log softmax over the positives of every anchor, or only of those that have any", () => {
  const features = noise("f", [5, 3]);
  const labels = [1, 0, 1, 1, 7];
  const [all, paired] = (["all", "paired"] as const).map((anchors) =>
    run(
      (f: Tensor, t: Tensor) => supervisedContrastive(f, t, undefined, anchors),
      features,
      integers(labels),
    )[""].data[0]
  );
  const rows = labels.map((_, n) => {
    const row = Array.from(features.data.subarray(3 * n, 3 * n + 3));
    const length = Math.hypot(...row);
    return row.map((value) => value / length);
  });
  const similarity = (a: number, b: number) => rows[a].reduce((sum, v, i) => sum + v * rows[b][i], 0) / 0.07;
  const losses = labels.flatMap((label, n) => {
    const others = labels.map((_, i) => i).filter((i) => i !== n);
    const positives = others.filter((i) => labels[i] === label);
    if (positives.length === 0) return [];
    const total = Math.log(others.reduce((sum, i) => sum + Math.exp(similarity(n, i)), 0));
    return [positives.reduce((sum, i) => sum + total - similarity(n, i), 0) / positives.length];
  });
  assertEquals(losses.length, 3);
  const sum = losses.reduce((a, b) => a + b);
  assertAlmostEquals(all, sum / 5, 1e-6); // as in the published code, where the two anchors without positives count with 0
  assertAlmostEquals(paired, sum / 3, 1e-6);
});

Deno.test("supervisedContrastive() is 0 where no two labels agree, and finite for opposite features", () => {
  const alone = run(
    (f: Tensor, t: Tensor) => supervisedContrastive(f, t),
    noise("f", [3, 2]),
    integers([0, 1, 2]),
  );
  assertEquals(alone[""].data[0], 0);
  const opposite = host([1, 0, -1, 0, 1, 1e-3], [3, 2]);
  const loss = runRounded(
    (f: Tensor, t: Tensor) => supervisedContrastive(f, t),
    opposite,
    integers([0, 0, 1]),
  );
  assertEquals(Number.isFinite(loss[""].data[0]), true);
  assertThrows(
    () => run((f: Tensor, t: Tensor) => supervisedContrastive(f, t, 0), opposite, integers([0, 0, 1])),
    LocalgradError,
    "temperature",
  );
});

Deno.test("similarityMatching() compares the cosines of deviations with those of labels", () => {
  const [batch, pixels, channels] = [4, 6, 5];
  const images = noise("i", [batch, 2, 3, channels]);
  const labels = [2, 0, 2, 1];
  const loss = (x: Tensor, t: Tensor) => similarityMatching(x, t, 3);
  const centred = (row: number[]) => {
    const mean = row.reduce((a, b) => a + b) / row.length;
    const moved = row.map((value) => value - mean);
    const length = Math.hypot(...moved);
    return moved.map((value) => value / length);
  };
  const rows = labels.map((_, n) =>
    centred(Array.from({ length: channels }, (_, c) => {
      const values = Array.from({ length: pixels }, (_, p) => images.data[(n * pixels + p) * channels + c]);
      const mean = values.reduce((a, b) => a + b) / pixels;
      return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (pixels - 1));
    }))
  );
  let expected = 0;
  for (const [a, first] of rows.entries()) {
    for (const [b, second] of rows.entries()) {
      const wanted = labels[a] === labels[b] ? 1 : -1 / 2; // −1 / (classes − 1)
      expected += (first.reduce((sum, v, i) => sum + v * second[i], 0) - wanted) ** 2 / batch ** 2;
    }
  }
  assertAlmostEquals(run(loss, images, integers(labels))[""].data[0], expected, 1e-9);
});

Deno.test("similarityMatching() and its gradient are finite for uniform features", () => {
  for (const shape of [[3, 2, 2, 4], [3, 1, 1, 4], [3, 4]]) {
    const flat = host(new Array(shape.reduce((a, b) => a * b)).fill(1), shape);
    const f = (x: Tensor, t: Tensor) => [
      similarityMatching(x, t, 2),
      grad((x: Tensor) => similarityMatching(x, t, 2))(x),
    ];
    for (const { data } of Object.values(runRounded(f, flat, integers([0, 1, 1])))) {
      assertEquals(data.every(Number.isFinite), true);
    }
  }
});
