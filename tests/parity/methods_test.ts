/** Ten steps of every other method, compared with PyTorch; see ../fixtures/README.md. */

import type { Method } from "../../src/local/method.ts";
import {
  augLocal,
  contSup,
  dgl,
  endToEnd,
  greedy,
  hpff,
  infopro,
  man,
  manPlusPlus,
  mlaan,
  predsim,
  sgr,
} from "../../src/local/methods/methods.ts";
import { load, testOn } from "./fixture.ts";
import { assertChanges, assertLosses, float32, make, type Run, start } from "./training.ts";

interface MethodsFixture {
  readonly learningRate: number;
  readonly cases: { readonly [name: string]: Run };
}

const K = 4;
const methods: { readonly [name: string]: Method } = {
  endToEnd: endToEnd(),
  greedy: greedy(),
  dgl: dgl(),
  "dgl-cnn": dgl({ head: "cnn" }),
  predsim: predsim(),
  infopro: infopro(),
  contrastive: infopro({ task: "contrastive" }),
  augLocal: augLocal({ depth: 3 }),
  "man+predsim": man(predsim()),
  "manPlusPlus+dgl": manPlusPlus(dgl({ head: "mlp-sr-large" })),
  "manPlusPlus+infopro": manPlusPlus(infopro()),
  "contSup+greedy": contSup(greedy(), { context: "R1E" }),
  "sgr+man+greedy": sgr(man(greedy()), { weight: 0.5 }),
  "hpff+infopro": hpff(infopro({ patches: 2 })),
  mlaan: mlaan({ depth: 2 }),
};

for (const [name, method] of Object.entries(methods)) {
  await testOn(
    // WebGPU takes up to a minute to compile each on a CPU. The others have no ops that these lack.
    ["infopro", "man+predsim", "manPlusPlus+dgl"].includes(name)
      ? ["cpu", "webgpu", "cuda"]
      : ["cpu", "cuda"],
    (backend) => `ten steps of ${name}, ResNet-32, K = ${K}, on ${backend} equal PyTorch's`,
    async (device) => {
      const { learningRate, cases } = load<MethodsFixture>("methods");
      const run = cases[name]!;
      using t = await make(device, method, run.batch, K);
      const before = await start(t, false); // running statistics follow from the compared values
      await assertLosses(t, run, learningRate, (step) => 1e-5 * 10 ** (2 * step / 9));
      await assertChanges(t, before, run.changes, float32);
    },
  );
}
