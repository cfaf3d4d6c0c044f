import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { inFolder } from "../../../tests/in_folder.ts";
import { bits, make, recorder, stopBefore } from "../../../tests/tiny_trainer.ts";
import { tinyDataset } from "../../../tests/tiny.ts";
import { LocalgradError } from "../../base/errors.ts";
import { key } from "../../base/random.ts";
import type { ImagePart, LabelledImages } from "../../data/images.ts";
import { endToEnd } from "../../local/methods/end_to_end.ts";
import { open } from "../../runtime/devices.ts";
import { splitOf } from "./split.ts";

Deno.test("a split divides the images by the seed alone", () => {
  const { training, validation } = splitOf(key(3), 50, 0.2);
  assertEquals([training.length, validation.length], [40, 10]);
  assertEquals([...training, ...validation].sort((a, b) => a - b), Array.from({ length: 50 }, (_, i) => i));
  assertEquals(splitOf(key(3), 50, 0.2), { training, validation });
  assert(splitOf(key(4), 50, 0.2).validation.some((index, i) => index !== validation[i]));
});

/** The images at some indices, as a part of their own. */
function pick({ images, labels, count }: LabelledImages, indices: Uint32Array): LabelledImages {
  const size = images.length / count;
  const chosen = [...indices].flatMap((i) => [...images.subarray(i * size, (i + 1) * size)]);
  return {
    images: Uint8Array.from(chosen),
    labels: Int32Array.from(indices, (i) => labels[i]!),
    count: indices.length,
  };
}

/** The same images, read on demand. */
function streamed(part: LabelledImages): ImagePart {
  const { labels, count } = part;
  return {
    labels,
    count,
    open: () => ({
      read: (indices) => Promise.resolve(pick(part, indices).images),
      done: { images: 0, milliseconds: 0 },
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
  };
}

Deno.test("fit() with a validation split trains on the rest and evaluates on it, in memory and streamed", async () => {
  await using device = await open("cpu");
  const { test: _, ...whole } = tinyDataset(40, 4);
  const { training, validation } = splitOf(key(5), 40, 0.25);
  for (const stream of [false, true]) {
    const part = stream ? streamed : (part: LabelledImages) => part;
    using one = await make({ device, method: endToEnd(), seed: 5 });
    const { observer, epochs } = recorder();
    const dataset = { ...whole, train: part(whole.train) };
    const { last } = await one.fit(dataset, { epochs: 2, validation: 0.25, observers: [observer] });
    assertEquals([last!.images, one.stepsDone, epochs.length], [10, 4, 2]); // 30 images, 16 at a time
    using other = await make({ device, method: endToEnd(), seed: 5 });
    const divided = {
      ...whole,
      train: part(pick(whole.train, training)),
      test: part(pick(whole.train, validation)),
    };
    assertEquals((await other.fit(divided, { epochs: 2, observers: [] })).last, last);
    assertEquals(bits(await other.snapshot()), bits(await one.snapshot()));
  }
});

Deno.test("a resumed run has the same split, and no other", () =>
  inFolder(async (folder) => {
    await using device = await open("cpu");
    const images = tinyDataset(40, 4);
    const options = { epochs: 2, validation: 0.25, observers: [] };
    using whole = await make({ device, method: endToEnd() });
    await whole.fit(images, options);
    using first = await make({ device, method: endToEnd() });
    await first.fit(images, { ...options, checkpoint: folder, signal: stopBefore(4) });
    using second = await make({ device, method: endToEnd() });
    const resumed = { ...options, checkpoint: folder, resume: true };
    for (const validation of [0.5, undefined]) {
      const { validation: _, ...rest } = resumed;
      await assertRejects(
        () => second.fit(images, validation === undefined ? rest : { ...rest, validation }),
        LocalgradError,
        "has validation 0.25, not",
      );
    }
    await second.fit(images, resumed);
    assertEquals(bits(await second.snapshot()), bits(await whole.snapshot()));
    const html = await Deno.readTextFile(`${folder}/report.html`);
    assertStringIncludes(html, "<dt>lowest validation error</dt>");
  }));

Deno.test("fit() trains without a test part, and refuses what then cannot be", () =>
  inFolder(async (folder) => {
    await using device = await open("cpu");
    const { test: _, ...images } = tinyDataset(16, 4);
    using trainer = await make({ device, method: endToEnd() });
    const { observer, events } = recorder();
    const result = await trainer.fit(images, { epochs: 2, observers: [observer], checkpoint: folder });
    assertEquals(result, { stopped: false, stoppedEarly: false });
    assertEquals(events, ["start", "save last", "save last", "save last", "done"]);
    const refused = (options: object, message: string) =>
      assertRejects(
        () => trainer.fit(images, { epochs: 3, observers: [], ...options }),
        LocalgradError,
        message,
      );
    await refused({ earlyStopping: { patience: 1 } }, "colours has no test part; give validation: 0.1");
    for (const validation of [0, 1, NaN]) {
      await refused({ validation }, "validation must be above 0 and below 1");
    }
    await refused({ validation: 0.99 }, "of 16 training images sets 16 aside");
    await refused({ validation: 0.01 }, "sets 0 aside");
    const none = images as Parameters<typeof trainer.evaluate>[0];
    await assertRejects(() => trainer.evaluate(none), LocalgradError, "evaluate: colours has no test part");
  }));

Deno.test("evaluation takes more images than training had", async () => {
  await using device = await open("cpu");
  using trainer = await make({ device, method: endToEnd() });
  const { last } = await trainer.fit(tinyDataset(16, 50), { epochs: 1, observers: [] });
  assertEquals(last!.images, 50);
  assertEquals((await trainer.evaluate(tinyDataset(2, 83))).images, 83);
});
