import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { units } from "../../tests/fixtures/formula.ts";
import { load, testOn } from "../../tests/parity/fixture.ts";
import { host, integers, run } from "../../tests/run.ts";
import { tinyModel, tinySegmenter } from "../../tests/tiny.ts";
import { valueAndGrad } from "../autograd/grad.ts";
import { LocalgradError } from "../base/errors.ts";
import { jit } from "../runtime/jit.ts";
import { HostArray } from "../trace/host_array.ts";
import type { Tensor } from "../trace/tensor.ts";
import { crossEntropyLoss, type Loss, lossFrom, meanLoss, plainLossOf, squaredErrorLoss } from "./loss.ts";
import { correctPositions } from "./losses.ts";

interface Case {
  readonly loss: number;
  readonly gradient: readonly number[];
}

const names = ["plain", "smoothed", "weighted"] as const;
const { losses: fixture } = load<{
  readonly losses:
    & { readonly [name in typeof names[number]]: Case }
    & { readonly labels: readonly number[]; readonly weights: readonly number[] };
}>("segmentation");

const losses: { readonly [name in typeof names[number]]: Loss } = {
  plain: plainLossOf(tinySegmenter()),
  smoothed: crossEntropyLoss({ ignored: 255, labelSmoothing: 0.1 }),
  weighted: crossEntropyLoss({ ignored: 255, classWeights: fixture.weights }),
};
const shape = [2, 3, 4, 5];
const logits = [...units("pixels", 120, 2, 0)];

const traced = (loss: Loss) => (z: Tensor, labels: Tensor) => {
  const [value, gradient] = valueAndGrad((z: Tensor) => meanLoss(loss, z, labels))(z);
  return { value, gradient };
};

Deno.test("losses of pixels and their gradients are PyTorch's in float64, 255 ignored", () => {
  for (const name of names) {
    const got = run(traced(losses[name]), host(logits, shape), integers([...fixture.labels], [2, 3, 4]));
    assertAlmostEquals(got["value"]!.data[0]!, fixture[name].loss, 1e-10, name);
    fixture[name].gradient.forEach((want, i) =>
      assertAlmostEquals(got["gradient"]!.data[i]!, want, 1e-10, `${name} ${i}`)
    );
  }
});

await testOn(
  ["cpu", "webgpu"],
  (backend) => `losses of pixels on ${backend} are PyTorch's`,
  async (device) => {
    const z = new HostArray(Float32Array.from(logits), shape);
    const labels = new HostArray(Int32Array.from(fixture.labels), [2, 3, 4]);
    for (const name of names) {
      const step = jit(traced(losses[name]), { device });
      const { value, gradient } = step(z, labels);
      assertAlmostEquals((await value.read("f32"))[0]!, fixture[name].loss, 1e-5, name);
      const read = await gradient.read("f32");
      fixture[name].gradient.forEach((want, i) => assertAlmostEquals(read[i]!, want, 1e-6, `${name} ${i}`));
      value.dispose();
      gradient.dispose();
      step.dispose();
    }
  },
);

Deno.test("where all pixels are ignored the loss and its gradient are 0, even of logits that are not finite", () => {
  for (const name of names) {
    for (const z of [logits, [...logits.slice(0, -1), -Infinity]]) {
      const got = run(traced(losses[name]), host(z, shape), integers(new Array(24).fill(255), [2, 3, 4]));
      assertEquals([...got["value"]!.data], [0], name);
      assert(z === logits ? got["gradient"]!.data.every((value) => value === 0) : true, name);
    }
  }
});

Deno.test("a segmentation ignores 255 whatever its cross-entropy says", () => {
  const of = (loss: Loss, labels: readonly number[]) =>
    run(traced(loss), host(logits, shape), integers([...labels], [2, 3, 4]))["value"]!.data[0]!;
  const given = (options: Parameters<typeof crossEntropyLoss>[0]) =>
    lossFrom("setup", crossEntropyLoss(options), { ...tinySegmenter(), classes: 5 });
  assertEquals(of(given({}), fixture.labels), of(losses.plain, fixture.labels));
  assertEquals(given({ labelSmoothing: 0.1 }).options, losses.smoothed.options);
  assertEquals(of(given({ labelSmoothing: 0.1 }), fixture.labels), of(losses.smoothed, fixture.labels));
  assertEquals(
    of(given({ classWeights: fixture.weights }), fixture.labels),
    of(losses.weighted, fixture.labels),
  );
  // beside another label that counts as none
  const none = fixture.labels.map((label) => label === 0 ? 255 : label);
  assertEquals(of(given({ ignored: 0 }), fixture.labels), of(losses.plain, none));
  assertEquals(given({ ignored: 0 }).options, { ignored: 0 });
  const own: Loss = { name: "crossEntropy", options: {}, each: crossEntropyLoss().each };
  assertEquals(lossFrom("setup", own, tinySegmenter()), own);
});

Deno.test("without an ignored label every pixel counts alike", () => {
  const labels = Array.from({ length: 24 }, (_, i) => i % 5);
  const of = (loss: Loss) =>
    run(traced(loss), host(logits, shape), integers(labels, [2, 3, 4]))["value"]!.data[0]!;
  assertAlmostEquals(of(crossEntropyLoss()), of(losses.plain), 1e-12);
});

Deno.test("the accuracy of pixels leaves out those that are ignored or of no class", () => {
  const of = (labels: number[], ignored?: number) =>
    run(
      (z: Tensor, labels: Tensor) => correctPositions(z, labels, ignored),
      host([5, 1, 5, 1, 1, 5, 1, 5], [2, 1, 2, 2]), // classes 0, 0, 1 and 1
      integers(labels, [2, 1, 2]),
    )[""]!.data[0];
  assertEquals(of([0, 1, 1, 1]), 2 * 3 / 4);
  assertEquals(of([0, 255, 1, 0]), 2 * 2 / 3);
  assertEquals(of([0, 1, 1, 1], 0), 2 * 2 / 3);
  assertEquals(of([255, 255, 255, 255]), 0);
});

Deno.test("losses that do not suit pixels are refused", () => {
  assertThrows(
    () => lossFrom("setup", squaredErrorLoss(), tinySegmenter()),
    LocalgradError,
    "tinySegmenter labels pixels, and squaredError is a loss of whole images; take crossEntropyLoss()",
  );
  assertThrows(() => crossEntropyLoss({ ignored: 0.5 }), LocalgradError, "ignored must be a whole number");
  assertEquals(lossFrom("setup", crossEntropyLoss({ ignored: 2 }), tinyModel()).options, { ignored: 2 });
});
