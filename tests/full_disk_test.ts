/** Full and read-only disks: a small file system in memory, mounted only for child processes. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { inFolder } from "./in_folder.ts";

const root = fromFileUrl(new URL("..", import.meta.url));

/** Runs a script in a separate mount namespace. */
async function apart(script: string): Promise<{ success: boolean; text: string }> {
  const args = ["--map-root-user", "--mount", "bash", "-c", script];
  const command = new Deno.Command("unshare", { args, env: { NO_COLOR: "1", XDG_RUNTIME_DIR: "/tmp" } });
  try {
    const { success, stdout, stderr } = await command.output();
    return { success, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
  } catch {
    return { success: false, text: "" };
  }
}

const possible = (await apart("mount -t tmpfs tmpfs /mnt")).success;
if (!possible) {
  console.error("SKIPPED: full and read-only disks: no file system can be mounted here (unshare, Linux)");
}

Deno.test({
  name: "a full or read-only disk ends a command with one line and exit code 2",
  ignore: !possible,
  fn: () =>
    inFolder(async (dir) => {
      const main = `'${Deno.execPath()}' run -q -P=train src/cli/main.ts`;
      const train =
        `${main} train --device cpu --epochs 1 --train-limit 32 --test-limit 32 --batch 32 --json`;
      const { text } = await apart(`
        cd '${root}'
        exec 2>&1
        mount -t tmpfs -o size=200k tmpfs '${dir}' || exit 1
        ${train} --run '${dir}/full'; echo "code $?"
        ls '${dir}/full'
        mount -o remount,ro,size=200k tmpfs '${dir}'
        ${train} --run '${dir}/ro'; echo "code $?"
        ${train} --run '${dir}/full' --resume; echo "code $?"
      `);
      const errors = text.split("\n").filter((line) => line.startsWith("error: "));
      assert(!text.includes("Uncaught"), text);
      assertEquals(text.match(/^code \d+$/gm), ["code 2", "code 2", "code 2"], text);
      assertMatch(
        errors[0],
        /full\/(last|best)\.safetensors cannot be written: the disk is full; free some space/,
      );
      assertMatch(
        errors[1],
        /the folder .*\/ro cannot be made: the file system is read-only; choose another place/,
      );
      assertEquals(errors.length, 3, text);
      assert(!text.includes(".part"), text); // nothing half written is left
    }),
});
