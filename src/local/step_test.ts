import { assert, assertAlmostEquals, assertEquals, assertNotEquals } from "@std/assert";
import { run, type Values } from "../../tests/run.ts";
import { tinyModel } from "../../tests/tiny.ts";
import { batch, start } from "../../tests/tiny_step.ts";
import { grad } from "../autograd/grad.ts";
import { key } from "../base/random.ts";
import { initialize } from "../nn/initial.ts";
import { merge, type Named, select } from "../nn/named.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { publishedSgd } from "../optim/published.ts";
import { sgd } from "../optim/sgd.ts";
import { jit } from "../runtime/jit.ts";
import type { Aval } from "../trace/dtype.ts";
import { HostArray } from "../trace/host_array.ts";
import type { Tensor } from "../trace/tensor.ts";
import { type Tree, treeFlatten, treeMap, treePaths, treeUnflatten } from "../trace/tree.ts";
import type { Batch, Method } from "./method.ts";
import {
  augLocal,
  contSup,
  dgl,
  endToEnd,
  greedy,
  infopro,
  man,
  type ManOptions,
  manPlusPlus,
  predsim,
  sgr,
} from "./methods/methods.ts";
import type { Modules } from "./partition/partition.ts";
import { auxiliaryPart, EMA, moduleIn } from "./places.ts";
import { type Setup, setup, type TrainState } from "./setup.ts";
import { trainStep } from "./step.ts";

const optimizer = sgd(publishedSgd);
const make = (method: Method, modules: Modules = 3) =>
  setup({ model: tinyModel(), modules, method, optimizer });
const weighted = infopro({ weights: { reconstruction: [2, 1], task: [0.5, 1] } });
const contrastive = infopro({ task: "contrastive", weights: { reconstruction: [1, 1], task: [1, 1] } });
const methods: [Method, Modules, string?][] = [
  [endToEnd(), 1],
  [endToEnd({ checkpoint: 2 }), 1],
  [greedy(), 3],
  [dgl(), 3],
  [predsim(), 3],
  [augLocal(), 3],
  [weighted, 3],
  [contrastive, 2, "contrastive infopro"],
  [man(dgl()), 3],
  [man(greedy(), { moves: "beforeBackward", statistics: "copy" }), 3, "man moving between the passes"],
  [man(dgl(), { moves: "afterStep", statistics: "average" }), 3, "man moving after the step"],
  [man(greedy(), { average: "trained", statistics: "average" }), 3, "man with trained averages"],
  [man(greedy(), { ahead: 2 }), 3, "man looking two blocks ahead"],
  [man(weighted), 2],
  [manPlusPlus(dgl()), 3],
  [manPlusPlus(weighted), 2],
  [manPlusPlus(greedy(), { average: "trained" }), 3, "manPlusPlus with trained averages"],
  [sgr(dgl()), 3],
  [sgr(man(greedy())), 3],
  [sgr(weighted, { distance: "cosine" }), 2],
  [contSup(greedy(), { context: "R2" }), 3],
  [sgr(contSup(man(greedy()), { context: "R1E" })), 3],
];

function step(setup: Setup, train: TrainState<HostArray>, size = 4): Record<string, Values> {
  const f = (train: TrainState<Tensor>, batch: Batch, scalars: { learningRate: Tensor }) =>
    trainStep(setup, train, batch, scalars);
  return run(f, train, batch(size), { learningRate: 0.05 });
}

/** The array at a path of a tree. */
function at(tree: unknown, path: string): HostArray {
  const { leaves, paths } = treeFlatten<HostArray>(tree as Tree<HostArray>);
  return leaves[paths.indexOf(path)];
}

for (const [method, modules, name = method.name] of methods) {
  Deno.test(`trainStep() of ${name} lets no gradient across a boundary`, () => {
    const made = make(method, modules);
    const losses = (scale: (index: number) => number) =>
      run(
        (params: Named<Tensor>, rest: TrainState<Tensor>, batch: Batch) =>
          grad((params: Named<Tensor>) => {
            const { losses } = trainStep(made, { ...rest, params }, batch, { learningRate: 0.05 });
            const weights = made.modules.map((_, index) => scale(index));
            return losses.mul(literalLike(losses, weights)).sum();
          })(params),
        start(made).params,
        start(made),
        batch(4),
      );
    for (const trained of made.modules) {
      const gradients = losses((index) => index === trained.index ? 1 : 0);
      for (const module of made.modules) {
        const own = Object.keys(run((p: unknown) => p, initialize(module.params, key(0))));
        const norm = own.reduce((sum, path) => sum + gradients[path].data.reduce((a, b) => a + b * b, 0), 0);
        if (module.index === trained.index) assert(norm > 1e-9, `module ${module.name} learns nothing`);
        else assertEquals(norm, 0, `the loss of ${trained.name} reaches ${module.name}`);
      }
    }
  });

  Deno.test(`trainStep() of ${name} changes every parameter and keeps every name`, () => {
    const made = make(method, modules);
    const before = start(made);
    const after = step(made, before);
    const names = Object.keys(run((t: unknown) => ({ train: t }), before));
    assertEquals(Object.keys(after), [...names, "losses", "score"]);
    assertEquals(after["losses"].shape, [made.modules.length]);
    for (const path of names.filter((path) => path.startsWith("train.params."))) {
      assertNotEquals([...after[path].data], [...at({ train: before }, path).data], path);
    }
  });

  Deno.test(`trainStep() of ${name} finishes a module before it begins the next`, () => {
    const made = make(method, modules);
    const { instructions } = program(made);
    const phases = ["forward", "backward", "follow", "update"];
    let last = -1;
    for (const { scope } of instructions) {
      const [module, phase] = [moduleIn(scope), scope.split("/")[1]];
      if (module === undefined || phase === undefined) continue;
      const place = module * phases.length + phases.indexOf(phase);
      assert(place >= last, `${scope} comes after ${phases[last % phases.length]}`);
      last = place;
    }
    assertEquals(last, made.modules.length * phases.length - 1);
  });
}

function literalLike(like: Tensor, values: readonly number[]): Tensor {
  return like.trace.emit("constant", [], { shape: like.shape, dtype: "f32", values });
}

function program(setup: Setup) {
  const f = jit((train: TrainState<Tensor>, batch: Batch, scalars: { learningRate: Tensor }) =>
    trainStep(setup, train, batch, scalars)
  );
  const aval = ({ shape, dtype }: HostArray): Aval => ({ shape, dtype });
  const scalar: Aval = { shape: [], dtype: "f32" };
  return f.program(setup.initial, treeMap(aval, batch(4)), { learningRate: scalar });
}

Deno.test("one local module is end-to-end training, op for op", () => {
  const expected = program(make(endToEnd()));
  for (const [method] of methods.slice(2)) {
    assertEquals(program(make(method, 1)).instructions, expected.instructions);
  }
});

Deno.test("an optimizer per module and one for all modules give the same step, bit for bit", () => {
  for (const [method, modules] of methods) {
    const apart = make(method, modules);
    const before = start(apart);
    // Keeps the arguments of each module's update, changes nothing, and updates everything at once at the end.
    const gradients: Named<Tensor>[] = [];
    const later: Optimizer = {
      ...optimizer,
      update(params, own, slots) {
        gradients.push(own as Named<Tensor>);
        return { params, slots };
      },
    };
    const together = run(
      (train: TrainState<Tensor>, batch: Batch, scalars: { learningRate: Tensor }) => {
        trainStep({ ...apart, optimizer: later }, train, batch, scalars);
        const all = select(merge(...gradients), apart.initial.params);
        return optimizer.update(train.params, all, train.optimizer, scalars);
      },
      before,
      batch(4),
      { learningRate: 0.05 },
    );
    const expected = step(apart, before);
    for (const [path, { data }] of Object.entries(together)) {
      const isAverage = auxiliaryPart(path.replace("params.", "")) === EMA;
      if (isAverage) continue; // a trained average moves once more, after its update
      const name = `train.${path.replace(/^slots/, "optimizer")}`;
      assertEquals(data, expected[name].data, `${method.name}: ${path}`);
    }
    assertEquals(Object.keys(together).length, 2 * treePaths(apart.initial.params).length);
  }
});

Deno.test("man() averages the tracked block as it was when the step began", () => {
  for (const options of [{}, { momentum: 0.5 }, { momentum: 0, start: "random" }] satisfies ManOptions[]) {
    const { momentum = 0.995 } = options as ManOptions;
    const made = make(man(dgl(), options));
    const before = start(made);
    const after = step(made, before);
    for (const [place, block] of [["local.0", "layer1.1"], ["local.1", "layer2.0"]]) {
      for (
        const name of ["conv1.weight", "bn2.bias", ...(block === "layer2.0" ? ["downsample.0.weight"] : [])]
      ) {
        const old = at(before.state, `${place}.ema.${name}`).data;
        const tracked = at(before.params, `${block}.${name}`).data;
        after[`train.state.${place}.ema.${name}`].data.forEach((value, i) =>
          assertAlmostEquals(value, momentum * old[i] + (1 - momentum) * tracked[i], 1e-12)
        );
      }
    }
  }
});

Deno.test("man() starts its average as a copy, or as a separate draw", () => {
  for (const how of ["copy", "random"] as const) {
    const { params, state } = start(make(man(dgl(), { start: how })));
    const average = [...at(state, "local.1.ema.conv2.weight").data];
    const tracked = [...at(params, "layer2.0.conv2.weight").data];
    const bias = [...at(params, "local.1.bias.conv2.weight").data];
    (how === "copy" ? assertEquals : assertNotEquals)(average, tracked);
    assertNotEquals(average, bias);
    assertNotEquals(tracked, bias);
  }
});

Deno.test("man() sends the gradient to the features through the average as well as through the bias", () => {
  const update = (fusion: NonNullable<ManOptions["fusion"]>) => {
    const made = make(man(greedy(), { fusion }), 2);
    const before = start(made);
    const after = step(made, before)["train.params.layer1.0.conv1.weight"].data;
    return Array.from(after, (value, i) => value - at(before.params, "layer1.0.conv1.weight").data[i]);
  };
  const [sum, ema, bias] = [update("sum"), update("emaOnly"), update("biasOnly")];
  const size = (v: number[]) => Math.hypot(...v);
  for (const each of [sum, ema, bias]) assert(size(each) > 1e-6);
  assert(size(sum.map((v, i) => v - bias[i])) > 1e-3 * size(sum));
});

Deno.test("the auxiliary network of one module has no influence on other modules", () => {
  const made = make(man(weighted));
  const before = start(made);
  const { leaves, paths, structure } = treeFlatten<HostArray>(before);
  const triple = (a: HostArray) => new HostArray(Float32Array.from(a.data, (v) => 3 * v), a.shape);
  const disturbed = treeUnflatten(
    structure,
    leaves.map((leaf, i) => paths[i] === "params.local.1.classifier.fc.weight" ? triple(leaf) : leaf),
  ) as unknown as TrainState<HostArray>;
  const [a, b] = [step(made, before), step(made, disturbed)];
  for (const path of Object.keys(a).filter((path) => path.startsWith("train."))) {
    const name = path.split(".").slice(2).join(".");
    const own = name.startsWith("layer1.1") || name.startsWith("momentum.layer1.1") ||
      name.includes("local.1.");
    if (!own) assertEquals(a[path].data, b[path].data, path);
  }
  assertNotEquals(a["train.params.layer1.1.conv1.weight"].data, b["train.params.layer1.1.conv1.weight"].data);
});
