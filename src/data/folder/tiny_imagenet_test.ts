import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Files, greyPng, write } from "../../../tests/dataset_files.ts";
import { inFolder } from "../../../tests/in_folder.ts";
import { LocalgradError } from "../../base/errors.ts";
import { imageFolder } from "./folder.ts";
import { listTinyImagenet } from "./tiny_imagenet.ts";

const text = (value: string) => new TextEncoder().encode(value);
const picture = greyPng(8, 8, [90]);

/** Tiny ImageNet's layout with three classes. */
const files = (): Files => ({
  "wnids.txt": text("n02\nn01\nn03\n"),
  "words.txt": text("n00\tentity\nn01\tgoldfish, Carassius auratus\nn02\tcrane\nn03\tcrane\n"),
  "train/n01/images/n01_0.JPEG": picture,
  "train/n01/images/n01_1.JPEG": picture,
  "train/n01/n01_boxes.txt": text("n01_0.JPEG\t0\t0\t7\t7\n"),
  "train/n02/images/n02_0.JPEG": picture,
  "train/n03/images/n03_0.JPEG": picture,
  "val/images/val_0.JPEG": picture,
  "val/images/val_1.JPEG": picture,
  "val/val_annotations.txt": text("val_0.JPEG\tn01\t0\t0\t7\t7\nval_1.JPEG\tn02\t0\t0\t7\t7\n"),
  "test/images/test_0.JPEG": picture,
});

Deno.test("Tiny ImageNet is listed by wnids.txt, words.txt and val_annotations.txt", () =>
  inFolder(async (dir) => {
    await write(dir, files());
    const { classes, train, test, leftOut } = await listTinyImagenet(dir);
    assertEquals([classes, leftOut], [["crane (n02)", "goldfish", "crane (n03)"], undefined]);
    const names = (paths: readonly string[]) =>
      paths.map((path) => path.slice(path.lastIndexOf("/") + 1, -5));
    assertEquals([names(train.paths), [...train.labels]], [["n02_0", "n01_0", "n03_0", "n01_1"], [
      0,
      1,
      2,
      1,
    ]]);
    assertEquals([names(test.paths), [...test.labels]], [["val_1", "val_0"], [0, 1]]);
    const set = await imageFolder({ path: dir, size: 8, threads: 1 });
    assertEquals([set.train.count, set.test.count, set.classes], [4, 2, classes]);
    await using reader = set.test.open();
    assertEquals([...new Set(await reader.read(Uint32Array.of(0, 1)))], [90]);
    await Deno.remove(`${dir}/words.txt`);
    assertEquals((await listTinyImagenet(dir)).classes, ["n02", "n01", "n03"]);
  }));

Deno.test("a damaged Tiny ImageNet is refused in one line that names the file", () =>
  inFolder(async (dir) => {
    const faults: [string, (f: Files) => void][] = [
      ["val/val_annotations.txt does not exist", (f) => delete f["val/val_annotations.txt"]],
      ["train/n03/images is not a folder; unpack", (f) => delete f["train/n03/images/n03_0.JPEG"]],
      ['line 2 has the class "n09", which wnids.txt does not have', (f) => {
        f["val/val_annotations.txt"] = text("val_0.JPEG\tn01\nval_1.JPEG\tn09\n");
      }],
      [
        "val/images has no val_1.JPEG, which val_annotations.txt names",
        (f) => delete f["val/images/val_1.JPEG"],
      ],
      ["val_2.JPEG has no class", (f) => f["val/images/val_2.JPEG"] = picture],
      ["wnids.txt is empty", (f) => f["wnids.txt"] = new Uint8Array()],
      ["wnids.txt has 1 classes", (f) => f["wnids.txt"] = text("n01\n")],
      ["wnids.txt is damaged: it has n01 twice", (f) => f["wnids.txt"] = text("n01\nn02\nn01\n")],
    ];
    for (const [i, [message, fault]] of faults.entries()) {
      const content = files();
      fault(content);
      await write(`${dir}/${i}`, content);
      const error = await assertRejects(() => imageFolder({ path: `${dir}/${i}` }), LocalgradError);
      assert(error.message.includes(message) && error.message.includes(dir), error.message);
      assertEquals(error.message.split("\n").length, 1);
    }
  }));
