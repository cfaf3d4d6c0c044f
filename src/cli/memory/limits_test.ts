import { assert, assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../../base/errors.ts";
import * as devices from "../../runtime/devices.ts";
import * as local from "../../local.ts";
import { resnet8 } from "../../models.ts";
import { sgd } from "../../optim.ts";
import { limitsFrom, limitsText, planLimits } from "./limits.ts";
import { textTable } from "../terminal.ts";

Deno.test("memory --limits tells the peak and the cost of recomputing within each limit", async () => {
  const target = await devices.target("webgpu");
  const run = { model: resnet8(), method: local.endToEnd(), optimizer: sgd(), batch: 16, target };
  const { peakBytes } = local.memory(run).method;
  const planned = planLimits(run, limitsFrom(`${peakBytes}, ${Math.round(0.7 * peakBytes)}B,1KiB`));
  const [all, some, least] = planned.plans;
  assertEquals(planned.plain.peakBytes, peakBytes);
  assertEquals(all, { limit: peakBytes, peakBytes, seconds: planned.seconds.plain });
  assertEquals(planned.seconds.plain, planned.seconds.endToEnd); // it is end to end
  assert(some.seconds > all.seconds && least.seconds > some.seconds);
  const dgl = planLimits({ ...run, modules: 3, method: local.dgl() }, [1]);
  assertEquals(dgl.seconds.endToEnd, planned.seconds.endToEnd);
  assert(dgl.seconds.plain !== dgl.seconds.endToEnd);
  assert(some.peakBytes <= some.limit && some.recompute!.bytes > 0);
  assert(least.peakBytes > least.limit && least.peakBytes <= some.peakBytes);
  const lines = limitsText(planned, textTable).split("\n");
  assertEquals(lines.filter((line) => line.includes("the least found")).length, 1);
  assert(lines.some((line) => /nothing is recomputed.* 1\.00 ×/.test(line)));
  assertThrows(() => limitsFrom("2GiB,x"), LocalgradError, "--limits must be a size such as 512MiB");
});
