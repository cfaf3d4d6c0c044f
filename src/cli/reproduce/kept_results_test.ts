import { assert, assertEquals, assertRejects } from "@std/assert";
import { inFolder } from "../../../tests/in_folder.ts";
import { LocalgradError } from "../../base/errors.ts";
import { shapes } from "../../data.ts";
import { open } from "../../runtime/devices.ts";
import { frontier } from "./frontier_table.ts";
import { keep, type Kept, keptSettings, readKept, shownResult } from "./kept_results.ts";
import type { Finished } from "./results.ts";
import { timingOf } from "./row_timing.ts";
import { settingsFrom } from "../settings.ts";
import { tables } from "./tables.ts";

const row = frontier.rows.find(({ name }) => name === "resnet20-k9-man+greedy-ahead3-joint4")!;
const settings = keptSettings(row, { dataset: "cifar10", batch: 32, lr: 0.05 });
const result: Finished = {
  ...{ finalError: 0.3, bestError: 0.29, bestEpoch: 9, imagesPerSecond: 50, seconds: 700, steps: 3130 },
  ...{ plannedPeakBytes: 1000, endToEndPeakBytes: 2000, heldBytes: 1500, modules: 2, cut: ["a–b", "c"] },
  parameters: { backbone: 1, bias: 2, ema: 3, heads: 4 },
};
const made: Kept = { row: row.name, seed: 1, settings, result };

Deno.test("a kept result has no times but those of its timing, and is of its settings only", () =>
  inFolder(async (dir) => {
    const folder = `${dir}/docs/frontier`;
    assertEquals(await readKept(folder, row, 1, settings), undefined);
    await keep(folder, made);
    const found = await readKept(folder, row, 1, settings);
    const { imagesPerSecond: _speed, seconds: _seconds, ...figures } = result;
    assertEquals(found, { ...made, result: figures });
    assertEquals(shownResult(found!), figures);
    const timing = { secondsPerStep: 0.064, steps: 36, device: "2 threads" };
    await keep(folder, { ...found!, timing });
    const timed = await readKept(folder, row, 1, settings);
    assertEquals(timed, { ...made, result: figures, timing });
    assertEquals(shownResult(timed!), { ...figures, imagesPerSecond: 500 });
    assertEquals(await readKept(folder, row, 0, settings), undefined);
    await assertRejects(
      () => readKept(folder, row, 1, { ...settings, lr: 0.1 }),
      LocalgradError,
      `${folder}/${row.name}-seed1.json was started with --lr 0.05, not 0.1`,
    );
  }));

Deno.test("the results that are kept can be read, and are of rows with the table's settings", async () => {
  for (const { kept, rows, recipe, dataset } of Object.values(tables).filter((table) => "kept" in table)) {
    if (kept === undefined || recipe === undefined) continue;
    for await (const { name: file } of Deno.readDir(kept)) {
      const [, name, seed] = /^(.*)-seed(\d+)\.json$/.exec(file) ?? [];
      const row = rows.find((row) => row.name === name);
      if (row === undefined) throw new Error(`${file} is of no row`);
      const found = await readKept(kept, row, Number(seed), keptSettings(row, { dataset, ...recipe }));
      assert(found !== undefined && found.row === name && found.result.finalError < 0.9, file);
    }
  }
});

Deno.test("timingOf() times some steps of a run, and names what computed them without a path", async () => {
  await using device = await open("cpu", { engine: "wasm" });
  const settings = settingsFrom({ model: "resnet8", modules: "3", method: "greedy", batch: "4" });
  const timing = await timingOf(settings, shapes({ train: 64, test: 8 }), device);
  assertEquals(timing.steps, 36);
  assert(timing.secondsPerStep > 0 && !timing.device.includes("("), timing.device);
});
