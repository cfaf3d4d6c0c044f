import { assertEquals } from "@std/assert";
import { inFolder } from "../in_folder.ts";
import { torture } from "./torture.ts";

Deno.test({
  name: "runs that are killed and stopped at random moments end like an undisturbed one",
  ignore: Deno.build.os === "windows", // no signals on Windows
  fn: () =>
    inFolder(async (dir) => {
      const { kills, signals } = await torture(dir, { kills: 3, signals: 2, seed: 1 });
      assertEquals([kills.kills, signals.signals], [3, 2]);
      assertEquals(signals.saved + signals.beforeListening + signals.tooLate, 2);
    }),
});
