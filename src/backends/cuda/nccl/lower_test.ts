import { assert, assertEquals } from "@std/assert";
import { at } from "../../../base/at.ts";
import { pendingSteps } from "../../../compile/pending.ts";
import type { Plan } from "../../../compile/plan.ts";
import { jit } from "../../../runtime/jit.ts";
import { allReduce, receive, send } from "../../../trace/collectives.ts";
import { bytesOf } from "../../../trace/dtype.ts";
import type { Tensor } from "../../../trace/tensor.ts";
import { lowerPlan } from "../lower.ts";
import { spareStretches } from "../spare.ts";
import { ALIGNMENT, cudaTarget } from "../target.ts";

const target = { ...cudaTarget, groups: { pair: 2 } };
const group = "pair";
const square = { shape: [64, 64], dtype: "f32" } as const;

/** The launches of a plan, in words. */
function launches(plan: Plan): string[] {
  return lowerPlan(plan).map((launch) => {
    switch (launch.kind) {
      case "exchange":
        return launch.pending.instruction.op;
      case "join":
        return `join ${launch.pending.instruction.op}`;
      case "kernel":
        return launch.call.label;
      default:
        return launch.kind;
    }
  });
}

Deno.test("an exchange is waited for before the first step that touches its memory, and at the end", () => {
  const f = jit((x: Tensor) => {
    const late = allReduce(x.matmul(x), { group });
    const arrived = receive(square, { group, from: 1 });
    const work = x.matmul(x.matmul(x));
    return [work.matmul(arrived), late];
  });
  const found = launches(f.plan(target, square)).filter((launch) => /matmul|allReduce|receive/.test(launch));
  assertEquals(found, [
    ...["matmul", "allReduce", "receive", "matmul", "matmul"],
    ...["join receive", "matmul", "join allReduce"],
  ]);
});

Deno.test("a message is not waited for, an operand that lives on is copied, floats are compared as integers", () => {
  const f = jit((x: Tensor) => {
    send(x, { group, to: 1 });
    return allReduce(x, { group, fn: "max" });
  });
  const lowered = launches(f.plan(target, square));
  assertEquals(lowered, ["send", "copy", "order_keys", "allReduce", "join allReduce", "order_keys"]);
});

Deno.test("no kernel passes an exchange to join another", () => {
  const f = jit((x: Tensor, y: Tensor) => [x.mul(2), receive(square, { group, from: 1 }), y.mul(2)]);
  const found = launches(f.plan(target, square, { shape: [70], dtype: "f32" }));
  assertEquals(found, ["map", "receive", "map", "join receive"]);
});

Deno.test("memory that is being exchanged is no scratch for the steps beside it, even if nothing reads it", () => {
  const f = jit((x: Tensor) => {
    receive({ shape: [256, 256], dtype: "f32" }, { group, from: 1 });
    return x.mul(3); // in memory of its own
  });
  const plan = f.plan(target, square);
  const [pending] = pendingSteps(plan);
  assert(pending !== undefined && pending.before > pending.position + 1);
  const location = plan.locations[pending.instruction.output];
  if (location?.kind !== "arena") throw new Error("it is in no arena");
  const end = location.offset + bytesOf(at(plan.values, pending.instruction.output));
  const spare = spareStretches(plan, ALIGNMENT);
  for (let position = pending.position; position < pending.before; position++) {
    const { offset, bytes } = at(spare, position);
    assert(offset + bytes <= location.offset || offset >= end, `step ${position}: ${offset} and ${bytes}`);
  }
});
