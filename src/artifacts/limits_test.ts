import { assertRejects } from "@std/assert";
import { inFolder } from "../../tests/in_folder.ts";
import { LocalgradError } from "../base/errors.ts";
import { resultsIn } from "../cli/reproduce/reproduction.ts";
import { readCheckpoint } from "./checkpoint.ts";
import { readMetrics } from "./metrics.ts";
import { loadWeights } from "./weights.ts";

/** Creates a sparse file of that many bytes. */
async function sparse(path: string, bytes: number): Promise<void> {
  await Deno.writeTextFile(path, "");
  await Deno.truncate(path, bytes);
}

const MIB = 2 ** 20;

Deno.test("files longer than their limit are refused by name before they are read", () =>
  inFolder(async (dir) => {
    await Deno.mkdir(`${dir}/seed0`);
    const cases: [string, number, (path: string) => Promise<unknown>][] = [
      ["x.safetensors", 4096, loadWeights],
      ["x.safetensors", 4096, readCheckpoint],
      ["metrics.jsonl", 1024, readMetrics],
      ["model.safetensors.index.json", 16, loadWeights],
      ["seed0/result.json", 16, () => resultsIn(dir)],
    ];
    for (const [name, limit, read] of cases) {
      const path = `${dir}/${name}`;
      await sparse(path, limit * MIB + 1);
      const before = performance.now();
      await assertRejects(() => read(path), LocalgradError, `${path} is too long`);
      if (performance.now() - before > 1000) throw new Error(`${name} was read before it was refused`);
      await Deno.remove(path);
    }
  }));
