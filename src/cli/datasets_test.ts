import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { inFolder } from "../../tests/in_folder.ts";
import { encodePng } from "../artifacts/png.ts";
import { LocalgradError } from "../base/errors.ts";
import * as data from "../data.ts";
import { loadImages, loadSet, refuseTask, setupOf } from "./build.ts";
import { publishedBytes } from "./datasets.ts";
import { settingsFrom } from "./settings.ts";
import { knowingClasses } from "./stored_settings.ts";

Deno.test("the published bytes of a data set are those that it takes in training", () => {
  const few = data.residentBytes(data.shapes({ train: 20, test: 10 }));
  assertEquals(publishedBytes("shapes"), few / 30 * (5000 + 1000));
  assertEquals(publishedBytes("cifar10"), 60_000 * (32 * 32 * 3 + 4));
  assertEquals(publishedBytes("svhn"), (73_257 + 26_032) * (32 * 32 * 3 + 4));
  assertEquals(publishedBytes("stl10"), (5000 + 8000) * (96 * 96 * 3 + 4));
  assertEquals(publishedBytes("cifar100-coarse"), 60_000 * (32 * 32 * 3 + 4));
  assertEquals(publishedBytes("mnist"), 70_000 * (28 * 28 * 3 + 4));
  assertEquals(publishedBytes("folder"), 0); // decoded as they are needed
});

Deno.test("networks that label pixels are made for the classes and the size of label maps", async () => {
  const planned = (dataset: string) => {
    const settings = settingsFrom({ dataset, model: "deeplabv3_resnet50_os16" });
    const { model: { classes, input } } = setupOf(settings);
    return [classes, "height" in input && input.height, settings.batch, settings.lr];
  };
  assertEquals(planned("scenes"), [4, 64, 16, 0.02]);
  assertEquals(planned("label-maps"), [21, 512, 8, 0.01]); // before its folder is read
  const scenes = settingsFrom({
    ...{
      dataset: "scenes",
      model: "deeplabv3_resnet50",
      "image-size": "16",
      augment: "crop=2,brightness=0.1",
    },
    ...{ "train-limit": "3", "test-limit": "2" },
  });
  const set = await loadSet(scenes);
  assert("task" in set);
  assertEquals([set.height, set.train.count, set.test?.count], [16, 3, 2]);
  assertEquals([set.augmentation?.border, set.augmentation?.flip], [2, true]);
  await assertRejects(
    () => loadImages(scenes),
    LocalgradError,
    "scenes has a label for each pixel; this takes",
  );
  refuseTask(scenes);
  assertThrows(
    () => refuseTask({ ...scenes, model: "resnet8" }),
    LocalgradError,
    "scenes has a label for each pixel; give --model deeplabv3_resnet50, ",
  );
  assertThrows(
    () => refuseTask({ ...scenes, dataset: "svhn" }),
    LocalgradError,
    "deeplabv3_resnet50 labels pixels, but svhn has one class for each image; give --dataset scenes, label-maps",
  );
});

Deno.test("a folder of label maps gives a run its classes", () =>
  inFolder(async (path) => {
    for (const part of ["train", "val"]) {
      for (const [kind, channels] of [["images", 3], ["labels", 1]] as const) {
        await Deno.mkdir(`${path}/${part}/${kind}`, { recursive: true });
        const bytes = new Uint8Array(8 * 8 * channels).fill(channels === 1 ? 1 : 90);
        await Deno.writeFile(`${path}/${part}/${kind}/a.png`, await encodePng(bytes, 8, 8, channels));
      }
    }
    const model = "deeplabv3_resnet50";
    const asked = settingsFrom({ dataset: "label-maps", model, data: path, "image-size": "16" });
    await assertRejects(() => knowingClasses(asked, path), LocalgradError, "write them into classes.txt");
    await Deno.writeTextFile(`${path}/classes.txt`, "sky\nroad\n");
    const { settings, loaded } = await knowingClasses(asked, path);
    assertEquals([settings.classes, settings.classNames], [2, ["sky", "road"]]);
    assertEquals([loaded?.height, loaded?.train.count, setupOf(settings).model.classes], [16, 1, 2]);
    const wide = settingsFrom({ dataset: "label-maps", model, data: path, "image-size": "8x16" });
    const { loaded: set, settings: known } = await knowingClasses(wide, path);
    assertEquals([set?.height, set?.width, known.imageSize], [8, 16, "8x16"]);
    assertEquals(setupOf(known).model.input, { height: 8, width: 16, channels: 3 });
    const { data: _, ...lost } = asked;
    await assertRejects(() => loadSet(lost), LocalgradError, "needs the folder of pictures with label maps");
  }));
