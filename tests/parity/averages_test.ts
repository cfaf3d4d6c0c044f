/** Four steps, or ten, with the other kinds of MAN's averages, compared with PyTorch; see ../fixtures/README.md. */

import { greedy } from "../../src/local/methods/greedy.ts";
import { man, type ManOptions } from "../../src/local/methods/man.ts";
import { resnet8 } from "../../src/models/resnet.ts";
import { publishedSgd } from "../../src/optim/published.ts";
import { sgd } from "../../src/optim/sgd.ts";
import { trainer } from "../../src/training/trainer.ts";
import { load, testOn } from "./fixture.ts";
import { assertChanges, assertLosses, float32, type Run, start } from "./training.ts";

interface Fixture {
  readonly learningRate: number;
  readonly cases: { readonly [name: string]: Run & { readonly options: ManOptions } };
}

const { learningRate, cases } = load<Fixture>("averages");

for (const [name, run] of Object.entries(cases)) {
  await testOn(
    // The program differs, not the kernels.
    name === "beforeBackward" ? ["cpu", "webgpu", "cuda"] : ["cpu", "cuda"],
    (backend) =>
      `${run.losses.length} steps of man+greedy, ${name}, ResNet-8, K = 3, on ${backend} equal PyTorch's`,
    async (device) => {
      using t = await trainer({
        device,
        model: resnet8({ classes: 10 }),
        modules: 3,
        method: man(greedy(), run.options),
        optimizer: sgd(publishedSgd),
        batch: run.batch,
      });
      const before: Awaited<ReturnType<typeof start>> = {};
      for (const [name, array] of Object.entries(await start(t))) {
        if (name in run.changes) Object.assign(before, { [name]: array });
        else array.dispose();
      }
      await assertLosses(t, run, learningRate, () => 1e-5);
      await assertChanges(t, before, run.changes, float32);
    },
  );
}
