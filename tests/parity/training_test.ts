/** A ResNet-32 step and ten steps of MAN, compared with PyTorch; see ../fixtures/README.md. */

import type { Method } from "../../src/local/method.ts";
import { dgl } from "../../src/local/methods/dgl.ts";
import { endToEnd } from "../../src/local/methods/end_to_end.ts";
import { infopro } from "../../src/local/methods/infopro.ts";
import { man } from "../../src/local/methods/man.ts";
import { network } from "../../src/models/model.ts";
import type { Named } from "../../src/nn/named.ts";
import { jit } from "../../src/runtime/jit.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { load, type Recorded, testOn } from "./fixture.ts";
import {
  assertChanges,
  assertLosses,
  assertRecorded,
  float32,
  float64,
  hostBatch,
  isSlot,
  make,
  type Records,
  type Run,
  start,
  variables,
} from "./training.ts";

interface StepFixture {
  readonly batch: number;
  readonly learningRate: number;
  readonly loss: number;
  readonly momentum: Records;
  readonly changes: Records;
  readonly evaluatedLogits: Recorded;
}

interface ManFixture {
  readonly learningRate: number;
  readonly f32: Run;
  readonly f64: Run;
}

await testOn(
  ["reference", "cpu", "cpu-onednn", "webgpu", "cuda-simulated", "cuda"],
  (backend) => `an end-to-end step of ResNet-32 on ${backend} equals PyTorch's`,
  async (device) => {
    const fixture = load<StepFixture>("resnet32");
    const allowed = device.name === "reference" ? float64 : float32;
    using t = await make(device, endToEnd(), fixture.batch, 1);
    const before = await start(t);
    const run = { batch: fixture.batch, losses: [[fixture.loss]], changes: fixture.changes };
    await assertLosses(t, run, fixture.learningRate, () => device.name === "reference" ? 1e-6 : 1e-5);
    const momentum = Object.entries(variables(t)).filter(([name]) => isSlot(name))
      .map(([name, array]) => [name.replace("optimizer.momentum.", ""), array]);
    await assertRecorded(Object.fromEntries(momentum), fixture.momentum, allowed);
    await assertChanges(t, before, fixture.changes, allowed);

    const evaluate = jit((params: Named<Tensor>, state: Named<Tensor>, x: Tensor) => {
      return network(t.setup.model).apply(params, state, x, "evaluate").y.reshape(-1);
    }, { device, name: "evaluate" });
    const { params, state } = t.variables;
    const logits = evaluate(params as never, state as never, hostBatch(0, fixture.batch).x);
    await assertRecorded({ logits }, { logits: fixture.evaluatedLogits }, allowed);
    logits.dispose();
  },
);

const methods: { readonly [name: string]: Method } = {
  man_dgl: man(dgl()),
  man_infopro: man(infopro({ schedule: "stage" })),
};

for (const [name, method] of Object.entries(methods)) {
  await testOn(
    // WebGPU takes a minute to compile a step of 16 modules on a CPU; methods_test.ts has InfoPro, MAN and MAN++ in four.
    // InfoPro on the simulated card is compared with the reference, as which it trains here, in cuda/simulated_test.ts.
    ["cpu", "cpu-onednn", ...(name === "man_dgl" ? ["cuda-simulated"] : []), "cuda"],
    (backend) => `ten steps of ${method.name}, ResNet-32, K = 16, on ${backend} equal PyTorch's`,
    async (device) => {
      const { f32, learningRate } = load<ManFixture>(name);
      using t = await make(device, method, f32.batch, 16);
      const before = await start(t);
      await assertLosses(t, f32, learningRate, (step) => 1e-5 * 10 ** (2 * step / 9));
      await assertChanges(t, before, f32.changes, float32);
    },
  );
  await testOn(
    ["reference"],
    (backend) => `three steps of ${method.name}, ResNet-32, K = 16, on ${backend} equal PyTorch's in float64`,
    async (device) => {
      const { f64, learningRate } = load<ManFixture>(name);
      using t = await make(device, method, f64.batch, 16);
      const before = await start(t);
      await assertLosses(t, f64, learningRate, () => 1e-6);
      await assertChanges(t, before, f64.changes, float64);
    },
  );
}
