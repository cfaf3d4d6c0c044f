import { assertEquals, assertRejects } from "@std/assert";
import { inFolder } from "../../tests/command_line.ts";
import { LocalgradError } from "../errors.ts";
import { resultsIn } from "./reproduction.ts";

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
