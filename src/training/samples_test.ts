/** `samples` of `fit`: which images a report shows, and what the network takes them for. */

import { assertAlmostEquals, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { inFolder } from "../../tests/in_folder.ts";
import { tinyDataset } from "../../tests/tiny.ts";
import { make } from "../../tests/tiny_trainer.ts";
import { encodePng } from "../artifacts/png.ts";
import { report } from "../artifacts/report.ts";
import { readReport } from "../artifacts/run_record.ts";
import type { Samples } from "../artifacts/samples.ts";
import { LocalgradError } from "../base/errors.ts";
import { open } from "../runtime/devices.ts";
import { choose } from "./samples.ts";

Deno.test("choose() takes the most confident errors, and recognised images of each class in turn", () => {
  const of = (label: number, predicted: number, probability: number, index: number) => ({
    label,
    predicted,
    probability,
    index,
  });
  const images = [
    of(0, 0, 0.9, 0),
    of(0, 0, 0.8, 1),
    of(1, 0, 0.6, 2),
    of(1, 1, 0.7, 3),
    of(2, 1, 0.95, 4),
    of(2, 0, NaN, 5),
    of(0, 1, 0.7, 6),
  ];
  const indices = (count: number) => {
    const { wrong, right } = choose(images, count);
    return [wrong.map(({ index }) => index), right.map(({ index }) => index)];
  };
  assertEquals(indices(4), [[4, 6], [0, 3]]);
  assertEquals(indices(20), [[4, 6, 2], [0, 3, 1]]);
  assertEquals(indices(1), [[], [0]]);
});

Deno.test("a run's report shows samples with what the network takes them for, also when made again", () =>
  inFolder(async (dir) => {
    const data = tinyDataset(48, 11);
    await using device = await open("cpu");
    {
      using trainer = await make({ device });
      await trainer.fit(data, { epochs: 1, observers: [], checkpoint: dir, samples: 6 });
      const run = await readReport(dir);
      const { samples } = run;
      const predictions = await trainer.predict(data.test);
      const wrong = predictions.filter(({ best }, i) => best.index !== data.test.labels[i]);
      const expected = Math.max(...wrong.map(({ best }) => best.probability));
      assertEquals([samples?.of, samples?.among], ["test", 11]);
      assertEquals(samples?.wrong.length, Math.min(3, wrong.length));
      if (wrong.length > 0) assertAlmostEquals(samples?.wrong[0]?.probability ?? 0, expected, 1e-4);
      for (const { label, predicted, png } of [...samples?.wrong ?? [], ...samples?.right ?? []]) {
        const pictures = await Promise.all(predictions.map(async ({ best }, i) => {
          const pixels = data.test.images.subarray(i * 192, (i + 1) * 192);
          return { best, label: data.test.labels[i], png: (await encodePng(pixels, 8, 8, 3)).toBase64() };
        }));
        const found = pictures.find((each) => each.png === png); // the very pixels
        assertEquals([found?.label, found?.best.index], [label, predicted]);
      }
      const page = await Deno.readTextFile(`${dir}/report.html`);
      assertStringIncludes(page, "<h2>Predictions</h2>");
      assertEquals(report([run]), page);

      await trainer.fit(data, { epochs: 2, observers: [], checkpoint: dir, resume: true });
      assertEquals((await readReport(dir)).samples, undefined); // those of the network before are gone
      // Images that are read on demand, as those of a folder.
      const { images, ...rest } = data.test;
      const read = (indices: Uint32Array) =>
        Uint8Array.from([...indices].flatMap((i) => [...images.subarray(i * 192, (i + 1) * 192)]));
      const open = () => ({
        read: (indices: Uint32Array) => Promise.resolve(read(indices)),
        done: { images: 0, milliseconds: 0 },
        [Symbol.asyncDispose]: () => Promise.resolve(),
      });
      const shown: Samples[] = [];
      const observers = [{ samples: (samples: Samples) => void shown.push(samples) }];
      await trainer.fit({ ...data, test: { ...rest, open } }, { epochs: 3, observers, samples: 4 });
      assertEquals(shown.map(({ among, wrong, right }) => [among, wrong.length + right.length > 0]), [[
        11,
        true,
      ]]);
      for (const { label, png } of shown.flatMap(({ wrong, right }) => [...wrong, ...right])) {
        const pngs = await Promise.all(
          Array.from(
            rest.labels,
            async (_, i) => (await encodePng(read(Uint32Array.of(i)), 8, 8, 3)).toBase64(),
          ),
        );
        assertEquals(rest.labels[pngs.indexOf(png)], label);
      }
      await assertRejects(
        () => trainer.fit(data, { epochs: 3, samples: 0.5 }),
        LocalgradError,
        "samples must be",
      );
    }
    assertEquals(device.liveArrays, 0);
  }));
