import { assertEquals, assertRejects } from "@std/assert";
import { LocalgradError } from "../../base/errors.ts";
import { imageFolder } from "./folder.ts";
import { listImages } from "./listing.ts";

/** A folder with these empty files. */
async function withFiles(names: readonly string[], use: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    for (const name of names) {
      await Deno.mkdir(`${dir}/${name.slice(0, name.lastIndexOf("/"))}`, { recursive: true });
      await Deno.writeFile(`${dir}/${name}`, new Uint8Array());
    }
    await use(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const SMALL = ["train/a/1.png", "train/a/2.png", "train/b/1.png", "val/a/1.png", "val/b/1.png"];

/** The listing of a folder, with relative paths. */
async function listed(dir: string) {
  const { classes, train, test, leftOut } = await listImages(dir);
  const names = ({ paths }: { readonly paths: readonly string[] }) =>
    paths.map((path) => path.slice(dir.length + 1));
  return { classes, train: names(train), labels: [...train.labels], test: names(test), leftOut };
}

const WHOLE = {
  classes: ["a", "b"],
  train: ["train/a/1.png", "train/b/1.png", "train/a/2.png"],
  labels: [0, 1, 0],
  test: ["val/a/1.png", "val/b/1.png"],
  leftOut: undefined,
};

Deno.test("hidden folders are not classes, and hidden files not images", () => {
  const hidden = [
    "train/.ipynb_checkpoints/1.png",
    "val/.DS_Store",
    "train/a/._1.png",
    "train/b/.thumbs/1.png",
  ];
  return withFiles([...SMALL, ...hidden], async (dir) => assertEquals(await listed(dir), WHOLE));
});

Deno.test({
  name: "names that are not UTF-8 are refused as such",
  ignore: Deno.build.os !== "linux", // other systems do not allow them
  fn: () =>
    withFiles([...SMALL, "train/a/\ufffd.png"], async (dir) => {
      assertEquals((await listed(dir)).train.length, 4); // a replacement character may be intended
      for (const [make, unmake, where] of [["touch", "rm", "train/a"], ["mkdir", "rmdir", "train"]]) {
        const name = `"$(printf '${dir}/${where}/x\\377.png')"`;
        const sh = (script: string) => new Deno.Command("sh", { args: ["-c", script] }).output();
        assertEquals((await sh(`${make} ${name}`)).code, 0);
        await assertRejects(
          () => listImages(dir),
          LocalgradError,
          `${where}/x\ufffd.png has a name that is not UTF-8`,
        );
        assertEquals((await sh(`${unmake} ${name}`)).code, 0);
      }
    }),
});

Deno.test("skipped files are reported: how many, of which types, and where", () => {
  const more = [
    "train/readme.md",
    "train/stray.png",
    "train/a/x.gif",
    "train/a/y.GIF",
    "train/a/LICENSE",
    "val/b/x.heic",
    "train/b/more/1.png",
    "train/b/more/still/2.jpg",
    "train/b/more/still/3.jpg",
  ];
  return withFiles([...SMALL, ...more], async (dir) => {
    const leftOut = "1 .md, 1 .png next to the classes; 2 .gif, 1 .heic, 1 without a type in a class; " +
      "2 .jpg, 1 .png in folders within a class";
    assertEquals(await listed(dir), { ...WHOLE, leftOut });
    const told: string[] = [];
    // The files are empty, which is found after the skipped files are reported.
    const load = () => imageFolder({ path: dir, threads: 1, onLeftOut: (what) => told.push(what) });
    await assertRejects(load, LocalgradError, "1.png is empty");
    assertEquals(told, [`${dir}: skipped files: ${leftOut}`]);
  });
});

Deno.test("every type that can be decoded is listed, in upper or lower case", () => {
  const types = ["bmp", "JPEG", "jpg", "png", "tif", "TIFF", "webp"];
  const files = types.map((type) => `train/a/x.${type}`);
  return withFiles([...files, ...SMALL.slice(2)], async (dir) => {
    const { train, leftOut } = await listed(dir);
    assertEquals(train.filter((name) => name.includes("/a/")).sort(), [...files].sort());
    assertEquals(leftOut, undefined);
  });
});

for (const name of ["val", "validation", "valid", "test"]) {
  Deno.test(`${name}/ may contain the test images`, () =>
    withFiles(
      SMALL.map((path) => path.replace("val/", `${name}/`)),
      async (dir) =>
        assertEquals(await listed(dir), {
          ...WHOLE,
          test: WHOLE.test.map((path) => path.replace("val/", `${name}/`)),
        }),
    ));
}

Deno.test("val/ takes precedence over test/", () =>
  withFiles(
    [...SMALL, "test/a/other.png", "test/c/other.png"],
    async (dir) => assertEquals(await listed(dir), WHOLE),
  ));

const unix = { ignore: Deno.build.os === "windows" };

Deno.test("a link that is broken or circular is refused by name", unix, async () => {
  for (const link of ["train/a/x.png", "train/c", "val/b/notes.txt"]) {
    await withFiles(SMALL, async (dir) => {
      await Deno.symlink("/nonexistent", `${dir}/${link}`);
      await assertRejects(
        () => listImages(dir),
        LocalgradError,
        `${dir}/${link} is a broken link`,
      );
      await Deno.remove(`${dir}/${link}`);
      await Deno.symlink(`${dir}/${link}`, `${dir}/${link}`);
      await assertRejects(
        () => listImages(dir),
        LocalgradError,
        `${dir}/${link} is a broken link`,
      );
    });
  }
});

Deno.test(
  "a named pipe in place of an image is refused by name, and one next to images skipped",
  unix,
  () =>
    withFiles(SMALL, async (dir) => {
      await new Deno.Command("mkfifo", { args: [`${dir}/train/a/pipe.log`] }).output();
      assertEquals(await listed(dir), { ...WHOLE, leftOut: "1 .log in a class" });
      await new Deno.Command("mkfifo", { args: [`${dir}/train/a/3.png`] }).output();
      await assertRejects(
        () => listImages(dir),
        LocalgradError,
        `${dir}/train/a/3.png is not a regular file`,
      );
    }),
);

Deno.test(
  "control characters in names are spelled out in messages",
  unix,
  () =>
    withFiles([...SMALL, "train/li\nne\u001b[2J/notes.txt"], async (dir) => {
      const message = `${dir}/train/li\\u000ane\\u001b[2J has no .jpg`;
      await assertRejects(() => listImages(dir), LocalgradError, message);
    }),
);

Deno.test("links to folders within a class are not followed, and counting is limited", unix, () => {
  const more = [1, 2, 3, 4, 5].map((i) => `train/b/more/${i}.png`);
  return withFiles([...SMALL, ...more], async (dir) => {
    await Deno.symlink("/", `${dir}/train/a/everything`);
    const leftOut = "1 link to a folder in a class; 5 .png in folders within a class";
    assertEquals(await listed(dir), { ...WHOLE, leftOut });
    const few = "at least 1 link to a folder in a class; 2 .png in folders within a class";
    assertEquals((await listImages(dir, 3)).leftOut, few);
  });
});

Deno.test(
  "a class may be a link to a folder elsewhere",
  unix,
  () =>
    withFiles([...SMALL, "elsewhere/9.png"], async (dir) => {
      await Deno.symlink(`${dir}/elsewhere`, `${dir}/train/c`);
      const { classes, train } = await listed(dir);
      assertEquals([classes, train.at(-1)], [["a", "b", "c"], "train/a/2.png"]);
      assertEquals(train.filter((name) => name.includes("/c/")), ["train/c/9.png"]);
    }),
);
