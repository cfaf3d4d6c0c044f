import { assert } from "@std/assert";
import type { Plan } from "../src/compile/plan.ts";
import { planTime, TYPICAL } from "../src/compile/time.ts";
import { withinLimit } from "../src/local/limit/limit.ts";
import { stepPlan, stepPlans } from "../src/local/memory.ts";
import { dgl } from "../src/local/methods/dgl.ts";
import { endToEnd } from "../src/local/methods/end_to_end.ts";
import { greedy } from "../src/local/methods/greedy.ts";
import { man } from "../src/local/methods/man.ts";
import { setup } from "../src/local/setup.ts";
import { resnet8 } from "../src/models.ts";
import { sgd } from "../src/optim.ts";
import { publishedSgd } from "../src/optim/published.ts";
import { target } from "../src/runtime/devices.ts";
import { tinyModel, tinyVit } from "./tiny.ts";

const optimizer = sgd(publishedSgd);
const machine = await target("cpu", { threads: 1 });
const METHODS = [[endToEnd(), 1], [endToEnd({ checkpoint: true }), 1], [man(greedy()), 3]] as const;
const SHARES = [1, 0.9, 0.8, 0.65, 0.5];

Deno.test("a smaller limit gives neither a faster plan nor a higher peak", () => {
  for (const model of [tinyModel(), tinyVit()]) {
    for (const [method, modules] of METHODS) {
      const built = setup({ model, modules, method, optimizer });
      const { peakBytes } = stepPlan(built, 32, machine).memory;
      const limits = SHARES.map((share) => share * peakBytes);
      const plans = stepPlans(built, 32, machine, limits);
      for (const [i, plan] of plans.entries()) {
        const within = `${model.name}, ${method.name}, within ${SHARES[i]}`;
        const fits = plan.memory.peakBytes <= limits[i];
        for (const larger of plans.slice(0, i)) {
          assert(plan.memory.peakBytes <= larger.memory.peakBytes, within);
          const isPlain = larger.memory.recompute === undefined; // whatever else would be faster
          assert(isPlain || !fits || seconds(plan) >= seconds(larger), within);
        }
      }
    }
  }
});

Deno.test("what a search finds within a limit it also finds within a smaller one that has room for it", () => {
  const network = { model: resnet8(), optimizer };
  const run = { ...network, batch: 32, target: machine, method: [endToEnd(), dgl()] };
  const { peakBytes } = stepPlan(setup({ ...network, method: endToEnd() }), 32, machine).memory;
  const way = withinLimit({ ...run, memoryLimit: 0.55 * peakBytes });
  const same = withinLimit({ ...run, memoryLimit: 1.05 * way.peakBytes });
  assert(same.seconds <= 1.001 * way.seconds, `${same.description} after ${way.description}`);
});

function seconds(plan: Plan): number {
  return planTime(plan, TYPICAL);
}
