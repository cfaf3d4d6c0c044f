import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { tinyDataset, tinyModel } from "../../tests/tiny.ts";
import { make } from "../../tests/tiny_trainer.ts";
import { loadWeights, saveWeights, weightsOf } from "../artifacts/weights.ts";
import { LocalgradError } from "../base/errors.ts";
import type { PictureDecoder } from "../data/decoder.ts";
import { signatureOf } from "../data/signature.ts";
import { network } from "../models/model.ts";
import { open } from "../runtime/devices.ts";
import { HostArray } from "../trace/host_array.ts";
import { load } from "./load.ts";
import type { Prediction } from "./prediction.ts";
import { ranked } from "./ranked.ts";

const DATA = tinyDataset(48, 11);
const image = (i: number) => DATA.test.images.subarray(i * 192, (i + 1) * 192);
const NAMES = DATA.classes;

/** Predictions without rounding of the last bits, which depends on the size of a batch. */
const shape = (predictions: readonly Prediction[]) =>
  predictions.map(({ top, logits }) => [
    top.map(({ name, index }) => `${index} ${name}`),
    [...logits].map((logit) => logit.toFixed(4)),
  ]);

Deno.test("ranked() orders classes by logits, with their names and probabilities", () => {
  const { best, top, probabilities } = ranked(Float32Array.of(0, Math.log(3), 0, Math.log(5)), ["a", "b"], 3);
  assertEquals(top.map(({ name, index }) => [name, index]), [["3", 3], ["b", 1], ["a", 0]]);
  assertEquals(best, top[0]);
  [0.1, 0.3, 0.1, 0.5].forEach((p, i) => assertAlmostEquals(probabilities[i], p, 1e-6));
  assertEquals([...ranked(Float32Array.of(-Infinity, 1e38, Infinity), [], 1).probabilities], [0, 0, 1]);
  assertEquals(ranked(Float32Array.of(-Infinity, 3), [], 2).top.map(({ probability }) => probability), [
    1,
    0,
  ]);
});

Deno.test("a trainer predicts images one by one, as lists, arrays, parts and streams, like evaluate()", async () => {
  await using device = await open("cpu");
  {
    using trainer = await make({ device });
    const x = new HostArray(Float32Array.from(image(0), (byte) => (byte / 255 - 0.4) / 0.25), [1, 8, 8, 3]);
    await assertRejects(() => trainer.predict(image(0)), LocalgradError, "are not known");
    assertEquals((await trainer.predict(x))[0].top.map(({ name }) => name).sort(), ["0", "1", "2"]);

    await trainer.fit(DATA, { epochs: 3, observers: [] });
    const all = await trainer.predict(DATA.test);
    const wrong = all.filter(({ best }, i) => best.index !== DATA.test.labels[i]).length;
    assertEquals(wrong / 11, (await trainer.evaluate(DATA)).error);
    for (const { best, top, probabilities } of all) {
      assertEquals([best.name, top.length, best.probability], [
        NAMES[best.index],
        3,
        Math.max(...probabilities),
      ]);
    }
    const images = Array.from({ length: 11 }, (_, i) => image(i));
    const array = new HostArray(DATA.test.images, [11, 8, 8, 3]);
    // All at once: they share batches, in whatever order they come.
    const [list, bytes, floats, ...single] = await Promise.all([
      trainer.predict(images),
      trainer.predict(array),
      trainer.predict(x),
      ...images.map((each) => trainer.predict(each)),
    ]);
    for (const each of [list, bytes, single]) assertEquals(shape(each), shape(all));
    assertEquals(shape(floats), shape(all.slice(0, 1)));
    const normalised = Float32Array.from(x.data, Number);
    assertEquals(shape([await trainer.predict(normalised)]), shape(all.slice(0, 1)));
    const mixed = [normalised, image(1), normalised, image(3)]; // each kind in batches of its own
    assertEquals(shape(await trainer.predict(mixed)), shape([0, 1, 0, 3].flatMap((i) => all[i] ?? [])));
    assertEquals((await trainer.predict(image(0), { top: 1 })).top.length, 1);

    // The values of the network as it is now, also after more training.
    await trainer.fit(DATA, { epochs: 4, observers: [] });
    assert(shape([await trainer.predict(image(0))]).join() !== shape(all.slice(0, 1)).join());
    const streamed = {
      count: 11,
      labels: DATA.test.labels,
      open: () => ({
        read: (indices: Uint32Array) =>
          Promise.resolve(Uint8Array.from([...indices].flatMap((i) => [...image(i)]))),
        done: { images: 0, milliseconds: 0 },
        [Symbol.asyncDispose]: () => Promise.resolve(),
      }),
    };
    assertEquals(shape(await trainer.predict(streamed)), shape(await trainer.predict(DATA.test)));
  }
  assertEquals(device.liveArrays, 0);
});

Deno.test("predict() refuses what is no image for the network", async () => {
  await using device = await open("reference");
  using trainer = await make({ device, modules: 1 });
  trainer.load({
    ...weightsOf({ snapshot: await trainer.snapshot(), settings: {} }, "own"),
    signature: DATA,
  });
  const cases: [unknown, string][] = [
    [new Uint8Array(191), "has 191 bytes; tiny takes 8×8×3"],
    [new HostArray(new Uint8Array(192), [1, 3, 8, 8]), "not u8[1,3,8,8], which is NCHW"],
    [new HostArray(new Int32Array(192), [1, 8, 8, 3]), "not i32[1,8,8,3]"],
    ["rose.jpg", "rose.jpg has to be decoded; pass { decoder: pictures() }"],
    [[3], "an image is bytes, normalised f32, a path or a Blob, not 3"],
    [[new Float32Array(2 * 192)], "has 384 elements of f32; tiny takes 8×8×3; pass several images as a list"],
    [new Float32Array(191), "has 191 elements of f32"],
    [new HostArray(new Float32Array(192).fill(NaN), [1, 8, 8, 3]), "output is NaN"],
  ];
  for (const [images, message] of cases) {
    await assertRejects(() => trainer.predict(images as Uint8Array), LocalgradError, message);
  }
  await assertRejects(async () => await trainer.predict(image(0), { top: 0 }), LocalgradError, "top must be");
});

Deno.test("predict.load() takes class names and preprocessing from a run, a checkpoint and an exported file", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await using device = await open("cpu");
    using trainer = await make({ device });
    await trainer.fit(DATA, { epochs: 1, checkpoint: `${dir}/run`, observers: [] });
    await saveWeights(`${dir}/net.safetensors`, await trainer.snapshot());
    const expected = shape(await trainer.predict(DATA.test));
    const options = { device, model: tinyModel(), batch: 4, onNote: (text: string) => void notes.push(text) };
    const notes: string[] = [];
    for (const path of ["run", "run/last.safetensors", "net.safetensors"]) {
      await using predictor = await load(`${dir}/${path}`, options);
      assertEquals(predictor.signature, signatureOf(DATA));
      assertEquals(shape(await predictor.predict(DATA.test)), expected, path);
    }
    assertEquals(notes, []);
    const { network: facts, signature } = await loadWeights(`${dir}/net.safetensors`);
    assertEquals([facts, signature], [
      { model: "tiny", classes: 3, task: "classification" },
      signatureOf(DATA),
    ]);
    await assertRejects(
      () => load(`${dir}/run`, { device }),
      LocalgradError,
      "is of tiny, which is not a network that localgrad makes by its name; use it in a script, which can make the network: pass that as model",
    );

    // As earlier versions and PyTorch write them: one line says what is missing.
    const { tensors, step } = await trainer.snapshot();
    await saveWeights(`${dir}/plain.safetensors`, { tensors, step });
    await using plain = await load(`${dir}/plain.safetensors`, options);
    assertEquals(notes.length, 1);
    assert(notes[0].includes("has neither class names nor preprocessing"), notes[0]);
    await assertRejects(() => plain.predict(image(0)), LocalgradError, "pass the signature");
    await using named = await load(`${dir}/plain.safetensors`, { ...options, signature: DATA });
    assertEquals(shape(await named.predict(DATA.test)), expected);
    await assertRejects(
      () => load(`${dir}/plain.safetensors`, { ...options, signature: { ...DATA, std: [1, 0, 1] } }),
      LocalgradError,
      "has 0 in its std",
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("pictures are decoded by the decoder given, a folder and a stream in order, as soon as they are there", async () => {
  await using device = await open("cpu");
  const ended: string[] = [];
  const decoder: PictureDecoder = {
    decode: (picture, { height, width, crop }) => {
      assertEquals([height, width, crop], [8, 8, undefined]);
      const number = typeof picture === "string" ? Number(picture) : picture.size;
      return number < 11
        ? Promise.resolve(image(number))
        : Promise.reject(new LocalgradError(`${picture} is damaged`));
    },
    list: () => Promise.resolve(Array.from({ length: 11 }, (_, i) => String(i))),
    [Symbol.asyncDispose]: () => Promise.resolve(void ended.push("decoder")),
  };
  const dir = await Deno.makeTempDir();
  const path = `${dir}/net.safetensors`;
  {
    using trainer = await make({ device });
    await trainer.fit(DATA, { epochs: 1, observers: [] });
    await saveWeights(path, await trainer.snapshot());
  }
  {
    await using predictor = await load(path, { device, model: tinyModel(), batch: 2, decoder });
    const expected = shape(await predictor.predict(DATA.test));
    const folder = await Array.fromAsync(predictor.folder("pictures"));
    assertEquals(folder.map(({ file }) => file), Array.from({ length: 11 }, (_, i) => String(i)));
    assertEquals(shape(folder), expected);
    assertEquals(shape([await predictor.predict(new Blob([new Uint8Array(5)]))]), expected.slice(5, 6));

    // The second image is only asked for after the first has been predicted, and no more than are used.
    const seen: number[] = [];
    const live = async function* () {
      try {
        for (let i = 0;; i++) {
          while (seen.length < i) await new Promise((resolve) => setTimeout(resolve, 1));
          yield image(i % 11);
        }
      } finally {
        ended.push("source");
      }
    };
    for await (const { best } of predictor.stream(live())) if (seen.push(best.index) === 3) break;
    assertEquals(seen.length, 3);
    for (
      const [given, wrong] of [["a.png", `"a.png"`], [live, "the function live; call it: live()"]] as const
    ) {
      assertThrows(
        () => predictor.stream(given as never),
        LocalgradError,
        `stream takes a list, a generator or a ReadableStream of images, not ${wrong}`,
      );
    }
    const broken = { [Symbol.asyncIterator]: () => ({}) } as never;
    await assertRejects(() => predictor.stream(broken).next(), LocalgradError, "iterator must have next()");
    await assertRejects(() => predictor.predict(["1", "12", "2"]), LocalgradError, "12 is damaged");
  }
  assertEquals(ended, ["source", "decoder"]);
  assertEquals(device.liveArrays, 0);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("network() has the parameters and statistics of the network alone", async () => {
  await using device = await open("cpu");
  using trainer = await make({ device });
  const { params, state } = network(tinyModel());
  const names = (tree: object): unknown =>
    Object.entries(tree).map(([name, inner]) => inner.constructor === Object ? [name, names(inner)] : name);
  assertEquals(names(trainer.network()), [["params", names(params)], ["state", names(state)]]);
});
