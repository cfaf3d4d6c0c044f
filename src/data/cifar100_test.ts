import { assert, assertEquals, assertRejects } from "@std/assert";
import { createHash } from "node:crypto";
import facts from "../../tests/fixtures/image_files.json" with { type: "json" };
import { type Files, tarOf, write } from "../../tests/dataset_files.ts";
import { hash } from "../../tests/fixtures/formula.ts";
import { inFolder } from "../../tests/in_folder.ts";
import { LocalgradError } from "../base/errors.ts";
import { cifar100, type Cifar100Layout, loadCifar100 } from "./cifar100.ts";
import { CLASSES, SUPERCLASSES } from "./cifar100_classes.ts";

const RECORD = 3074;

/** Records: the superclass, the class, then three planes. */
const records = (part: string, count: number) =>
  Uint8Array.from({ length: count * RECORD }, (_, i) => {
    const [n, place] = [Math.floor(i / RECORD), i % RECORD];
    if (place === 0) return (n * 3 + 19) % 20;
    return place === 1 ? (n * 37 + 99) % 100 : hash(`cifar100.${part}`, n * 3072 + place - 2) >>> 24;
  });
const files = (): Files => ({ "train.bin": records("train", 3), "test.bin": records("test", 2) });
const layout: Cifar100Layout = { archive: { url: "" }, records: { "train.bin": 3, "test.bin": 2 } };

Deno.test("cifar100() reads images like numpy, with classes or superclasses, from a folder or the archive", () =>
  inFolder(async (dir) => {
    await write(`${dir}/cifar-100-binary`, files());
    const set = await loadCifar100({ path: dir }, layout);
    const coarse = await loadCifar100({ path: dir, labels: "coarse" }, layout);
    for (const part of ["train", "test"] as const) {
      const { images, sha256, fine, coarse: superclasses } = facts.cifar100[part];
      assertEquals([set[part].count, set.height, set.width, set.channels], images);
      assertEquals(createHash("sha256").update(set[part].images).digest("hex"), sha256);
      assertEquals(coarse[part].images, set[part].images);
      assertEquals([[...set[part].labels], [...coarse[part].labels]], [fine, superclasses]);
    }
    assertEquals([set.name, set.classes.length, set.classes[99]], ["cifar100", 100, "worm"]);
    assertEquals([coarse.name, coarse.classes.length, coarse.classes[19]], [
      "cifar100-coarse",
      20,
      "vehicles_2",
    ]);
    const archive = tarOf(Object.fromEntries(
      Object.entries({ ...files(), "fine_label_names.txt": new Uint8Array(9) })
        .map(([name, bytes]) => [`cifar-100-binary/${name}`, bytes]),
    ));
    const zipped = new Blob([archive]).stream().pipeThrough(new CompressionStream("gzip"));
    await Deno.writeFile(`${dir}/a.tar.gz`, zipped);
    assertEquals(await loadCifar100({ path: `${dir}/a.tar.gz` }, layout), set);
  }));

Deno.test("the classes of CIFAR-100 are in the order of the alphabet, as its label files have them", () => {
  for (const names of [CLASSES, SUPERCLASSES]) {
    assertEquals(names.toSorted(), [...names]);
    assertEquals(new Set(names).size, names.length);
  }
});

Deno.test("cifar100() names the file that is missing, truncated, too long or mislabelled, and other sets", () =>
  inFolder(async (dir) => {
    const put = (name: string, place: number, label: number) => (f: Files) => void (f[name]![place] = label);
    const faults: [string, (f: Files) => void][] = [
      ['has no test.bin; download "CIFAR-100 binary version"', (f) => delete f["test.bin"]],
      [
        "train.bin is truncated: 9221 bytes instead of 9222",
        (f) => f["train.bin"] = f["train.bin"]!.slice(1),
      ],
      ["test.bin is too long: 9222 bytes", (f) => f["test.bin"] = records("test", 3)],
      ["train.bin is mislabelled: record 1 has superclass 20", put("train.bin", RECORD, 20)],
      ["test.bin is mislabelled: record 0 has class 100, but the last class is 99", put("test.bin", 1, 100)],
    ];
    for (const [i, [message, fault]] of faults.entries()) {
      const content = files();
      fault(content);
      const path = `${dir}/${i}`;
      await write(path, content);
      const error = await assertRejects(() => loadCifar100({ path }, layout), LocalgradError);
      assert(error.message.includes(message) && error.message.includes(path), error.message);
    }
    for (const [sign, other] of [["train", "the Python version"], ["data_batch_1.bin", "CIFAR-10"]]) {
      await write(`${dir}/${sign}-folder`, { [sign!]: new Uint8Array(1) });
      await assertRejects(
        () => cifar100({ path: `${dir}/${sign}-folder` }),
        LocalgradError,
        `${sign}-folder contains ${other}`,
      );
    }
    await assertRejects(
      () => cifar100({ labels: "both" as "fine" }),
      LocalgradError,
      '"fine" or "coarse", not "both"',
    );
  }));
