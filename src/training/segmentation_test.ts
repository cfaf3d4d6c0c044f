import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { testOn } from "../../tests/parity/fixture.ts";
import { tinyDataset, tinyModel, tinySegmenter } from "../../tests/tiny.ts";
import { LocalgradError } from "../base/errors.ts";
import type { PixelDataset } from "../data/label_maps.ts";
import { scenes } from "../data/scenes.ts";
import { infopro } from "../local/methods/infopro.ts";
import { endToEnd } from "../local/methods/end_to_end.ts";
import type { Model } from "../models/model.ts";
import { constantInitial } from "../nn/initial.ts";
import { layer } from "../nn/layer.ts";
import { constant } from "../optim/schedules.ts";
import { sgd } from "../optim/sgd.ts";
import type { Device } from "../runtime/arrays.ts";
import { open } from "../runtime/devices.ts";
import { literal } from "../trace/functions.ts";
import { HostArray } from "../trace/host_array.ts";
import { meanIoU } from "./metric.ts";
import { trainer } from "./trainer.ts";

const method = infopro({ weights: { reconstruction: [1, 1], task: [1, 1] } });
const set = scenes({ train: 16, test: 8, size: 16 });
const make = (device: Device, model: Model = tinySegmenter()) =>
  trainer({
    device,
    model,
    modules: 2,
    method,
    optimizer: sgd({ momentum: 0.9 }),
    schedule: constant(0.05),
    batch: 8,
  });

await testOn(
  ["cpu", "webgpu"],
  (backend) => `a segmentation by infopro on ${backend} learns, and resumes to the bit`,
  async (device) => {
    using whole = await make(device);
    const losses: number[] = [], accuracies: (number | undefined)[] = [];
    await whole.fit(set, {
      epochs: 4,
      observers: [{
        step: ({ losses: [, last = NaN], accuracy }) => {
          losses.push(last);
          accuracies.push(accuracy);
        },
      }],
    });
    assert(losses.at(-1)! < losses[0]!, `${losses}`);
    assert(accuracies.every((share) => share !== undefined && share >= 0 && share <= 1));
    using half = await make(device);
    await half.fit(set, { epochs: 2, observers: [] });
    const snapshot = await half.snapshot();
    using rest = await make(device);
    rest.restore(snapshot);
    await rest.fit(set, { epochs: 4, observers: [] });
    const [expected, got] = [await whole.snapshot(), await rest.snapshot()];
    for (const [name, { data }] of expected.tensors) assertEquals(got.tensors.get(name)!.data, data, name);
  },
);

/** A network that sees the class of each pixel in its brightness; what it learns changes nothing. */
function seer(classes = 4): Model {
  return {
    name: "seer",
    input: { height: 2, width: 2, channels: 1 },
    classes,
    task: "segmentation",
    stem: {},
    blocks: [{ name: "block", layer: layer({ apply: (_params, state, x) => ({ y: x, state }) }) }],
    head: {
      logits: layer({
        params: { scale: constantInitial(1, [1]) },
        apply({ scale }, state, x) {
          const class_ = literal(Array.from({ length: classes }, (_, i) => i));
          return { y: x.mul(255).sub(class_).square().neg().mul(scale), state };
        },
      }),
    },
  };
}

/** Two images whose brightness is what is found, with their true classes. */
const found: PixelDataset = {
  task: "segmentation",
  name: "found",
  classes: ["a", "b", "c", "d"],
  height: 2,
  width: 2,
  channels: 1,
  mean: [0],
  std: [1],
  train: {
    images: Uint8Array.of(0, 1, 2, 2, 0, 1, 1, 2),
    maps: Uint8Array.of(0, 1, 2, 0, 255, 1, 0, 0),
    count: 2,
  },
  test: {
    images: Uint8Array.of(0, 1, 2, 2, 0, 1, 1, 2),
    maps: Uint8Array.of(0, 1, 2, 0, 255, 1, 0, 0),
    count: 2,
  },
};
const options = { method: endToEnd(), optimizer: sgd(), batch: 4 };

await testOn(
  ["cpu", "webgpu"],
  (backend) => `evaluation on ${backend} counts pixels, without those ignored`,
  async (device) => {
    using network = await trainer({ device, model: seer(), ...options });
    const { error, meanIoU, perClass, confusion, images } = await network.evaluate(found, {
      metrics: ["perClass", "confusion"],
    });
    assertEquals(images, 2);
    assertAlmostEquals(error, 3 / 7, 1e-6);
    assertEquals(confusion, [[1, 1, 2, 0], [0, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]);
    assertAlmostEquals(meanIoU!, (1 / 4 + 2 / 3 + 1 / 3) / 3, 1e-12);
    assertEquals(perClass!.map(({ images, recall, precision, iou }) => [images, recall, precision, iou]), [
      [4, 1 / 4, 1, 1 / 4],
      [2, 1, 2 / 3, 2 / 3],
      [1, 1, 1 / 3, 1 / 3],
      [0, undefined, undefined, undefined],
    ]);
    const normalised = new HostArray(Float32Array.of(0, 1, 2, 2, 0, 1, 1, 2).map((value) => value / 255), [
      2,
      2,
      2,
      1,
    ]);
    const [first] = await network.segment(normalised);
    assertEquals(first, { height: 2, width: 2, labels: Uint8Array.of(0, 1, 2, 2) });
    const outputs = await network.outputs(normalised);
    assertEquals(outputs.shape, [2, 2, 2, 4]);
  },
);

Deno.test("an evaluation in which every pixel is ignored has no error, and no NaN", async () => {
  await using device = await open("cpu");
  using network = await trainer({ device, model: seer(), ...options });
  const none = { ...found, test: { ...found.test!, maps: new Uint8Array(8).fill(255) } };
  const { error, loss, meanIoU } = await network.evaluate(none);
  assertEquals([error, loss, meanIoU], [0, 0, 0]);
});

Deno.test("mean IoU is over the classes that occur or were found", () => {
  assertEquals(meanIoU([[1, 0], [0, 1]]), 1);
  assertEquals(meanIoU([[2, 2, 0], [0, 0, 0], [0, 0, 0]]), 1 / 4);
  assertEquals(meanIoU([[0]]), 0);
});

Deno.test("steps on one's own labelled pixels need one label for each", async () => {
  await using device = await open("cpu");
  using network = await trainer({ device, model: seer(), ...options });
  const x = new HostArray(new Float32Array(8), [2, 2, 2, 1]);
  const step = (labels: number[]) =>
    network.step({ x, labels: Int32Array.from(labels) }, { learningRate: 0.1 });
  assertAlmostEquals((await step([0, 0, 1, 0, 255, 255, 0, 0])).accuracy!, 5 / 6, 1e-6);
  await assertRejects(
    () => step([0, 1]),
    LocalgradError,
    "2 labels were given for the 8 pixels of the 2 images",
  );
  await assertRejects(
    () => step([0, 0, 0, 0, 0, 9, 0, 0]),
    LocalgradError,
    "image 1 of the batch has a pixel with label 9; 4 classes are 0 to 3, and 255 is none",
  );
});

Deno.test("data of another task are refused, whichever way round", async () => {
  await using device = await open("cpu");
  using segments = await make(device);
  using classifies = await make(device, tinyModel());
  const quiet = { epochs: 1, observers: [] };
  await assertRejects(
    () => segments.fit(tinyDataset(8, 4), quiet),
    LocalgradError,
    "fit: tinySegmenter labels pixels, but colours has one label for each input",
  );
  await assertRejects(
    () => classifies.fit(set, quiet),
    LocalgradError,
    "fit: scenes has a label for each pixel, but tiny gives one for each image",
  );
  const wrong = {
    ...set,
    train: { ...set.train, maps: set.train.maps.map((label) => label === 255 ? 9 : label) },
  };
  await assertRejects(
    () => segments.fit(wrong, quiet),
    LocalgradError,
    "the train part of scenes is mislabelled",
  );
  const { maps: _, ...without } = set.train;
  await assertRejects(
    () => segments.fit({ ...set, train: without as never }, quiet),
    LocalgradError,
    "fit: the train part of scenes has images and no label maps",
  );
  await assertRejects(
    () =>
      segments.fit(
        { ...set, augmentation: { border: 0, fill: "zero", flip: true, mix: {} } as never },
        quiet,
      ),
    LocalgradError,
    "the augmentation of scenes: label maps do not follow mix",
  );
  await assertRejects(() => segments.fit(set, { ...quiet, samples: 2 }), LocalgradError, "samples");
  await assertRejects(
    () => segments.evaluate(set, { metrics: ["topFive"] }),
    LocalgradError,
    "the metric topFive is of whole images, and tinySegmenter labels pixels",
  );
  assertThrows(
    () => segments.predict(new Uint8Array(768)),
    LocalgradError,
    "segment() gives the class of each",
  );
  for (const wrong of [new Uint8Array(768), "x"]) {
    await assertRejects(
      () => segments.segment(wrong as never),
      LocalgradError,
      "segment: takes images as a list; pass one as [image]",
    );
  }
  for (const wrong of [null, 5, set, undefined]) {
    await assertRejects(
      () => segments.segment(wrong as never),
      LocalgradError,
      "segment: takes a list of images, an array or a part of a data set, such as images.test, not",
    );
  }
  assertThrows(
    () => classifies.segment([]),
    LocalgradError,
    "gives one class for each image; predict() names it",
  );
});
