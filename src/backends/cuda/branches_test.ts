import { assert, assertEquals } from "@std/assert";
import { dgl, man } from "../../local.ts";
import { stepPlan } from "../../local/memory.ts";
import { setup } from "../../local/setup.ts";
import { resnet8 } from "../../models/resnet.ts";
import { sgd } from "../../optim/sgd.ts";
import { jit } from "../../runtime/jit.ts";
import { accessesOf, conflicts } from "./accesses.ts";
import { scheduleLaunches } from "./branches.ts";
import { lowerPlan } from "./lower.ts";
import { overlappingTarget } from "./target.ts";

const plan = stepPlan(
  setup({
    model: resnet8(),
    modules: 3,
    method: man(dgl()),
    optimizer: sgd({ momentum: 0.9 }),
    precision: "f32",
  }),
  64,
  overlappingTarget,
);
const launches = lowerPlan(plan);
const { streams, waits } = scheduleLaunches(plan, launches);

/** For each launch, all those that are done before it starts. */
function done(): Set<number>[] {
  const last: [Set<number>, Set<number>] = [new Set(), new Set()];
  const all: Set<number>[] = [];
  launches.forEach((_, i) => {
    const stream = streams[i], wait = waits[i];
    const before = new Set(last[stream]);
    if (wait !== undefined) { for (const each of [...all[wait], wait]) before.add(each); }
    all.push(before);
    last[stream] = new Set([...before, i]);
  });
  return all;
}

Deno.test("launches that may run at the same time share no memory", () => {
  const before = done();
  const accesses = launches.map((launch) => accessesOf(plan, launch));
  let beside = 0;
  launches.forEach((_, a) => {
    for (let b = a + 1; b < launches.length; b++) {
      if (before[b].has(a)) continue;
      beside++;
      assert(streams[a] !== streams[b]);
      assert(!conflicts(accesses[a], accesses[b]), `${a} and ${b}`);
    }
  });
  assert(beside > launches.length / 2, `${beside} pairs of ${launches.length} launches`);
});

Deno.test("a launch waits for nothing that its own stream has waited for", () => {
  for (const stream of [0, 1]) {
    const own = waits.filter((wait, i) => streams[i] === stream && wait !== undefined);
    assertEquals(own, own.toSorted((a, b) => (a ?? 0) - (b ?? 0)));
    assertEquals(new Set(own).size, own.length);
  }
});

Deno.test("a kernel with counters is not on both streams", () => {
  const texts: [Set<string>, Set<string>] = [new Set(), new Set()];
  launches.forEach((launch, i) => {
    if (launch.kind === "kernel" && launch.call.body?.tickets) texts[streams[i]].add(launch.call.text);
  });
  assert(texts[0].size > 0 && texts[1].size > 0);
  assertEquals([...texts[0]].filter((text) => texts[1].has(text)), []);
});

Deno.test("without a schedule all launches are on one stream, and none waits", () => {
  const { schedule: _, ...inOrder } = plan;
  const { streams, waits } = scheduleLaunches(inOrder, lowerPlan(inOrder));
  assert(streams.every((stream) => stream === 0) && waits.every((wait) => wait === undefined));
});

Deno.test("a plan of two streams reports the peak in order too, which is no higher", () => {
  const { peakBytes, peakInOrder = 0 } = plan.memory;
  assert(peakInOrder > 0 && peakInOrder <= peakBytes, `${peakInOrder} of ${peakBytes}`);
  const f = jit((x) => x.exp());
  assertEquals(
    f.plan(overlappingTarget, { shape: [4], dtype: "f32" }).memory.peakInOrder !== undefined,
    true,
  );
});
