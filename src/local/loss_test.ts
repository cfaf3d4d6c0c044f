import { assertAlmostEquals, assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { checkGradient, point } from "../../tests/gradients.ts";
import { Random } from "../../tests/ops/random.ts";
import { load, testOn } from "../../tests/parity/fixture.ts";
import { host, integers, run } from "../../tests/run.ts";
import { tinyDataset, tinyImageMlp, tinyModel } from "../../tests/tiny.ts";
import { make } from "../../tests/tiny_trainer.ts";
import { valueAndGrad } from "../autograd/grad.ts";
import { LocalgradError } from "../base/errors.ts";
import { open } from "../runtime/devices.ts";
import { jit } from "../runtime/jit.ts";
import { HostArray } from "../trace/host_array.ts";
import { literal } from "../trace/functions.ts";
import type { Tensor } from "../trace/tensor.ts";
import {
  crossEntropyLoss,
  type Loss,
  lossFrom,
  type LossFunction,
  meanLoss,
  squaredErrorLoss,
} from "./loss.ts";
import { methodNamed } from "./methods/named.ts";
import type { SetupOptions } from "./setup.ts";

interface Case {
  readonly loss: number;
  readonly gradient: readonly number[];
}

const fixture = load<
  & { readonly [name in "plain" | "smoothed" | "weighted" | "both" | "squared"]: Case }
  & { readonly [name in "logits" | "labels" | "weights"]: readonly number[] }
>("losses");

const losses: { readonly [name in "plain" | "smoothed" | "weighted" | "both" | "squared"]: Loss } = {
  plain: crossEntropyLoss(),
  smoothed: crossEntropyLoss({ labelSmoothing: 0.1 }),
  weighted: crossEntropyLoss({ classWeights: fixture.weights }),
  both: crossEntropyLoss({ labelSmoothing: 0.1, classWeights: fixture.weights }),
  squared: squaredErrorLoss(),
};
const names = ["plain", "smoothed", "weighted", "both", "squared"] as const;

Deno.test("losses and their gradients are PyTorch's in float64", () => {
  for (const name of names) {
    const traced = (z: Tensor, labels: Tensor) => {
      const [value, gradient] = valueAndGrad((z: Tensor) => meanLoss(losses[name], z, labels))(z);
      return { value, gradient };
    };
    const got = run(traced, host([...fixture.logits], [5, 4]), integers([...fixture.labels]));
    assertAlmostEquals(got["value"].data[0], fixture[name].loss, 1e-11, name);
    fixture[name].gradient.forEach((want, i) =>
      assertAlmostEquals(got["gradient"].data[i], want, 1e-11, name)
    );
  }
});

await testOn(["cpu", "webgpu"], (backend) => `losses on ${backend} are PyTorch's`, async (device) => {
  const logits = new HostArray(Float32Array.from(fixture.logits), [5, 4]);
  for (const name of names) {
    const loss = jit((z: Tensor, t: Tensor) => meanLoss(losses[name], z, t), { device });
    using value = loss(logits, Int32Array.from(fixture.labels));
    assertAlmostEquals((await value.read("f32"))[0]!, fixture[name].loss, 1e-5 * fixture[name].loss, name);
    loss.dispose();
  }
});

Deno.test("the gradients of losses are those of finite differences", () => {
  const random = new Random(3);
  for (const name of names) {
    const f = (z: Tensor) => meanLoss(losses[name], z, literal([1, 3, 0], [3], "i32"));
    checkGradient(f, [point(random, [3, 4])], random, 1);
  }
});

Deno.test("a batch of weight 0 costs nothing, and weights may be of more classes than a literal has elements", () => {
  const classWeights = Array.from({ length: 1500 }, (_, i) => i === 0 ? 0 : i === 1499 ? 3 : 1);
  const loss = crossEntropyLoss({ classWeights });
  const at = (labels: number[]) =>
    run(
      (z: Tensor, t: Tensor) => meanLoss(loss, z, t),
      host(new Array(2 * 1500).fill(0), [2, 1500]),
      integers(labels),
    )[""].data[0];
  assertEquals(at([0, 0]), 0);
  assertAlmostEquals(at([0, 1499]), Math.log(1500), 1e-9);
});

const seven: LossFunction = (logits) => logits.sum(1).mul(0).add(7);
const cases: [name: Parameters<typeof methodNamed>[0], options: Parameters<typeof methodNamed>[1]][] = [
  ["endToEnd", {}],
  ["greedy", {}],
  ["man+dgl", {}],
  ["manPlusPlus+dgl", {}],
  ["augLocal", {}],
  ["predsim", { beta: 0 }],
  ["infopro", { weights: { reconstruction: [0, 0], task: [1, 1] } }],
];

Deno.test("every method trains its head and its local classifiers by the loss", async () => {
  await using device = await open("cpu");
  const batch = {
    x: new HostArray(Float32Array.from({ length: 4 * 192 }, (_, i) => Math.sin(i)), [4, 8, 8, 3]),
    labels: Int32Array.of(0, 1, 2, 0),
  };
  for (const [name, options] of cases) {
    using trainer = await make({ device, method: methodNamed(name, options), loss: seven, modules: 2 });
    const { losses } = await trainer.step(batch);
    assertEquals(losses, losses.map(() => 7), name);
    assertEquals(trainer.configuration["loss"], { name: "seven" });
  }
  const after = async (loss?: Loss) => {
    using trainer = await make({ device, accumulate: 2, ...(loss === undefined ? {} : { loss }) });
    return (await trainer.step(batch)).losses;
  };
  const plain = await after();
  assertEquals(await after(losses.plain), plain);
  (await after(losses.squared)).forEach((loss, i) => assertNotEquals(loss, plain[i]));
});

Deno.test("micro-batches add up to the whole batch, whatever they weigh", async () => {
  await using device = await open("cpu");
  const labels = Int32Array.of(0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 1, 1); // micro-batches of other weights than each other
  const x = new HostArray(Float32Array.from({ length: 12 * 192 }, (_, i) => Math.sin(i)), [12, 8, 8, 3]);
  const trained = async (loss: Loss, accumulate: number) => {
    const model = tinyImageMlp(); // without batch norm, whose statistics are those of a micro-batch
    using trainer = await make({ device, model, method: methodNamed("greedy"), loss, accumulate, batch: 12 });
    const all: number[] = [];
    for (let step = 0; step < 3; step++) all.push(...(await trainer.step({ x, labels })).losses);
    return all;
  };
  for (const loss of [crossEntropyLoss({ classWeights: [1, 5, 0.2] }), crossEntropyLoss({ ignored: 2 })]) {
    const whole = await trained(loss, 1);
    for (const accumulate of [2, 3, 6]) {
      const parts = await trained(loss, accumulate);
      whole.forEach((value, i) => assertAlmostEquals(parts[i]!, value, 1e-5));
    }
  }
});

Deno.test("evaluation reports the loss, weighted over all images whatever the batch", async () => {
  await using device = await open("cpu");
  const images = tinyDataset(12, 11);
  const evaluated = async (loss: Loss | LossFunction, batch: number) => {
    using trainer = await make({ device, loss, batch });
    return (await trainer.evaluate(images)).loss;
  };
  assertEquals(await evaluated(seven, 4), 7);
  const labels = [...images.test.labels];
  const mean = labels.reduce((a, b) => a + b) / labels.length;
  assertAlmostEquals(await evaluated((_, labels) => labels.cast("f32"), 4), mean, 1e-6);
  const loss = crossEntropyLoss({ labelSmoothing: 0.2, classWeights: [1, 0, 5] });
  assertAlmostEquals(await evaluated(loss, 4), await evaluated(loss, 11), 1e-5);
});

Deno.test("losses that cannot be are refused", async () => {
  assertThrows(
    () => crossEntropyLoss({ labelSmoothing: 1 }),
    LocalgradError,
    "at least 0 and below 1, not 1",
  );
  assertThrows(() => crossEntropyLoss({ classWeights: [1, -1] }), LocalgradError, "weight of class 1");
  assertThrows(() => crossEntropyLoss({ classWeights: [0, 0] }), LocalgradError, "all class weights are 0");
  const misspelt = { smoothing: 0.1 } as object;
  assertThrows(() => crossEntropyLoss(misspelt), LocalgradError, 'no option "smoothing"');
  const weights = crossEntropyLoss({ classWeights: [1, 2] });
  const three = { name: "three", classes: 3 };
  assertThrows(
    () => lossFrom("setup", weights, three),
    LocalgradError,
    "2 class weights for a network of 3 classes",
  );
  const named = "crossEntropy" as unknown as Loss;
  assertThrows(() => lossFrom("setup", named, three), LocalgradError, "the loss must be an object");

  await using device = await open("cpu");
  const model = tinyModel();
  const scalar: SetupOptions["loss"] = (logits) => logits.mean();
  using trainer = await make({ device, model, loss: scalar });
  const batch = { x: new HostArray(new Float32Array(2 * 192), [2, 8, 8, 3]), labels: Int32Array.of(0, 1) };
  await assertRejects(() => trainer.step(batch), LocalgradError, "must return one loss for each image, [2]");
});
