import { assert, assertAlmostEquals, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { testOn } from "../../tests/parity/fixture.ts";
import { inFolder } from "../../tests/in_folder.ts";
import { make } from "../../tests/tiny_trainer.ts";
import { tinyDataset } from "../../tests/tiny.ts";
import { readMetrics } from "../artifacts/metrics.ts";
import { LocalgradError } from "../base/errors.ts";
import { crossEntropies } from "../local/losses.ts";
import { open } from "../runtime/devices.ts";
import { type Metric, scores } from "./metric.ts";

const own: Metric = { name: "surprise", each: crossEntropies };

await testOn(
  ["cpu", "webgpu"],
  (backend) => `metrics on ${backend} are those of the predictions`,
  async (device) => {
    using trainer = await make({ device });
    const images = tinyDataset(32, 21); // the last batch of 16 is padded
    await trainer.fit(images, { epochs: 1, observers: [] });
    const found = await trainer.evaluate(images, { metrics: ["perClass", "confusion", own] });
    const counted = images.classes.map(() => images.classes.map(() => 0));
    const predictions = await trainer.predict(images.test);
    predictions.forEach(({ best }, i) => counted[images.test.labels[i]!]![best.index]!++);
    assertEquals(found.confusion, counted);
    assertEquals(found.perClass, scores(counted));
    assertAlmostEquals(found.metrics!["surprise"]!, found.loss, 1e-6);
    const right = counted.reduce((sum, row, label) => sum + row[label]!, 0);
    assertAlmostEquals(found.error, 1 - right / 21, 1e-12);
    assertEquals(Object.keys(await trainer.evaluate(images)), ["error", "loss", "images"]);
  },
);

Deno.test("recall and precision of a class", () => {
  assertEquals(scores([[3, 1, 0], [0, 0, 0], [1, 0, 2]]), [
    { images: 4, recall: 3 / 4, precision: 3 / 4 },
    { images: 0, precision: 0 },
    { images: 3, recall: 2 / 3, precision: 1 },
  ]);
});

Deno.test("fit() keeps the metrics, with the time, and shows them in the report", () =>
  inFolder(async (folder) => {
    await using device = await open("cpu");
    using trainer = await make({ device });
    const images = tinyDataset(16, 10);
    const metrics = ["confusion", "perClass", own] as const;
    const began = Date.now();
    const { last } = await trainer.fit(images, { epochs: 1, observers: [], checkpoint: folder, metrics });
    const epoch = (await readMetrics(`${folder}/metrics.jsonl`)).find((line) => line.kind === "epoch");
    if (epoch?.kind !== "epoch") throw new Error("no line of an epoch");
    assertEquals([epoch.confusion, epoch.perClass, epoch.metrics], [
      last!.confusion,
      last!.perClass,
      last!.metrics,
    ]);
    assert(Date.parse(epoch.time!) >= began && Date.parse(epoch.time!) <= Date.now());
    const html = await Deno.readTextFile(`${folder}/report.html`);
    assertStringIncludes(html, "Confusion after epoch 1");
    assertStringIncludes(html, '<th scope="row">green</th>');
    assertStringIncludes(html, "<dt>surprise</dt>");
  }));

Deno.test("metrics that cannot be are refused", async () => {
  await using device = await open("cpu");
  using trainer = await make({ device });
  const images = tinyDataset(16, 4);
  const refused = (metrics: unknown, message: string) =>
    assertRejects(() => trainer.evaluate(images, { metrics: metrics as Metric[] }), LocalgradError, message);
  await refused(["accuracy"], 'no metric "accuracy"; choose topFive, perClass, confusion');
  await refused(["topFive"], "with 3 classes every class is among the five");
  await refused([own, own], '"surprise" is given twice');
  await refused([{ name: "m", of: crossEntropies }], 'has no option "of"');
  await refused("confusion", "metrics must be a list");
  await refused(
    [{ name: "m", each: () => 1 }],
    "the metric m must return one value for each image, [4], not 1",
  );
  const options = { epochs: 1, observers: [], metrics: ["topFive"] as const };
  await assertRejects(() => trainer.fit(images, options), LocalgradError, "fit: with 3 classes");
});
