import { assertEquals, assertRejects } from "@std/assert";
import { inFolder } from "../../tests/command_line.ts";
import { LocalgradError } from "../errors.ts";
import { openReproduction, resultsIn } from "./reproduction.ts";

Deno.test("resultsIn() finds the runs behind one whose folder was removed, in the order of seeds", () =>
  inFolder(async (dir) => {
    assertEquals(await resultsIn(`${dir}/none`), new Map());
    for (const seed of [10, 2, 1]) {
      await Deno.mkdir(`${dir}/seed${seed}`);
      await Deno.writeTextFile(`${dir}/seed${seed}/result.json`, `{ "failed": "seed ${seed}" }`);
    }
    await Deno.mkdir(`${dir}/seed3`); // begun, not over
    await Deno.writeTextFile(`${dir}/seeds`, "");
    const found = [1, 2, 10].map((seed) => [seed, { failed: `seed ${seed}` }] as const);
    assertEquals([...await resultsIn(dir)], found);
    await Deno.writeTextFile(`${dir}/seed3/result.json`, "{");
    await assertRejects(() => resultsIn(dir), LocalgradError, "seed3/result.json is damaged");
  }));

Deno.test({
  name: "openReproduction() lets nobody else into a folder until it is given back",
  ignore: Deno.build.os === "windows", // where a lock would keep readers out too
  fn: () =>
    inFolder(async (dir) => {
      const open = (identity = { epochs: 3 }) => openReproduction(`${dir}/a`, identity);
      {
        using _alone = await open();
        await assertRejects(() => open(), LocalgradError, "is being written by another run");
      }
      await assertRejects(() => open({ epochs: 4 }), LocalgradError, "begun with epochs 3, not 4");
      using _again = await open();
    }),
});
