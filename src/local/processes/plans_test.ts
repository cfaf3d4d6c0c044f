import { assert, assertEquals } from "@std/assert";
import { tinyModel } from "../../../tests/tiny.ts";
import { cpuTarget } from "../../backends/cpu/target.ts";
import { pendingSteps } from "../../compile/pending.ts";
import { resnet32 } from "../../models.ts";
import { sgd } from "../../optim.ts";
import { stepMemory } from "../memory.ts";
import { dgl } from "../methods/dgl.ts";
import { infopro } from "../methods/infopro.ts";
import { man } from "../methods/man.ts";
import { planAlone, planProcesses, totalOf } from "./plans.ts";
import { setup } from "../setup.ts";

const target = cpuTarget(1);
const whole = (method = man(dgl())) =>
  setup({ model: tinyModel(), modules: 3, method, optimizer: sgd({ momentum: 0.9 }) });
const runs = [{ first: 0, end: 1 }, { first: 1, end: 3 }];
const pair = { layout: { data: 1, modules: 2 }, runs };

Deno.test("planProcesses() plans each process's program: what one sends the other receives", () => {
  const [first, second] = planProcesses(whole(), 8, target, pair);
  const { features } = first.sent;
  assertEquals(features, second.received.features);
  assertEquals(features, 4 * 8 * (8 * 8 * 4)); // f32, batch, the output of layer1.0
  assertEquals(second.sent.blocks, first.received.blocks);
  assert(second.sent.blocks > 0); // the tracked block of MAN
  for (const { plan, sent } of [first, second]) {
    assertEquals(plan.memory.traffic!["modules"].bytes, totalOf(sent));
    assertEquals(sent.gradients, 0);
  }
  const [, alone] = planProcesses(whole(dgl()), 8, target, pair);
  assertEquals(totalOf(alone.sent), 0);
});

Deno.test("planProcesses() gives processes that share batches the largest share, and counts their gradients", () => {
  const data = { layout: { data: 3, modules: 1 }, runs: [{ first: 0, end: 3 }] };
  const [process] = planProcesses(whole(), 8, target, data);
  assertEquals(process.images, 3);
  assertEquals(process.sent, process.received);
  const { parameters = 0, auxiliary = 0 } = process.memory.breakdown;
  // Two thirds of each sum are sent, twice; averages are not summed, running statistics and the losses are.
  assert(
    process.sent.gradients > 4 / 3 * parameters && process.sent.gradients < 1.5 * (parameters + auxiliary),
  );
});

Deno.test("a process's memory has only the parts of a batch that its modules read", () => {
  const image = 8 * 4 * (8 * 8 * 3);
  const inputs = (method = dgl()) =>
    planProcesses(whole(method), 8, target, pair).map(({ memory }) => memory.breakdown.inputs ?? 0);
  const labels = 8 * 4, rate = 4;
  assertEquals(inputs(), [image + labels + rate, labels + rate]);
  const [, decoding] = inputs(infopro()); // reconstructs the images at its boundary
  assertEquals(decoding, image + labels + rate);
  const alone = planAlone(whole(), 8, target).memory;
  assertEquals(stepMemory(whole(), 8, target).peakBytes - alone.peakBytes, image);
  for (
    const { peakBytes, breakdown } of [
      alone,
      ...planProcesses(whole(), 8, target, pair).map((p) => p.memory),
    ]
  ) {
    assertEquals(Object.values(breakdown).reduce((sum, bytes) => sum + bytes, 0), peakBytes);
  }
});

Deno.test("a plan computes a module's passes between the start of the last one's sums and what waits for them", () => {
  const model = resnet32({ classes: 10 });
  const deep = setup({ model, modules: 4, method: man(dgl()), optimizer: sgd({ momentum: 0.9 }) });
  const data = { layout: { data: 2, modules: 1 }, runs: [{ first: 0, end: 4 }] };
  const [{ plan }] = planProcesses(deep, 8, target, data);
  const backward = pendingSteps(plan).slice(0, 3).map(({ position, before, instruction: { op, scope } }) => {
    assertEquals([op, scope.endsWith("/exchange")], ["allReduce", true]);
    const meanwhile = plan.steps.slice(position, before).flatMap((step) =>
      step.kind === "op" && step.instruction.op === "convFilterGrad" ? [step.instruction.scope] : []
    );
    return [...new Set(meanwhile)];
  });
  assertEquals(
    backward,
    ["module 2/backward", "module 3/backward", "module 4/backward"].map((scope) => [scope]),
  );
});
