import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { inFolder } from "../../tests/in_folder.ts";
import { tinyDataset, tinyModel } from "../../tests/tiny.ts";
import { bits, make } from "../../tests/tiny_trainer.ts";
import { LocalgradError } from "../base/errors.ts";
import { key } from "../base/random.ts";
import { arrays } from "../data/arrays.ts";
import type { Augmentation, ImageDataset, LabelledImages } from "../data/images.ts";
import { adamw } from "../optim.ts";
import { load } from "../predict.ts";
import { open } from "../runtime/devices.ts";
import { jit } from "../runtime/jit.ts";
import { HostArray } from "../trace/host_array.ts";
import type { Tensor } from "../trace/tensor.ts";
import { arrayFeed } from "./feeds/array_feed.ts";

const SHAPE = [8, 8, 3];
const reflected: Augmentation = { border: 2, fill: "reflect", flip: true };
const black: Augmentation = { border: 2, fill: "zero", flip: true };

/** Images of a data set, normalised on the host in f32. */
function normalised({ mean, std }: ImageDataset, { images, labels, count }: LabelledImages) {
  const f = Math.fround;
  const x = Float32Array.from(images, (byte, i) => {
    return f(f(f(byte * f(1 / 255)) - f(mean[i % 3]!)) / f(std[i % 3]!));
  });
  return { x: new HostArray(x, [count, ...SHAPE]), labels };
}

Deno.test("f32 images train as the bytes that they were normalised from, bit for bit", async () => {
  await using device = await open("cpu", { engine: "wasm" });
  const bytes = tinyDataset(40, 16);
  const { name, classes, train, test } = bytes;
  // A reflected border is of the image's own pixels; a black one is 0 in f32, but byte 0 in bytes.
  const floats = arrays({
    ...{ ...normalised(bytes, train), test: normalised(bytes, test) },
    ...{ name, classes, augmentation: reflected },
  });
  using given = await make({ device });
  using own = await make({ device });
  const options = { epochs: 2, observers: [] };
  const result = await own.fit(floats, options);
  assertEquals(await given.fit({ ...bytes, augmentation: reflected }, options), result);
  assertEquals(bits(await own.snapshot()), bits(await given.snapshot()));
});

Deno.test("f32 images of any range are learnt with augmentation, and predicted from the run's folder by name", () =>
  inFolder(async (folder) => {
    await using device = await open("cpu");
    const bytes = tinyDataset(96, 30);
    const raw = ({ images, labels, count }: LabelledImages) => ({
      x: new HostArray(Float32Array.from(images, (byte) => 20 * byte - 300), [count, ...SHAPE]),
      labels,
    });
    const { classes, train, test } = bytes;
    const set = arrays({ ...raw(train), test: raw(test), classes, augmentation: reflected });
    using t = await make({ device, optimizer: adamw(), schedule: () => 0.01 });
    const { last } = await t.fit(set, { epochs: 12, observers: [], checkpoint: folder, evaluateEvery: 12 });
    assert(last!.error < 0.1, JSON.stringify(last));
    const notes: string[] = [];
    for (const path of [folder, `${folder}/last.safetensors`]) {
      await using predictor = await load(path, {
        device,
        model: tinyModel(),
        onNote: (note) => notes.push(note),
      });
      assertEquals(await predictor.predict(set.test!), await t.predict(set.test!));
      assert(classes.includes((await predictor.predict(set.test!))[0]!.best.name));
    }
    assertEquals(notes, []);
  }));

Deno.test("an augmented f32 image is its own pixels, moved and mirrored, in whatever range", async () => {
  await using device = await open("cpu");
  const x = Float32Array.from({ length: 2 * 192 }, (_, i) => (i % 2 === 0 ? 1e30 : -1e-30) * (i + 1));
  const part = { x, labels: Int32Array.of(0, 1), count: 2 };
  for (const [augmentation, padding] of [[reflected, []], [black, [0]]] as const) {
    await using feed = arrayFeed(device, { name: "wide", shape: SHAPE, augmentation }, part);
    const plain = jit((data: never, indices: Tensor) => feed.batch(data, indices).x, { device });
    using unmoved = plain(feed.arrays as never, Uint32Array.of(1, 0));
    assertEquals([...await unmoved.read()], [...x.subarray(192), ...x.subarray(0, 192)]);
    const augmented = jit((data: never, indices: Tensor, k: Tensor) => feed.batch(data, indices, k).x, {
      device,
    });
    using moved = augmented(feed.arrays as never, Uint32Array.of(1, 0), key(3));
    const values = await moved.read();
    const own = [new Set([...x.subarray(192), ...padding]), new Set([...x.subarray(0, 192), ...padding])];
    values.forEach((value, i) => assert(own[i < 192 ? 0 : 1]!.has(value), `${value}`));
    assert(values.some((value, i) => value !== x[(i + 192) % 384]));
    plain.dispose();
    augmented.dispose();
  }
});

Deno.test("an augmentation that images cannot have is refused, of f32 images and of bytes", async () => {
  await using device = await open("reference");
  using t = await make({ device });
  const bytes = tinyDataset(8, 4);
  const cases: [augmentation: object, message: string][] = [
    [
      { ...reflected, border: 8 },
      "images of 8×8 have no 8 pixels to reflect beside an edge; choose a smaller border",
    ],
    [{ ...reflected, border: 1.5 }, "border must be a whole number of at least 0, not 1.5"],
    [{ ...reflected, fill: "white" }, 'fill must be "reflect" or "zero", not "white"'],
    [{ border: 2, fill: "zero" }, "flip must be true or false, not undefined"],
  ];
  for (const [augmentation, message] of cases) {
    const of = (who: string, name: string) => `${who}: the augmentation of ${name}: ${message}`;
    const options = { ...normalised(bytes, bytes.train), classes: bytes.classes };
    assertThrows(
      () => arrays({ ...options, augmentation: augmentation as Augmentation }),
      LocalgradError,
      of("arrays", "arrays"),
    );
    await assertRejects(
      () => t.fit({ ...bytes, augmentation: augmentation as Augmentation }, { epochs: 1, observers: [] }),
      LocalgradError,
      of("fit", "colours"),
    );
  }
  assertThrows(
    () =>
      arrays({
        x: new HostArray(new Float32Array(384).fill(NaN, 200), [2, ...SHAPE]),
        labels: new Int32Array(2),
      }),
    LocalgradError,
    "has NaN in input 1; inputs are finite",
  );
});
