/** Ten steps of an MLP that learns a regression, compared with PyTorch; see ../fixtures/README.md. */

import { dgl, endToEnd, man } from "../../src/local/methods/methods.ts";
import { mlp } from "../../src/models/mlp.ts";
import { publishedSgd } from "../../src/optim/published.ts";
import { sgd } from "../../src/optim/sgd.ts";
import { HostArray } from "../../src/trace/host_array.ts";
import { trainer } from "../../src/training/trainer.ts";
import { units } from "../fixtures/formula.ts";
import { load, testOn } from "./fixture.ts";
import { assertChanges, assertLosses, float32, float64, type Run, start } from "./training.ts";

interface MlpFixture {
  readonly learningRate: number;
  readonly cases: { readonly [name: string]: Run };
}

const [features, outputs] = [5, 2];
const vectors = (step: number, count: number) => ({
  x: new HostArray(units(`vectors.${step}`, count * features), [count, features]),
  labels: new HostArray(units(`values.${step}`, count * outputs), [count, outputs]),
});

for (const method of [endToEnd(), man(dgl())]) {
  await testOn(
    method.name === "endToEnd" // its ops are among the other's
      ? ["reference", "cpu", "cuda"]
      : ["reference", "cpu", "cpu-onednn", "webgpu", "cuda-simulated", "cuda"],
    (backend) => `ten steps of ${method.name}, an MLP and a regression, on ${backend} equal PyTorch's`,
    async (device) => {
      const { learningRate, cases } = load<MlpFixture>("mlp");
      const run = cases[method.name]!;
      using t = await trainer({
        device,
        model: mlp({ features, hidden: [24, 24, 24], outputs }),
        modules: method.name === "endToEnd" ? 1 : 3,
        method,
        optimizer: sgd(publishedSgd),
        batch: run.batch,
      });
      const before = await start(t);
      const exact = device.name === "reference";
      await assertLosses(t, run, learningRate, () => exact ? 1e-6 : 1e-5, vectors);
      await assertChanges(t, before, run.changes, exact ? float64 : float32);
    },
  );
}
