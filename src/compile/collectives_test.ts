import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { checkpoint, grad } from "../autograd/grad.ts";
import { LocalgradError } from "../base/errors.ts";
import { jit } from "../runtime/jit.ts";
import { target } from "../runtime/devices.ts";
import { allReduce, broadcastFrom, receive, send } from "../trace/collectives.ts";
import type { Program } from "../trace/program.ts";
import type { Tensor } from "../trace/tensor.ts";
import { effectsOf, hashOf } from "./collectives.ts";
import { compile } from "./compile.ts";
import { pendingSteps } from "./pending.ts";
import type { Plan } from "./plan.ts";

const pair = await target("cpu", { groups: { pair: 2, one: 1 } });
const vector = { shape: [256, 256], dtype: "f32" } as const;
const group = "pair";

function programOf(f: (x: Tensor) => Tensor | readonly Tensor[]): Program {
  return jit(f as (x: Tensor) => Tensor, { name: "step" }).program(vector);
}

function planOf(f: (x: Tensor) => Tensor | readonly Tensor[], recompute = false): Plan {
  return compile(programOf(f), pair, { verify: true, recompute });
}

/** The exchanges of a plan, in order. */
function exchanges(plan: Plan): string[] {
  return pendingSteps(plan).map(({ instruction: { op } }) => op);
}

Deno.test("exchanges are neither removed, merged nor shared", () => {
  const plan = planOf((x) => {
    send(x, { group, to: 1 });
    send(x, { group, to: 1 });
    const [a, b] = [allReduce(x, { group }), allReduce(x, { group })];
    const unread = receive({ shape: [3], dtype: "f32" }, { group, from: 1 });
    broadcastFrom(unread, { group, root: 0 });
    return a.mul(b);
  });
  const ops = plan.steps.flatMap((step) => step.kind === "op" ? [step.instruction.op] : []);
  assertEquals(ops, ["send", "send", "allReduce", "allReduce", "receive", "broadcastFrom"]);
});

Deno.test("exchanges keep their order, whatever memory would be saved", () => {
  // The sums could be sent as soon as each exists; the large products are what the planner likes to move.
  const plan = planOf((x) => {
    const parts = [1, 2, 3, 4].map((i) => x.mul(i).matmul(x));
    const small = parts.map((part) => part.sum());
    for (const [i, sum] of small.toReversed().entries()) send(sum, { group, to: 1, tag: i });
    return parts.reduce((a, b) => a.add(b));
  });
  const tags = plan.steps.flatMap((step) =>
    step.kind === "op" && step.instruction.op === "send" ? [step.instruction.attrs.tag] : []
  );
  assertEquals(tags, [0, 1, 2, 3]);
});

Deno.test("an exchange is never repeated by recomputation", () => {
  const loss = (x: Tensor) => {
    const h = (y: Tensor) => allReduce(y.mul(2).tanh(), { group }).mul(y).tanh();
    return h(h(x)).sum();
  };
  const count = (plan: Plan) =>
    plan.steps.filter((step) => step.kind === "op" && step.instruction.op === "allReduce").length;
  const gradient = (x: Tensor) => grad(loss)(x) as Tensor;
  assertEquals(count(planOf(gradient)), 4); // two sums, and a gradient of each
  assertEquals(count(planOf(gradient, true)), 4);
  assertThrows(
    () => planOf((x) => grad((x: Tensor) => checkpoint(loss)(x))(x) as Tensor),
    LocalgradError,
    "checkpoint: the function exchanges data with other processes (allReduce)",
  );
});

Deno.test("exchanges are the same on all targets, and refused in recomputation by the same words", async () => {
  const body = (x: Tensor) => {
    send(x.sum(), { group, to: 1 });
    const sum = allReduce(x.mul(2).tanh(), { group });
    receive({ shape: [2], dtype: "f32" }, { group, from: 1 });
    return broadcastFrom(sum, { group, root: 1 }).mul(x);
  };
  const loss = (x: Tensor) => allReduce(x.mul(2).tanh(), { group }).sum();
  const refusals = new Set<string>();
  for (const name of ["cpu", "webgpu", "cuda", "reference"] as const) {
    const on = await target(name, { groups: { pair: 2 } });
    for (const recompute of [false, true]) {
      const plan = compile(programOf(body), on, { verify: true, recompute });
      assertEquals(exchanges(plan), ["send", "allReduce", "receive", "broadcastFrom"], name);
    }
    const checkpointed = () =>
      compile(programOf((x) => grad((x: Tensor) => checkpoint(loss)(x))(x) as Tensor), on);
    refusals.add(assertThrows(checkpointed, LocalgradError).message);
  }
  assertEquals(refusals.size, 1);
  assertEquals([...refusals].join().split("\n").length, 1);
});

Deno.test("a sum takes its operand's memory where nothing else reads it, and none in a group of one", () => {
  const bytes = 256 * 256 * 4;
  const reduced = planOf((x) => allReduce(x.mul(2).matmul(x), { group }).sum());
  const plain = planOf((x) => x.mul(2).matmul(x).sum());
  assertEquals(reduced.memory.peakBytes, plain.memory.peakBytes);
  const kept = planOf((x) => {
    const product = x.matmul(x);
    return allReduce(product, { group }).matmul(product).sum();
  });
  assert(kept.arenaBytes >= 3 * bytes);
  const alone = planOf((x) => allReduce(x, { group: "one" }).mul(2));
  assertEquals(exchanges(alone), []);
});

Deno.test("a reduction waits only before the first step that touches its memory", () => {
  const plan = planOf((x) => {
    const sum = allReduce(x.mul(2), { group });
    let y = x;
    for (let i = 0; i < 5; i++) y = y.matmul(x);
    return sum.matmul(y);
  });
  const [pending] = pendingSteps(plan);
  assertEquals(plan.steps.length - 1, pending?.before); // the last product
});

Deno.test("slots of messages are planned, and the bytes a step sends are known", () => {
  const { memory } = planOf((x) => {
    send(x.mul(2), { group, to: 1, depth: 3 });
    return allReduce(x, { group });
  });
  const bytes = 256 * 256 * 4;
  assertEquals(memory.breakdown.messages, 3 * bytes);
  assertEquals(memory.traffic, { pair: { operations: 2, bytes: bytes + bytes } });
  const total = Object.values(memory.breakdown).reduce((a, b) => a + b);
  assertEquals(total, memory.peakBytes);
});

Deno.test("processes that exchange the same agree, others do not", () => {
  const hash = (f: (x: Tensor) => Tensor | readonly Tensor[]) => hashOf(effectsOf(programOf(f)));
  const sums = hash((x) => [allReduce(x, { group }), allReduce(x.sum(), { group })]);
  assertEquals(hash((x) => [allReduce(x.mul(3), { group }), allReduce(x.max(), { group })]), sums);
  assertNotEquals(hash((x) => [allReduce(x.sum(), { group }), allReduce(x, { group })]), sums);
  assertNotEquals(hash((x) => [allReduce(x, { group }), allReduce(x.sum(), { group, fn: "max" })]), sums);
  const sent = hash((x) => {
    send(x, { group, to: 1, tag: 4 });
    return x;
  });
  assertEquals(hash(() => receive(vector, { group, from: 0, tag: 4 })), sent);
  assertNotEquals(hash(() => receive(vector, { group, from: 0, tag: 5 })), sent);
});

Deno.test("exchanges that a device cannot make are refused", async () => {
  const { groups: _, ...rest } = await target("reference");
  const withoutGroups = { ...rest, name: "own" };
  const refusal = (f: (x: Tensor) => Tensor, on: typeof pair) =>
    assertThrows(() => compile(programOf(f), on), LocalgradError).message;
  assertEquals(
    refusal((x) => allReduce(x, { group: "data" }), pair),
    'step: allReduce in the group "data": this cpu device has only "pair", "one"; open it with ' +
      "{ communicators: { data: … } }",
  );
  assertEquals(
    refusal((x) => receive(vector, { group, from: 2 }).add(x), pair),
    'step: receive in the group "pair": there is no process 2, only 0 to 1',
  );
  assertEquals(
    refusal((x) => allReduce(x, { group }), withoutGroups),
    'step: allReduce in the group "pair": collective ops are not available on own; use the device cpu',
  );
  assertThrows(() => programOf((x) => allReduce(x.gt(0), { group })), LocalgradError, "bool");
  assertThrows(
    () => programOf((x) => grad((x: Tensor) => broadcastFrom(x, { group, root: 0 }).sum())(x) as Tensor),
    LocalgradError,
    "broadcastFrom",
  );
});
