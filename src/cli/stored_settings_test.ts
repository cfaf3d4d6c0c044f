import { assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { shapes } from "../data.ts";
import { settingsFrom } from "./settings.ts";
import { storedSettings, withClasses } from "./stored_settings.ts";

Deno.test("storedSettings() returns every setting, and names an invalid one", () => {
  const given = {
    ...{ dataset: "folder", model: "resnet20", modules: "3", method: "man+dgl", momentum: "0.9", depth: "2" },
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
    recompute: true,
  } as const;
  const before = { ...settingsFrom(given), classes: 2, classNames: ["a", "b"] };
  const read = (settings: unknown) => storedSettings(JSON.parse(JSON.stringify(settings)), "runs/a");
  assertEquals(read(before), before);
  const cuts = [["layer1.0"], { balanced: 3 }, { published: "man", modules: 16 }];
  for (const modules of cuts) assertEquals(read({ ...before, modules }).modules, modules as never);
  assertEquals(read({ ...before, saveEvery: { steps: 5 } }).saveEvery, { steps: 5 });

  const cases: [string, { [name: string]: unknown }][] = [
    ['runs/a: settings.batch is "16", not a whole number of at least 1; use another checkpoint', {
      batch: "16",
    }],
    ["settings.method is null, not one of ", { method: null }],
    ["settings.modules.published is 3, not one of man", { modules: { published: 3, modules: 2 } }],
    ['settings.methodOptions.fusion is "all", not one of sum', { methodOptions: { fusion: "all" } }],
    ["settings.lr is 0, not a number above 0", { lr: 0 }],
    ["settings.classNames[1] is missing", { classNames: ["a", undefined] }],
  ];
  for (const [message, change] of cases) {
    assertThrows(() => storedSettings({ ...before, ...change }, "runs/a"), LocalgradError, message);
  }
  assertThrows(() => storedSettings({ step: 3 }, "runs/a"), LocalgradError, "was not made by train");
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
