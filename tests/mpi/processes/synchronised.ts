/**
 * Processes that share batches compare their training with PyTorch's on the whole batch, as one process does in
 * `tests/parity`: an end-to-end step, and steps of MAN. Reports the losses of a step whose
 * batch norms take the statistics of shares.
 */
import { devices, local, models, optim, processes } from "../../../mod.ts";
import { publishedSgd } from "../../../src/optim/published.ts";
import { load } from "../../parity/fixture.ts";
import {
  assertChanges,
  assertLosses,
  assertRecorded,
  float32,
  hostBatch,
  isSlot,
  type Records,
  type Run,
  start,
  variables,
} from "../../parity/training.ts";
import { report } from "../report.ts";

interface StepFixture {
  readonly batch: number;
  readonly learningRate: number;
  readonly loss: number;
  readonly momentum: Records;
  readonly changes: Records;
}

interface ManFixture {
  readonly learningRate: number;
  readonly cases: { readonly beforeBackward: Run & { readonly options: local.ManOptions } };
}

const team = await processes.join({ parallel: "data", timeLimit: 30, threads: 1 });
await using device = await devices.open("cpu", { processes: team, engine: "wasm" });
const optimizer = optim.sgd(publishedSgd);

const step = load<StepFixture>("resnet32");
{
  const model = models.resnet32({ classes: 10 });
  using t = await local.trainer({
    ...{ device, model, method: local.endToEnd(), optimizer, batch: step.batch, batchNorm: "synchronised" },
  });
  const before = await start(t); // with running statistics
  const run = { batch: step.batch, losses: [[step.loss]], changes: step.changes };
  await assertLosses(t, run, step.learningRate, () => 1e-5);
  // After one step the momentum is the gradient.
  const gradients = Object.entries(variables(t)).filter(([name]) => isSlot(name))
    .map(([name, array]) => [name.replace("optimizer.momentum.", ""), array]);
  await assertRecorded(Object.fromEntries(gradients), step.momentum, float32);
  await assertChanges(t, before, step.changes, float32);
}

const { learningRate, cases: { beforeBackward: run } } = load<ManFixture>("averages");
const man = {
  ...{ device, model: models.resnet8({ classes: 10 }), modules: 3, batch: run.batch, optimizer },
  method: local.man(local.greedy(), run.options),
};
{
  using t = await local.trainer({ ...man, batchNorm: "synchronised" });
  const all = Object.entries(await start(t));
  const isRecorded = ([name]: typeof all[number]) => name in run.changes;
  for (const each of all) if (!isRecorded(each)) each[1].dispose();
  const before = Object.fromEntries(all.filter(isRecorded));
  await assertLosses(t, run, learningRate, () => 1e-5);
  await assertChanges(t, before, run.changes, float32);
}
using shares = await local.trainer(man);
for (const array of Object.values(await start(shares))) array.dispose();
const { losses } = await shares.step(hostBatch(0, run.batch), { learningRate });
report(team.rank, { losses, recorded: run.losses[0] });
team.leave();
