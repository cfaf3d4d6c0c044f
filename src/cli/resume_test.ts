import { assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { flagsOf, refuseChange } from "./resume.ts";
import { settingsFrom, trainingFlags } from "./settings.ts";

/** A value of each flag, in the text that a user types. */
const VALUES = {
  ...{ dataset: "folder", "image-size": "48", model: "resnet18", method: "man+infopro" },
  ...{ modules: "4", split: "balanced", "average-decay": "0.9", fusion: "emaOnly", start: "random" },
  ...{ average: "trained", moves: "afterStep", statistics: "copy", head: "mlp", task: "contrastive" },
  ...{
    anchors: "paired",
    "weight-schedule": "stage",
    depth: "2",
    ahead: "2",
    patches: "2",
    joint: "3",
    optimizer: "adamw",
    decay: "matrices",
  },
  ...{ "sgd-momentum": "0.5", "weight-decay": "0.01", clip: "value:0.5", freeze: "conv1,bn1" },
  ...{ "weight-average": "0.999", accumulate: "2", loss: "cross-entropy", "label-smoothing": "0.1" },
  ...{ "class-weights": "1,2", batch: "64", epochs: "7", "eval-every": "3", validation: "0.25" },
  ...{ metrics: "topFive,confusion", "save-every": "2.5m", "schedule-epochs": "9", "train-limit": "99" },
  ...{ "test-limit": "50", lr: "0.3", "lr-schedule": "cosine", warmup: "5s", patience: "4" },
  ...{ "patience-metric": "loss", "min-delta": "0.5", seed: "11" },
  ...{ "sgr-weight": "0.5", "sgr-distance": "cosine", context: "R1E" },
  ...{ cascade: "3", "cascade-weight": "0.9" },
  augment: "flip=no,randaugment=2:9,crop=2,hue=0.1,erase=0.5,mixup=0.2,cutmix=1",
  "batch-norm": "synchronised",
  recompute: true,
  "memory-limit": "2147483648",
} as const;

Deno.test("flagsOf() gives the flags that the settings came from", () => {
  const all = { ...VALUES, precision: "f32", data: "/images" } as const;
  assertEquals(flagsOf(settingsFrom(all)), all);
  const { split: _, modules: __, ...rest } = all;
  const others = [
    { ...rest, after: "layer1.0,layer2.0" },
    { ...rest, modules: "3" },
    { ...rest, modules: "16", split: "infopro" },
    { ...all, "image-size": "48x96" },
    { ...all, clip: "2", "weight-average": "equal", warmup: "3", "save-every": "500", metrics: "none" },
  ] as const;
  for (const given of others) assertEquals(flagsOf(settingsFrom(given)), given);
  const known = Object.keys({ ...all, after: "" });
  assertEquals(Object.keys(trainingFlags).filter((flag) => !known.includes(flag)), []);
});

Deno.test("a run that is resumed with another setting is refused by its flag, whichever it is", () => {
  const refusal = (before: Parameters<typeof settingsFrom>[0], given: Parameters<typeof settingsFrom>[0]) => {
    const then = settingsFrom(before);
    const error = assertThrows(() => refuseChange(then, settingsFrom(given, then)), LocalgradError);
    return error.message.replace("the run was started ", "").replace(/; omit the flag.*/, "");
  };
  assertEquals(refusal({ optimizer: "adamw" }, { optimizer: "lion" }), "with --optimizer adamw, not lion");
  assertEquals(refusal({}, { optimizer: "lion" }), "with --optimizer sgd, the default, not lion");
  assertEquals(refusal({}, { clip: "2" }), "without --clip");
  assertEquals(refusal({ clip: "2" }, { clip: "value:1" }), "with --clip 2, not value:1");
  assertEquals(refusal({}, { recompute: true }), "without --recompute");
  assertEquals(refusal({}, { after: "layer1.0" }), "with --modules 3, not --after layer1.0");
  assertEquals(
    refusal({ modules: "2" }, { modules: "2", split: "balanced" }),
    "with --modules 2, not --modules 2 --split balanced",
  );
  const folder = { dataset: "folder", "image-size": "64" } as const;
  assertEquals(refusal(folder, { "image-size": "64x128" }), "with --image-size 64, not 64x128");
  assertEquals(
    refusal({ ...folder, "image-size": "64x128" }, { "image-size": "128x64" }),
    "with --image-size 64x128, not 128x64",
  );
  assertEquals(refusal({}, { "average-decay": "0.9" }), "with --average-decay 0.995, the default, not 0.9");
  // Every flag but those that may change, given to a run that was started without it.
  const free = [
    "epochs",
    "eval-every",
    "memory-limit",
    "metrics",
    "save-every",
    "schedule-epochs",
    "patience",
  ];
  for (const [flag, value] of Object.entries({ ...VALUES, loss: "squared-error" })) {
    if ([...free, "patience-metric", "min-delta", "image-size", "split"].includes(flag)) continue;
    assertEquals(refusal({}, { [flag]: value }).includes(`--${flag}`), true, flag);
  }
});

Deno.test("a run is resumed with settings that may change, with its own ones, and with defaults given", () => {
  const then = settingsFrom({ "weight-decay": "0.5" });
  const given = { epochs: "20", metrics: "none", patience: "3", data: "/moved", optimizer: "sgd" } as const;
  refuseChange(then, settingsFrom({ ...given, "weight-decay": "0.50", loss: "cross-entropy" }, then));
});
