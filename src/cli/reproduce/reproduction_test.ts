import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { inFolder } from "../../../tests/in_folder.ts";
import { LocalgradError } from "../../base/errors.ts";
import { exists } from "../../base/files.ts";
import { shapes } from "../../data.ts";
import { open } from "../../runtime/devices.ts";
import { openReproduction, resultsIn, type RunOptions, runToEnd } from "./reproduction.ts";
import type { RunResult } from "./results.ts";
import { type Settings, settingsFrom } from "../settings.ts";

Deno.test("resultsIn() finds the runs after one whose folder was removed, in the order of seeds", () =>
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
    for (
      const [content, message] of [
        ["{", "seed3/result.json is damaged"],
        ["null", "seed3/result.json is null, not an object"],
        ["{}", "seed3/result.json: finalError is missing; it must be a number; remove it"],
        ['{ "failed": 3 }', "seed3/result.json: failed is 3, not text"],
      ]
    ) {
      await Deno.writeTextFile(`${dir}/seed3/result.json`, content);
      await assertRejects(() => resultsIn(dir), LocalgradError, message);
    }
  }));

const settings = settingsFrom({
  ...{ dataset: "shapes", model: "resnet8", modules: "1", method: "endToEnd", epochs: "1", lr: "0.02" },
  ...{ batch: "16", "train-limit": "32", "test-limit": "8" },
});

Deno.test("runToEnd() resumes a run that was stopped before its first step", () =>
  inFolder(async (dir) => {
    const images = shapes({ train: 32, test: 8 });
    const run = (name: string, signal = new AbortController().signal, more: Partial<Settings> = {}) =>
      runToEnd({
        ...{ folder: `${dir}/${name}`, settings: { ...settings, ...more }, images, signal },
        open: () => open("cpu"),
      });
    const facts = (result: RunResult | undefined) => {
      if (result === undefined || "failed" in result) throw new Error(JSON.stringify(result));
      const { seconds: _seconds, imagesPerSecond: _speed, residentBytes: _resident, ...facts } = result;
      return facts;
    };
    assertEquals(await run("a", AbortSignal.abort()), undefined);
    assertEquals(facts(await run("a")), facts(await run("b")));
    // Errors that are not a result of the run are thrown, and not saved as one.
    const path = `${dir}/a/last.safetensors`;
    await Deno.remove(`${dir}/a/result.json`);
    await Deno.truncate(path, 1000);
    await assertRejects(() => run("a"), LocalgradError, "last.safetensors");
    assertEquals([...await resultsIn(dir)], []);
    assertEquals(await exists(`${dir}/a/result.json`), false);
    // A run too large for the device is a result, and so is divergence.
    for (
      const [name, more, why] of [["c", { batch: 2 ** 20 }, "a batch of at most"], [
        "d",
        { lr: 1e30 },
        "lower",
      ]] as const
    ) {
      const result = await run(name, undefined, more);
      assertStringIncludes(result !== undefined && "failed" in result ? result.failed : "", why);
    }
  }));

Deno.test("a result lists the devices that computed the run", () =>
  inFolder(async (dir) => {
    const images = shapes({ train: 32, test: 8 }), { signal } = new AbortController();
    const run = async (epochs: number, arithmetic: string) => {
      const result = await runToEnd({
        ...{ folder: `${dir}/seed0`, settings: { ...settings, epochs }, images, signal },
        open: async () => Object.defineProperty(await open("cpu"), "arithmetic", { value: arithmetic }),
      });
      assertEquals((await resultsIn(dir)).get(0), result);
      return result !== undefined && "devices" in result ? result.devices : undefined;
    };
    const first = { arithmetic: "cpu, WebAssembly", firstStep: 0 };
    assertEquals(await run(1, "cpu, WebAssembly"), [first]);
    assertEquals(await run(2, "cpu, oneDNN"), [first, { arithmetic: "cpu, oneDNN", firstStep: 2 }]);
  }));

Deno.test({
  name: "openReproduction() locks a folder until it is disposed of",
  ignore: Deno.build.os === "windows", // where a lock would keep readers out too
  fn: () =>
    inFolder(async (dir) => {
      const open = (identity = { epochs: 3 }) => openReproduction(`${dir}/a`, identity);
      {
        using _alone = await open();
        await assertRejects(() => open(), LocalgradError, "is being written by another run");
      }
      await assertRejects(() => open({ epochs: 4 }), LocalgradError, "started with --epochs 3, not 4");
      using _again = await open();
    }),
});

Deno.test("openReproduction() names the fault of a reproduction.json", () =>
  inFolder(async (dir) => {
    for (
      const [content, message] of [
        ["null", "reproduction.json is null, not an object; remove it to continue"],
        ["[]", "reproduction.json is a list, not an object"],
        [`{ "epochs": ${"[".repeat(9000)}${"]".repeat(9000)} }`, "epochs is a list, not nested at most"],
        ["", "reproduction.json is damaged: it is not JSON"],
      ]
    ) {
      await Deno.writeTextFile(`${dir}/reproduction.json`, content);
      await assertRejects(() => openReproduction(dir, { epochs: 3 }), LocalgradError, message);
    }
  }));

Deno.test({
  name: "runToEnd() writes and removes nothing through a link",
  ignore: Deno.build.os === "windows",
  fn: () =>
    inFolder(async (dir) => {
      await Deno.mkdir(`${dir}/mine/seed0`, { recursive: true });
      await Deno.writeTextFile(`${dir}/mine/seed0/note`, "mine");
      await Deno.mkdir(`${dir}/a/other`, { recursive: true });
      await Deno.symlink("../mine", `${dir}/a/row`);
      await Deno.symlink("../../mine/seed0", `${dir}/a/other/seed0`);
      for (const row of ["row", "other"]) {
        const options = { folder: `${dir}/a/${row}/seed0` } as RunOptions;
        await assertRejects(
          () => runToEnd(options),
          LocalgradError,
          "is a link, which is not written through",
        );
      }
      assertEquals(await Deno.readTextFile(`${dir}/mine/seed0/note`), "mine");
    }),
});
