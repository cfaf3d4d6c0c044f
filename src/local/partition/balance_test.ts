import { assert, assertEquals, assertThrows } from "@std/assert";
import { allCuts } from "../../../tests/all_cuts.ts";
import { tinyModel } from "../../../tests/tiny.ts";
import { referenceTarget } from "../../backends/reference/target.ts";
import { LocalgradError } from "../../base/errors.ts";
import { resnet32 } from "../../models.ts";
import { sgd } from "../../optim.ts";
import { balanced } from "./balance.ts";
import { stepMemory } from "../memory.ts";
import { dgl } from "../methods/dgl.ts";
import { endToEnd } from "../methods/end_to_end.ts";
import { infopro } from "../methods/infopro.ts";
import { man } from "../methods/man.ts";
import { sgr } from "../methods/sgr.ts";
import { partition } from "./partition.ts";
import { setup } from "../setup.ts";

const optimizer = sgd({ momentum: 0.9 });
const target = { ...referenceTarget, alignment: 256, maxKernelBuffers: 10 };

Deno.test("balanced() finds the same cut as planning every possible one", () => {
  const resnet = resnet32({ classes: 10 });
  const blocks = [...resnet.blocks.slice(0, 3), ...resnet.blocks.slice(5, 7), ...resnet.blocks.slice(10, 12)];
  const model = { ...resnet, blocks };
  const cases = [[dgl(), 3, false], [man(dgl()), 2, false], [infopro(), 2, true], [
    sgr(dgl()),
    2,
    false,
  ]] as const;
  for (const [method, modules, recompute] of cases) {
    const run = { model, method, optimizer };
    const options = { ...run, batch: 64, target, recompute };
    const peak = (cut: { after: readonly string[] }) =>
      stepMemory(setup({ ...run, modules: cut }), 64, target, { recompute }).peakBytes;
    const names = blocks.map(({ name }) => name);
    const peaks = allCuts(names.length, modules).map((ends) =>
      peak({ after: ends.slice(0, -1).map((end) => names[end - 1]) })
    );
    const found = peak(balanced({ ...options, modules }));
    const least = Math.min(...peaks);
    // The best values to recompute depend a little on the rest of the plan.
    assert(found <= (recompute ? 1.01 : 1.002) * least, `${method.name}: ${found}, and ${least} is possible`);
    assert(found < 0.9 * Math.max(...peaks));
  }
});

Deno.test("balanced() finds no boundary for one module, and refuses impossible numbers", () => {
  const options = { model: tinyModel(), optimizer, batch: 4, target };
  assertEquals(balanced({ ...options, modules: 1, method: dgl() }), { after: [] });
  assertEquals(balanced({ ...options, modules: 2, method: endToEnd() }), { after: [] });
  for (const modules of [0, 4, 1.5]) {
    assertThrows(
      () => balanced({ ...options, modules, method: dgl() }),
      LocalgradError,
      "can be cut into 1 to 3",
    );
  }
  assertThrows(() => partition(tinyModel(), { balanced: 2 }), LocalgradError, "local.balanced()");
});
