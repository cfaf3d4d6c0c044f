/** bf16, compared with PyTorch's autocast, which rounds in the same places; see ../fixtures/README.md. */

import { vjp } from "../../src/autograd/grad.ts";
import { key } from "../../src/base/random.ts";
import { dgl } from "../../src/local/methods/dgl.ts";
import { endToEnd } from "../../src/local/methods/end_to_end.ts";
import { man } from "../../src/local/methods/man.ts";
import { resnet8 } from "../../src/models/resnet.ts";
import { initialize } from "../../src/nn/initial.ts";
import type { Named } from "../../src/nn/named.ts";
import { residualBlock } from "../../src/nn/residual.ts";
import { publishedSgd } from "../../src/optim/published.ts";
import { sgd } from "../../src/optim/sgd.ts";
import { disposeTree } from "../../src/runtime/arrays.ts";
import { jit } from "../../src/runtime/jit.ts";
import { sizeOf } from "../../src/trace/dtype.ts";
import { HostArray } from "../../src/trace/host_array.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { treeFlatten } from "../../src/trace/tree.ts";
import { trainer } from "../../src/training/trainer.ts";
import { startingValues, units } from "../fixtures/formula.ts";
import { load, type Recorded, testOn } from "./fixture.ts";
import { assertChanges, assertLosses, assertRecorded, type Records, type Run, start } from "./training.ts";

interface Fixture extends Run {
  readonly learningRate: number;
  readonly block: Records;
  readonly ten: { readonly [method in "man+dgl" | "endToEnd"]: LongRun };
}

interface LongRun {
  readonly losses: Run["losses"];
  /** For each step, PyTorch's largest relative distance from its float64 run until then. */
  readonly noise: readonly number[];
}

const backends = ["reference", "cpu-bf16", "cuda-simulated", "cuda"];

/** Inputs of the block by their names in the formula. */
const named = (name: string, ...shape: number[]) => new HostArray(units(name, sizeOf(shape)), shape);

await testOn(
  backends,
  (backend) => `a residual block in bf16 on ${backend} equals PyTorch's`,
  async (device) => {
    const layer = residualBlock({ in: 16, out: 32, stride: 2 });
    const flat = treeFlatten<HostArray>(initialize({ 0: layer.params }, key(0)) as never);
    const values = startingValues(new Map(flat.paths.map((path, i) => [path, flat.leaves[i].shape])));
    const params = Object.fromEntries(
      flat.paths.map((path, i) => [path, new HostArray(values.get(path)!, flat.leaves[i].shape)]),
    );
    const run = jit((params: { [path: string]: Tensor }, state: Named<Tensor>, x: Tensor, dy: Tensor) => {
      const [y, back] = vjp(
        (params: { [path: string]: Tensor }, x: Tensor) =>
          layer.apply(nested(params), state, x.cast("bf16"), "train").y,
        params,
        x,
      );
      const [gradients, dx] = back(dy.cast("bf16"));
      const results = { y: y.cast("f32"), dx, ...gradients };
      return Object.fromEntries(Object.entries(results).map(([name, value]) => [name, value.reshape(-1)]));
    }, { device, name: "block" });
    const results = run(
      params,
      initialize(layer.state, key(0)) as never,
      named("x", 4, 8, 8, 16),
      named("dy", 4, 4, 4, 32),
    );
    // Each op rounds in the same place, so only the order of sums differs.
    await assertRecorded(results, load<Fixture>("bf16").block, ({ noise }) => 0.05 * noise!);
    disposeTree(results as never);
  },
);

/** Parameters of the block by `0.path`, as its layer takes them. */
function nested(params: { [path: string]: Tensor }): Named<Tensor> {
  const tree: { [name: string]: unknown } = {};
  for (const [path, value] of Object.entries(params)) {
    const names = path.split(".").slice(1);
    const last = names.pop()!;
    const place = names.reduce((node, name) => (node[name] ??= {}) as typeof tree, tree);
    place[last] = value;
  }
  return tree as Named<Tensor>;
}

await testOn(
  backends.slice(1),
  (backend) => `three steps of man+dgl in bf16, ResNet-8, K = 3, on ${backend} equal PyTorch's`,
  async (device) => {
    const fixture = load<Fixture>("bf16");
    using t = await trainer({
      device,
      model: resnet8({ classes: 10 }),
      modules: 3,
      method: man(dgl()),
      optimizer: sgd(publishedSgd),
      batch: fixture.batch,
      precision: "bf16",
    });
    const all = await start(t);
    const ema = Object.keys(all).filter((name) => name.includes(".ema."));
    const before = Object.fromEntries(Object.entries(all).filter(([name]) => !ema.includes(name)));
    for (const name of ema) all[name].dispose();
    await assertLosses(t, fixture, fixture.learningRate, () => 1e-3);
    // Over a few layers such a difference grows to the size of all rounding errors, which are large in gradients; so
    // results must be as near to PyTorch as PyTorch is to float64. A rounded master weight would not move at all.
    await assertChanges(t, before, fixture.changes, ({ noise }: Recorded) => 5e-3 + 2 * noise!);
  },
);

for (const [name, modules, method] of [["man+dgl", 3, man(dgl())], ["endToEnd", 1, endToEnd()]] as const) {
  await testOn(
    ["cpu-bf16", "cuda"],
    (backend) => `ten steps of ${name} in bf16, ResNet-8, on ${backend} equal PyTorch's`,
    async (device) => {
      const { batch, learningRate, changes, ten } = load<Fixture>("bf16");
      using t = await trainer({
        device,
        model: resnet8({ classes: 10 }),
        modules,
        method,
        optimizer: sgd(publishedSgd),
        batch,
        precision: "bf16",
      });
      disposeTree(await start(t));
      const { losses, noise } = ten[name];
      // Two runs that round alike, but add in another order, part as fast as each does from float64.
      const run = { batch, losses, changes };
      await assertLosses(t, run, learningRate, (step) => 1e-4 + 2 * (noise[step] ?? 0));
    },
  );
}
