import { assert, assertAlmostEquals, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { integers, noise, run, type Values } from "../../../tests/run.ts";
import { tinyModel } from "../../../tests/tiny.ts";
import { start } from "../../../tests/tiny_step.ts";
import { grad } from "../../autograd/grad.ts";
import type { Model } from "../../models/model.ts";
import { relu } from "../../nn/activation.ts";
import { batchNorm } from "../../nn/batch_norm.ts";
import { sequential } from "../../nn/layer.ts";
import { conv } from "../../nn/conv.ts";
import { linear } from "../../nn/linear.ts";
import { globalAveragePooling } from "../../nn/pooling.ts";
import { sgd } from "../../optim/sgd.ts";
import { HostArray } from "../../trace/host_array.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { type Tree, treeFlatten, treePaths, treeUnflatten } from "../../trace/tree.ts";
import { crossEntropy } from "../losses.ts";
import type { Batch, Method } from "../method.ts";
import { type Setup, setup, type TrainState } from "../setup.ts";
import { trainStep } from "../step.ts";
import { greedy, man, type ManOptions } from "./methods.ts";

const RATE = 0.05;
const MOMENTUM = 0.75;

const make = (options: ManOptions, model: Model = tinyModel()) =>
  setup({ model, modules: 3, method: man(greedy(), { momentum: MOMENTUM, ...options }), optimizer: sgd() });

const images = noise("images", [4, 8, 8, 3]);
const batch = { x: images, labels: integers([0, 1, 2, 0]), images };

/** A step in float64: `params…`, `state…` and `losses` by path. */
function step(made: Setup, train: TrainState<HostArray>): Record<string, Values> {
  return run(
    (train: TrainState<Tensor>, batch: Batch) => {
      const { train: after, losses } = trainStep(made, train, batch, { learningRate: RATE });
      return { ...after, losses };
    },
    train,
    batch,
  );
}

const byPath = (train: TrainState<HostArray>): Record<string, Values> => {
  const { leaves, paths } = treeFlatten<HostArray>(train as Tree<HostArray>);
  return Object.fromEntries(
    paths.map((path, i) => [path, { shape: leaves[i].shape, data: Float64Array.from(leaves[i].data) }]),
  );
};

/** The variables, with their values taken from `by`. */
function withValues(train: TrainState<HostArray>, by: Record<string, Values>): TrainState<HostArray> {
  const { leaves, paths, structure } = treeFlatten<HostArray>(train as Tree<HostArray>);
  const values = paths.map((path, i) =>
    new HostArray(by[path] === undefined ? leaves[i].data : Float32Array.from(by[path].data), leaves[i].shape)
  );
  return treeUnflatten(structure, values) as never;
}

/** The values before, between and after two steps. */
function twoSteps(made: Setup): Record<string, Values>[] {
  const before = start(made, 3);
  const first = step(made, before);
  const between = withValues(before, first);
  return [byPath(before), byPath(between), step(made, between)];
}

const boundaries = [["local.0", "layer1.1"], ["local.1", "layer2.0"]];
const learned = ["conv1.weight", "bn1.weight", "conv2.weight", "bn2.bias"];
const seen = ["bn1.running_mean", "bn2.running_var"];

/** Asserts that each step kept `m` of an average and took the rest from the tracked block before (0) or after it (1). */
function assertMoved(
  steps: Record<string, Values>[],
  part: "params" | "state",
  names: string[],
  moment: 0 | 1,
  m = MOMENTUM,
) {
  for (const [place, block] of boundaries) {
    for (const name of names) {
      for (let i = 1; i < steps.length; i++) {
        const [old, moved] = [i - 1, i].map((j) => steps[j][`state.${place}.ema.${name}`].data);
        const tracked = steps[i - 1 + moment][`${part}.${block}.${name}`].data;
        assertNotEquals([...moved], [...old], `${place} ${name}`);
        moved.forEach((value, k) => assertAlmostEquals(value, m * old[k] + (1 - m) * tracked[k], 1e-7));
      }
    }
  }
}

Deno.test("an average moves toward the block as it was before or after the step", () => {
  for (const moves of ["afterBackward", "beforeBackward"] as const) {
    const early = twoSteps(make({ moves, start: "random" }));
    assertMoved(early, "params", ["conv1.weight", "conv2.weight"], 0);
    assertMoved(early.slice(1), "params", learned, 0);
    assertThrows(() => assertMoved(early, "params", learned, 1));
  }
  const late = twoSteps(make({ moves: "afterStep" }));
  assertMoved(late, "params", learned, 1);
  assertThrows(() => assertMoved(late, "params", learned, 0));
});

Deno.test("running statistics are ignored, averaged, or copied, and then used", () => {
  const paths = (options: ManOptions) =>
    Object.keys(byPath(start(make(options), 3))).filter((path) => /ema.*running/.test(path));
  assertEquals(paths({}), []);
  assertEquals(paths({ statistics: "average" }).length, 4 + 6);
  for (const statistics of ["average", "copy"] as const) {
    const m = statistics === "copy" ? 0 : MOMENTUM;
    for (const moves of ["afterBackward", "beforeBackward"] as const) {
      // At first the average has the tracked block's statistics.
      assertMoved(twoSteps(make({ moves, statistics })).slice(1), "state", seen, 0, m);
    }
    assertMoved(twoSteps(make({ moves: "afterStep", statistics })), "state", seen, 1, m);
  }
  // Batch norms use them, unlike in the published code: other statistics give another loss.
  const made = make({ statistics: "average" });
  const before = start(made, 3);
  const other = { "state.local.0.ema.bn1.running_var": { shape: [4], data: new Float64Array(4).fill(9) } };
  const [plain, changed] = [before, withValues(before, other)].map((train) =>
    step(made, train)["losses"].data
  );
  assert(Math.abs(plain[0] - changed[0]) > 1e-4);
  assertEquals([...plain.slice(1)], [...changed.slice(1)]);
});

Deno.test("a trained average takes the local loss's gradient step, then a step toward the updated block", () => {
  const made = make({ average: "trained" });
  assertEquals(made.method.options["moves"], "afterStep");
  const before = start(made, 3);
  const old = byPath(before);
  const after = step(made, before);
  for (const [index, [place, block]] of boundaries.entries()) {
    for (const name of ["conv1.weight", "bn2.weight"]) {
      const path = `params.${place}.ema.${name}`;
      for (const k of [0, old[path].data.length - 1]) {
        const [above, below] = [1, -1].map((sign) => {
          const data = Float64Array.from(old[path].data);
          data[k] += sign * 2 ** -10;
          return {
            loss: step(made, withValues(before, { [path]: { ...old[path], data } }))["losses"].data[index],
            at: Math.fround(data[k]),
          };
        });
        const gradient = (above.loss - below.loss) / (above.at - below.at);
        assert(Math.abs(gradient) > 1e-6, `${path}[${k}] has no gradient`);
        const stepped = old[path].data[k] - RATE * gradient;
        const tracked = after[`params.${block}.${name}`].data[k];
        const expected = MOMENTUM * stepped + (1 - MOMENTUM) * tracked;
        assertAlmostEquals(after[path].data[k], expected, 1e-2 * RATE * Math.abs(gradient) + 1e-9);
      }
    }
  }
  // It starts at random and has weight decay, like trained parameters; a frozen one has no slots.
  const slots = (options: ManOptions) => {
    const { initial } = setup({
      model: made.model,
      modules: 3,
      method: man(greedy(), options),
      optimizer: sgd({ momentum: 0.9 }),
    });
    const paths = treePaths(initial.optimizer).filter((path) => path.includes(".local.0."));
    return [...new Set(paths.map((path) => path.split(".")[3]))];
  };
  assertEquals(slots({}).includes("ema"), false);
  assertEquals(slots({ average: "trained" }).includes("ema"), true);
  assertEquals(slots({ average: "trained", fusion: "emaOnly" }), ["ema", "classifier"]);
});

/** Three linear blocks after an empty stem. */
function linearModel(): Model {
  const block = (name: string) => ({
    name,
    layer: conv({ in: 4, out: 4, padding: 1, bias: true }),
    stage: 1,
  });
  return {
    ...tinyModel(),
    blocks: ["a", "b", "c"].map(block),
    head: {
      pool: globalAveragePooling(),
      fc: linear({ in: 4, out: 3 }),
    },
  };
}

Deno.test("an average that moves before the backward pass keeps the loss, and its gradient is that of the newer weights", () => {
  const model = linearModel();
  const made = make({ moves: "beforeBackward", start: "random", fusion: "emaOnly" }, model);
  const before = start(made, 3);
  const after = step(made, before);
  const late = step(make({ start: "random", fusion: "emaOnly" }, model), before);
  assertEquals(after["losses"].data[0], late["losses"].data[0]);
  assertEquals(after["state.local.0.ema.weight"].data, late["state.local.0.ema.weight"].data);

  // Blocks are linear, so the result of the newer weights is the sum of the older ones' and the block's.
  const expected = run(
    (train: TrainState<Tensor>, { x, labels }: Batch) => {
      type Blocks = { readonly [name: string]: { weight: Tensor; bias: Tensor } };
      const { a, b } = train.params as Blocks;
      const { classifier } = (train.params as never as { local: [{ classifier: { fc: never } }] }).local[0];
      const { ema } = (train.state as never as { local: [{ ema: Blocks[string] }] }).local[0];
      const [block] = model.blocks;
      const stem = sequential(model.stem).apply(train.params, train.state, x, "train").y;
      const h = (a: Blocks[string]) => block.layer.apply(a, {}, stem, "train").y;
      const through = (weights: Blocks[string], h: Tensor) => block.layer.apply(weights, {}, h, "train").y;
      const head = linear({ in: 4, out: 3 });
      const loss = (u: Tensor) =>
        crossEntropy(head.apply(classifier.fc, {}, u.mean([1, 2]), "train").y, labels);
      const g = grad(loss)(through(ema, h(a)));
      return grad((a: Blocks[string]) => {
        const [old, own] = [ema, b].map((weights) => through(weights, h(a)).mul(g).sum());
        return old.mul(MOMENTUM).add(own.mul(1 - MOMENTUM));
      })(a);
    },
    before,
    batch,
  );
  const old = byPath(before);
  for (const name of ["weight", "bias"]) {
    const path = `params.a.${name}`;
    expected[name].data.forEach((gradient, k) =>
      assertAlmostEquals(after[path].data[k], old[path].data[k] - RATE * gradient, 1e-9)
    );
    assert(after[path].data.some((value, k) => Math.abs(value - late[path].data[k]) > 1e-4), path);
  }
});

Deno.test("a method of your own may change its auxiliary network after the step, wrapped or not", () => {
  const counted: Method = {
    name: "counted",
    options: {},
    auxiliary(boundary) {
      const inner = greedy().auxiliary!(boundary);
      return {
        ...inner,
        state: { ...inner.state, rests: linear({ in: 4, out: 3 }).params },
        loss: (params, { rests, ...state }, h, batch, next) => {
          const { loss, state: after } = inner.loss(params, state, h, batch, next);
          return { loss, state: { ...after, rests } };
        },
        // Remembers the updated weights.
        afterStep: ({ params, state }) => ({
          params,
          state: { ...state, rests: (params as never as Fc).classifier.fc },
        }),
      };
    },
  };
  for (
    const method of [counted, man(counted, { moves: "afterStep" }), man(counted, { average: "trained" })]
  ) {
    const model = linearModel();
    const made = setup({ model, modules: 3, method, optimizer: sgd() });
    const before = start(made, 3);
    const after = step(made, before);
    for (const place of ["local.0", "local.1"]) {
      const left = after[`params.${place}.classifier.fc.weight`].data;
      assertEquals(after[`state.${place}.rests.weight`].data, left);
      assertNotEquals([...left], [...byPath(before)[`params.${place}.classifier.fc.weight`].data]);
    }
  }
});

interface Fc {
  classifier: { fc: Record<string, Tensor> };
}

Deno.test("an average of a block at two paths starts as a copy of both, and follows both", () => {
  // Two convolutions with batch norm, as in VGG.
  const block = (place: number, inputs: number) => ({
    name: `features.${place}+${place + 1}`,
    layer: sequential({
      [place]: conv({ in: inputs, out: 4, padding: 1 }),
      [place + 1]: batchNorm({ channels: 4 }),
      relu: relu(),
    }),
  });
  const model: Model = {
    name: "joined",
    input: { height: 8, width: 8, channels: 3 },
    classes: 3,
    stem: {},
    blocks: [block(0, 3), block(3, 4)],
    head: { pool: globalAveragePooling(), fc: linear({ in: 4, out: 3 }) },
  };
  const method = man(greedy(), { momentum: MOMENTUM, moves: "afterStep" });
  const made = setup({ model, modules: 2, method, optimizer: sgd() });
  const train = start(made);
  const before = byPath(train), after = step(made, train);
  for (const name of ["3.weight", "4.weight", "4.bias"]) {
    const [ema, own] = [`state.local.0.ema.${name}`, `params.features.${name}`];
    assertEquals(before[ema].data, before[own].data, name);
    assertNotEquals(after[own].data, before[own].data, name);
    const expected = before[ema].data.map((value, i) =>
      MOMENTUM * value + (1 - MOMENTUM) * after[own].data[i]
    );
    after[ema].data.forEach((value, i) => assertAlmostEquals(value, expected[i], 1e-6, name));
  }
});
