import { assert, assertEquals } from "@std/assert";
import { openCpu } from "../src/backends/cpu/backend.ts";
import { openReference } from "../src/backends/reference/backend.ts";
import { referenceTarget } from "../src/backends/reference/target.ts";
import { compile, compileWithin } from "../src/compile/compile.ts";
import type { Plan } from "../src/compile/plan.ts";
import { dgl } from "../src/local/methods/dgl.ts";
import { endToEnd } from "../src/local/methods/end_to_end.ts";
import { man } from "../src/local/methods/man.ts";
import { resnet8 } from "../src/models.ts";
import { sgd } from "../src/optim.ts";
import { Device, type DeviceArray } from "../src/runtime/arrays.ts";
import type { HostData } from "../src/trace/dtype.ts";
import { treeLeaves } from "../src/trace/tree.ts";
import { trainer } from "../src/training/trainer.ts";
import { assertSameBits, runAll } from "./ops/check.ts";
import { withBackend } from "./ops/suite.ts";
import { generatorOf, randomProgram } from "./random_program.ts";
import { elementsOf, thereAndBack } from "./there_and_back.ts";

const FRACTIONS = [1, 0.9, 0.8, 0.65, 0.5, 0.4, 0.3, 0.01];

function plansOf(program: Parameters<typeof compile>[0]): { plain: Plan; limits: number[]; plans: Plan[] } {
  const plain = compile(program, referenceTarget);
  const limits = FRACTIONS.map((fraction) => plain.memory.peakBytes * fraction);
  return { plain, limits, plans: compileWithin(program, referenceTarget, limits, { verify: true }) };
}

Deno.test("a lower limit never gives a higher peak, and the plain peak gives the plain plan", () => {
  for (let seed = 0; seed < 2; seed++) {
    const program = seed < 12 ? thereAndBack(seed, 3 + seed) : randomProgram(seed, 20 + seed).program;
    const { plain, limits, plans } = plansOf(program);
    assertEquals(plans[0], plain);
    const least = plans.at(-1)!.memory.peakBytes;
    for (const [i, { memory }] of plans.entries()) {
      assert(
        memory.peakBytes <= (plans[i - 1]?.memory.peakBytes ?? Infinity),
        `seed ${seed}, ${FRACTIONS[i]}`,
      );
      assert(
        memory.peakBytes <= Math.max(limits[i], least),
        `seed ${seed}: ${memory.peakBytes} of ${limits[i]}`,
      );
      const isLess = memory.peakBytes < plain.memory.peakBytes;
      assertEquals(memory.recompute !== undefined, isLess);
      if (i === 3) {
        assertEquals(plans[i], compile(program, referenceTarget, { recompute: { limit: limits[i] } }));
      }
    }
  }
});

Deno.test("a limit takes products where cheap values do not suffice, and no more than it needs", () => {
  let products = 0;
  for (let seed = 0; seed < 20; seed++) {
    const program = thereAndBack(seed, 12);
    const cheap = compile(program, referenceTarget, { recompute: true });
    const limits = [1, 0.9, 0.8, 0.7].map((fraction) => cheap.memory.peakBytes * fraction);
    const plans = compileWithin(program, referenceTarget, limits, { verify: true });
    const seconds = plans.map(({ memory }) => memory.recompute!.seconds!);
    const count = (plan: Plan) => plan.steps.filter((step) => step.kind === "op").length;
    if (plans[2].memory.peakBytes <= limits[2] && count(plans[2]) > count(cheap)) products++;
    assert(seconds[0] < seconds[2], `seed ${seed}: ${seconds}`);
  }
  assert(products >= 2, `only ${products} of 2 programs repeat products`);
});

for (const [name, open] of [["reference", () => openReference()], ["cpu", () => openCpu()]] as const) {
  Deno.test(`${name}: plans within limits give the bits of the plain plan`, () =>
    withBackend(open, async (backend) => {
      const random = generatorOf(7);
      const pairs = Array.from({ length: 3 }, (_, seed) => thereAndBack(seed, 4 + 3 * seed)).flatMap(
        (program) => {
          const { plain, plans } = plansOf(program);
          const inputs = elementsOf(program, random);
          return [...new Set(plans)].map((plan) => [{ plan: plain, inputs }, { plan, inputs }] as const);
        },
      );
      const [plain, lean] = await Promise.all(
        [0, 1].map((which) => runAll(backend, pairs.map((pair) => () => pair[which]))),
      );
      assertSameBits(lean, plain);
    }));
}

Deno.test("cpu: a training step within a limit has the plain step's bits and holds what is planned", async () => {
  const batch = 8;
  const random = generatorOf(1);
  const pixels = Array.from({ length: batch * 32 * 32 * 3 }, () => random() - 0.5);
  const labels = Int32Array.from({ length: batch }, (_, i) => i);
  for (const [modules, method, fraction] of [[1, endToEnd(), 0.62], [3, man(dgl()), 0.75]] as const) {
    const results: HostData[][] = [];
    let limit = Infinity;
    for (const isPlain of [true, false]) {
      // A device each: its arena is as large as the largest plan needs.
      const opened = await openCpu();
      if (!("backend" in opened)) throw new Error(opened.reason);
      await using device = new Device(opened.backend, "cpu");
      using x = device.array(pixels, [batch, 32, 32, 3]);
      using images = device.zeros([batch, 32, 32, 3]);
      const recompute = isPlain ? false : { limit };
      const optimizer = sgd({ momentum: 0.9, weightDecay: 1e-4 });
      using run = await trainer({ device, model: resnet8(), modules, method, optimizer, batch, recompute });
      const { peakBytes, recompute: cost } = run.memory.method;
      assert(peakBytes <= limit, `${method.name}: ${peakBytes} of ${limit}`);
      assertEquals(cost === undefined, isPlain);
      if (!isPlain) assert(cost!.operations > 0.01 * cost!.of.operations, "no convolution runs again");
      for (let i = 0; i < 2; i++) await run.step({ x, images, labels });
      const leaves = treeLeaves<DeviceArray>(run.variables as never);
      results.push(await Promise.all(leaves.map((leaf) => leaf.read())));
      const held = device.backend.liveBytes;
      assert(Math.abs(held / peakBytes - 1) <= 0.02, `${held} bytes held, ${peakBytes} planned`);
      limit = fraction * peakBytes;
    }
    assertSameBits([results[1]], [results[0]]);
  }
});
