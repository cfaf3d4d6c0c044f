/** A short run of `deno task fuzz`. */

import { assert, assertEquals } from "@std/assert";
import { LocalgradError } from "../../src/base/errors.ts";
import { fuzz, type Target, targetNamed, targetNames } from "./harness.ts";
import { Random } from "./random.ts";

const SECONDS = 0.5;

for (const name of targetNames()) {
  Deno.test(`damaged inputs of ${name} are read or refused by a LocalgradError`, async () => {
    const selection = { seed: 1, from: 0, inputs: 100_000, seconds: SECONDS };
    const { faults, accepted, refused } = await fuzz(name, await targetNamed(name), selection);
    assertEquals(faults, [], `deno task fuzz --only ${name} --seed 1 --from INDEX --inputs 1`);
    assert(refused > 0, `nothing was refused, ${accepted} accepted`);
  });
}

Deno.test("fuzz() counts the results of inputs, and reports foreign errors, slowness and memory growth", async () => {
  const held: Uint8Array[] = [];
  const target = (): Target => ({
    input: (random) => Uint8Array.of(random.below(3)),
    async read([kind]) {
      if (kind === 0) throw new LocalgradError("refused");
      if (kind === 1) throw new TypeError("null has no step");
      if (held.length < 20) await new Promise((resolve) => setTimeout(resolve, 20));
      if (held.length < 20) held.push(new Uint8Array(2 ** 20).fill(1));
    },
    milliseconds: 10,
    bytes: 2 ** 20,
  });
  const counts = await fuzz("x", target, { seed: 1, from: 5, inputs: 200 });
  assertEquals(counts.inputs, 200);
  assert(counts.refused > 30 && counts.accepted > 30 && counts.raw > 30);
  assertEquals(counts.faults.map(({ why }) => why.replace(/[0-9]+/g, "#").replace(/ at .*/, "")), [
    ...["it took # ms, more than #", "TypeError: null has no step"].toSorted((a, b) =>
      counts.faults[0].why.startsWith("T") ? b.localeCompare(a) : a.localeCompare(b)
    ),
    "memory grew by # MiB, more than #",
  ]);
});

Deno.test("an input is the same for the same seed, target and index", async () => {
  for (const name of targetNames()) {
    const dir = await Deno.makeTempDir();
    const target = await (await targetNamed(name))(dir);
    const inputs = [7, 7, 8].map((index) => target.input(new Random(3, name, index)));
    assertEquals(inputs[0], inputs[1], name);
    await target.end?.();
    await Deno.remove(dir, { recursive: true });
  }
});
