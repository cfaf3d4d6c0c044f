import { assertEquals, assertRejects } from "@std/assert";
import { inFolder } from "../../tests/in_folder.ts";
import { LocalgradError } from "./errors.ts";
import { exists, makeFolder, openAlone, readIfThere, refuseFile, writeWhole } from "./files.ts";

const unix = { ignore: Deno.build.os === "windows" };

Deno.test("readIfThere() reads regular files up to a size limit", () =>
  inFolder(async (dir) => {
    await Deno.writeTextFile(`${dir}/a`, "12345");
    assertEquals(await readIfThere(`${dir}/a`, 5), new TextEncoder().encode("12345"));
    assertEquals(await readIfThere(`${dir}/none`, 5), undefined);
    assertEquals(await readIfThere(`${dir}/a/b`, 5), undefined);
    await assertRejects(
      () => readIfThere(`${dir}/a`, 4),
      LocalgradError,
      "a is too long: 5 bytes; the limit is 4",
    );
    await assertRejects(() => readIfThere(dir, 4), LocalgradError, "is a folder, not a file");
  }));

Deno.test({
  ...unix,
  name: "pipes, devices and circular links are refused instead of blocking",
  fn: () =>
    inFolder(async (dir) => {
      const pipe = `${dir}/pipe`;
      assertEquals((await new Deno.Command("mkfifo", { args: [pipe] }).output()).success, true);
      await Deno.symlink("pipe", `${dir}/link`);
      await Deno.symlink("circle", `${dir}/circle`);
      await Deno.symlink("none", `${dir}/nowhere`);
      for (const name of ["pipe", "link"]) {
        await assertRejects(
          () => readIfThere(`${dir}/${name}`, 9),
          LocalgradError,
          `${name} is a pipe, not a file`,
        );
      }
      await assertRejects(
        () => readIfThere("/dev/null", 9),
        LocalgradError,
        "/dev/null is a device, not a file",
      );
      await assertRejects(
        () => readIfThere(`${dir}/circle`, 9),
        LocalgradError,
        "its links are circular",
      );
      await assertRejects(() => openAlone(pipe), LocalgradError, "pipe is a pipe, not a regular file");
      await assertRejects(
        () => openAlone(`${dir}/nowhere`),
        LocalgradError,
        "nowhere is a link, not a regular file",
      );
      assertEquals([await exists(`${dir}/nowhere`), await exists(pipe)], [false, true]);
    }),
});

Deno.test({
  ...unix,
  name: "paths where a folder or file cannot be written are refused by name",
  fn: () =>
    inFolder(async (dir) => {
      await Deno.writeTextFile(`${dir}/file`, "");
      await Deno.symlink("none", `${dir}/nowhere`);
      const long = `${dir}/${"x".repeat(300)}`;
      await assertRejects(
        () => makeFolder(`${dir}/file`),
        LocalgradError,
        "file cannot be made: something else of that name exists",
      );
      await assertRejects(() => makeFolder(`${dir}/file/a`), LocalgradError, "its path leads through a file");
      await assertRejects(
        () => makeFolder(`${dir}/nowhere`),
        LocalgradError,
        "nowhere cannot be made: something else of that name exists",
      );
      await assertRejects(() => makeFolder(long), LocalgradError, "cannot be made: the name is too long");
      await assertRejects(() => refuseFile(long), LocalgradError, "the name is too long");
      await assertRejects(() => refuseFile(`${dir}/file`), LocalgradError, "file is not a folder");
      await assertRejects(() => refuseFile(`${dir}/file/a`), LocalgradError, "is not a folder");
      await assertRejects(
        () => writeWhole(`${dir}/none/a`, ""),
        LocalgradError,
        "a cannot be written: the folder to contain it does not exist",
      );
      await assertRejects(() => writeWhole("", "a"), LocalgradError, "the path of a file is empty");
      await assertRejects(
        () => writeWhole(dir, ""),
        LocalgradError,
        "cannot be written: it is a folder",
      );
    }),
});
