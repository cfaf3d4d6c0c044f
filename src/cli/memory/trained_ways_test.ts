import { assertEquals, assertRejects } from "@std/assert";
import { inFolder } from "../../../tests/in_folder.ts";
import { LocalgradError } from "../../base/errors.ts";
import { keep } from "../reproduce/kept_results.ts";
import type { Finished } from "../reproduce/results.ts";
import { trainedWays } from "./trained_ways.ts";

const result: Finished = {
  ...{ finalError: 0.3, bestError: 0.29, bestEpoch: 9, plannedPeakBytes: 1000, endToEndPeakBytes: 2000 },
  ...{ heldBytes: 1500, modules: 3, parameters: { backbone: 1, bias: 2, ema: 3, heads: 4 } },
};
const shared = { dataset: "cifar10", batch: 32, epochs: 10 };
const asked = { model: "resnet20", dataset: "cifar10", batch: 32 } as const;

Deno.test("kept results of a network are ways to train it, with the mean error over seeds", () =>
  inFolder(async (dir) => {
    assertEquals(await trainedWays(`${dir}/none`, asked), []);
    const settings = { model: "resnet20", modules: { balanced: 3 }, method: "augLocal", ...shared };
    const cut = ["stem", "layer1.0–layer1.1", "layer1.2–layer2.0", "layer2.1–layer3.2"];
    for (const [seed, finalError] of [0.3, 0.4].entries()) {
      const kept = { row: "a", seed, settings: { ...settings, options: { depth: 3 } } };
      const timing = { secondsPerStep: 0.02, steps: 36, device: "cpu" };
      await keep(dir, {
        ...{ ...kept, result: { ...result, cut, finalError } },
        ...(seed === 0 ? {} : { timing }),
      });
    }
    await keep(dir, { row: "b", seed: 0, settings: { ...settings, modules: 9 }, result: { ...result, cut } });
    await keep(dir, { row: "c", seed: 0, settings: { ...settings, model: "resnet32" }, result });
    assertEquals(await trainedWays(dir, asked), [
      {
        ...{ method: "augLocal", options: { depth: 3 }, error: 0.35, errors: [0.3, 0.4] },
        stepSeconds: 0.02,
        cut: ["layer1.1", "layer2.0"], // balanced boundaries as they were trained, whatever the device now
      },
      { method: "augLocal", options: {}, error: 0.3, errors: [0.3], cut: 9 },
    ]);
    assertEquals((await trainedWays(dir, { ...asked, model: "resnet32" })).length, 1);
    await keep(dir, { row: "d", seed: 0, settings: { ...settings, epochs: 30 }, result });
    await assertRejects(
      () => trainedWays(dir, asked),
      LocalgradError,
      "the budgets of a, seed 0, and of d, seed 0, differ; keep them in two folders",
    );
    await keep(dir, { row: "d", seed: 0, settings: { ...settings, method: "nothing" }, result });
    await assertRejects(() => trainedWays(dir, asked), LocalgradError, "d-seed0.json");
  }));
