import { assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { shapes } from "../data.ts";
import { publishedSgd } from "../optim/published.ts";
import { setupOf } from "./build.ts";
import { settingsFrom } from "./settings.ts";
import { storedSettings, withClasses } from "./stored_settings.ts";

Deno.test("storedSettings() returns every setting, and names an invalid one", () => {
  const given = {
    ...{
      dataset: "folder",
      model: "resnet20",
      modules: "3",
      method: "man+dgl",
      "average-decay": "0.9",
      depth: "2",
      ahead: "3",
      joint: "4",
      "sgr-weight": "0.5",
      "sgr-distance": "cosine",
      cascade: "3",
      patches: "2",
      "cascade-weight": "0.9",
      context: "R2",
    },
    ...{ optimizer: "sgd", "sgd-momentum": "0.8", "weight-decay": "0", decay: "matrices", clip: "value:2" },
    ...{
      freeze: "conv1,bn1",
      "weight-average": "0.99",
      accumulate: "2",
      "lr-schedule": "restarts",
      warmup: "9s",
    },
    ...{ patience: "3", "patience-metric": "loss", "min-delta": "0" },
    ...{
      batch: "16",
      epochs: "3",
      "eval-every": "2",
      "save-every": "10m",
      "schedule-epochs": "5",
      lr: "0.1",
    },
    ...{
      "train-limit": "100",
      "test-limit": "50",
      "image-size": "32",
      seed: "7",
      precision: "f32",
      data: "x",
    },
    augment:
      "crop=2,flip=no,randaugment,brightness=0.2,contrast=0.2,saturation=0.2,hue=0.1,erase,mixup=0.2,cutmix=1",
    recompute: true,
    memoryLimit: 2 ** 31,
    "batch-norm": "synchronised",
  } as const;
  const before = { ...settingsFrom(given), classes: 2, classNames: ["a", "b"] };
  const read = (settings: unknown) => storedSettings(JSON.parse(JSON.stringify(settings)), "runs/a");
  assertEquals(read(before), before);
  const cuts = [["layer1.0"], { balanced: 3 }, { published: "man", modules: 16 }];
  for (const modules of cuts) assertEquals(read({ ...before, modules }).modules, modules as never);
  assertEquals(read({ ...before, saveEvery: { steps: 5 } }).saveEvery, { steps: 5 });

  assertEquals(read(before).imageSize, 32); // as earlier versions stored it
  assertEquals(read({ ...before, imageSize: "16x32" }).imageSize, "16x32");

  const cases: [string, { [name: string]: unknown }][] = [
    ['settings.imageSize is "0x5", not a size, such as 512x1024', { imageSize: "0x5" }],
    ['runs/a: settings.batch is "16", not a whole number of at least 1; use another checkpoint', {
      batch: "16",
    }],
    ["settings.method is null, not one of ", { method: null }],
    ["settings.modules.published is 3, not one of man", { modules: { published: 3, modules: 2 } }],
    ['settings.methodOptions.fusion is "all", not one of sum', { methodOptions: { fusion: "all" } }],
    ["settings.lr is 0, not a number above 0", { lr: 0 }],
    ['settings.optimizer.name is "adam", not one of sgd', { optimizer: { name: "adam" } }],
    ["settings.rates.schedule is 1, not one of published", { rates: { schedule: 1 } }],
    ["settings.augment.erase is null, not a number", { augment: { erase: null } }],
    ["settings.classNames[1] is missing", { classNames: ["a", undefined] }],
  ];
  for (const [message, change] of cases) {
    assertThrows(() => storedSettings({ ...before, ...change }, "runs/a"), LocalgradError, message);
  }
  assertThrows(() => storedSettings({ step: 3 }, "runs/a"), LocalgradError, "was not made by train");
});

Deno.test("settings of 0.1, with the options of --momentum and --schedule, make the same run", () => {
  // As `train --method man+infopro --momentum 0.99 --schedule stage` of 0.1 stored them.
  const stored = {
    ...{ dataset: "shapes", model: "resnet32", modules: 16, method: "man+infopro" },
    methodOptions: { momentum: 0.99, schedule: "stage" },
    ...{ batch: 64, epochs: 3, lr: 0.05, seed: 1 },
  };
  const before = storedSettings(stored, "runs/a");
  assertEquals(settingsFrom({}, before), before); // --resume without flags
  const again = settingsFrom({ "average-decay": "0.99", "weight-schedule": "stage" }, before);
  assertEquals(again.methodOptions, before.methodOptions);
  const { method, optimizer } = setupOf(again);
  assertEquals(method.options["momentum"], 0.99);
  assertEquals((method.options["inner"] as { schedule: string }).schedule, "stage");
  // The configuration of the trainer, which `fit` compares with the checkpoint's.
  assertEquals([optimizer.name, optimizer.options], ["sgd", { ...publishedSgd, dampening: 0 }]);
});

Deno.test("withClasses() rejects classes other than the run's by name", () => {
  const settings = settingsFrom({ dataset: "folder", data: "x" });
  const folder = (...classes: string[]) => ({ ...shapes({ train: 2, test: 2 }), name: "folder", classes });
  const known = withClasses(settings, folder("a", "b", "c"));
  assertEquals([known.classes, known.classNames], [3, ["a", "b", "c"]]);
  assertEquals(withClasses(known, folder("a", "b", "c")), known);
  const cases: [string, string[]][] = [
    ['folder has no class "b" and has "d", which the run does not have', ["a", "c", "d"]],
    ['folder has no class "b" and 1 more; give', ["a"]],
    ['folder has ".hidden", which the run does not have', [".hidden", "a", "b", "c"]],
    ["folder has the run's classes in another order", ["b", "a", "c"]],
  ];
  for (const [message, classes] of cases) {
    assertThrows(() => withClasses(known, folder(...classes)), LocalgradError, message);
  }
  const { classNames: _, ...older } = known;
  assertEquals(withClasses(older, folder("x", "y", "z")).classNames, ["x", "y", "z"]);
  assertThrows(
    () => withClasses(older, folder("x", "y")),
    LocalgradError,
    "started with 3 classes, but folder now has 2",
  );
});
