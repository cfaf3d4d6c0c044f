import { assert, assertEquals, assertRejects } from "@std/assert";
import { LocalgradError } from "../../base/errors.ts";
import { planSplit, planSplits, type Split } from "./splits.ts";

const end: Split = {
  model: "resnet8",
  classes: 10,
  batch: 32,
  method: "endToEnd",
  modules: 1,
  device: { name: "cuda" },
};
const local: Split = { ...end, method: "dgl", modules: { balanced: 2 } };

Deno.test("planSplits() in threads gives the same plans as one by one, in the requested order", async () => {
  const [whole, cut, bf16] = await planSplits([end, local, { ...end, precision: "bf16" }]);
  assertEquals(whole, await planSplit(end));
  assertEquals(cut, await planSplit(local));
  assert(cut.plain.peakBytes < whole.plain.peakBytes && bf16.plain.peakBytes < whole.plain.peakBytes);
  assertEquals([cut.plain.modules.length, cut.plain.after.length], [2, 1]);
  assert(whole.recomputed.peakBytes < whole.plain.peakBytes && whole.recomputed.recompute!.bytes > 0);
});

Deno.test("a split's plans with and without recomputation equal separate plans", async () => {
  const { plain, recomputed } = await planSplit(local);
  const alone = (after: readonly string[]) => planSplit({ ...local, modules: { after: [...after] } });
  assertEquals((await alone(plain.after)).plain, plain);
  assertEquals((await alone(recomputed.after)).recomputed, recomputed);
});

Deno.test("planSplits() names a split that cannot be planned", async () => {
  await assertRejects(
    () => planSplits([end, { ...local, modules: { balanced: 99 } }]),
    LocalgradError,
    "resnet8 with dgl cannot be planned: balanced: resnet8 has 3 blocks",
  );
});
