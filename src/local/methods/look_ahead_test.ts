import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { integers, noise, run } from "../../../tests/run.ts";
import { tinyModel } from "../../../tests/tiny.ts";
import { LocalgradError } from "../../base/errors.ts";
import { key } from "../../base/random.ts";
import { referenceTarget } from "../../backends/reference/target.ts";
import { resnet20 } from "../../models.ts";
import { open } from "../../runtime/devices.ts";
import { trainer } from "../../training/trainer.ts";
import { initialize } from "../../nn/initial.ts";
import { sgd } from "../../optim/sgd.ts";
import type { HostArray } from "../../trace/host_array.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { type Tree, treeFlatten, treePaths } from "../../trace/tree.ts";
import { balanced } from "../partition/balance.ts";
import { stepMemory, stepProgram } from "../memory.ts";
import type { Batch, Method } from "../method.ts";
import { parameterSplit } from "../parameters.ts";
import type { Modules } from "../partition/partition.ts";
import { type Setup, setup, type TrainState } from "../setup.ts";
import { trainStep } from "../step.ts";
import { augLocal, dgl, greedy, man, type ManOptions, manPlusPlus } from "./methods.ts";
import { methodNamed } from "./named.ts";

const optimizer = sgd();
const tiny = (method: Method) => setup({ model: tinyModel(), modules: 3, method, optimizer });
const large = (method: Method, modules: Modules = 9) =>
  setup({ model: resnet20({ classes: 10 }), modules, method, optimizer });

/** The blocks of auxiliary networks that are averages or biases, such as `local.0.ema.1`. */
const blocks = ({ initial: { params, state } }: Setup, part: string) => {
  const own = [...treePaths(params), ...treePaths(state)].filter((path) => path.includes(`.${part}.`));
  return [...new Set(own.map((path) => path.split(/\.(?:conv|bn|downsample)/)[0]))];
};

Deno.test("boundaries that follow the same block share its average, which the last before it keeps", () => {
  const each = Array.from({ length: 8 }, (_, i) => `local.${i}.ema.0`);
  assertEquals(blocks(large(man(greedy(), { ahead: 3 })), "ema"), each);
  const ofThree = [0, 1].flatMap((i) => [0, 1, 2].map((j) => `local.${i}.ema.${j}`));
  assertEquals(blocks(large(man(greedy(), { ahead: 4 }), 3), "ema"), ofThree);
  assertEquals(blocks(large(man(greedy(), { ahead: 2 }), 3), "ema").length, 4);
  // As many averages as of the next block alone, and no bytes but those of the heads beside them.
  const [one, three] = [1, 3].map((ahead) => large(man(greedy(), { ahead, fusion: "emaOnly" })));
  const [of, same] = [parameterSplit(one), parameterSplit(three)];
  assertEquals([same.ema, same.bias], [of.ema, 0]);
  const target = { ...referenceTarget, alignment: 4 };
  const kept = (made: Setup) => stepMemory(made, 4, target).breakdown["auxiliary"] ?? 0;
  assertEquals(kept(one), 4 * (of.ema + of.heads));
  assertEquals(kept(three), 4 * (same.ema + same.heads));
});

Deno.test("one block ahead is the published method, op for op", () => {
  for (const wrap of [man, manPlusPlus]) {
    const [plain, one] = [tiny(wrap(dgl())), tiny(wrap(dgl(), { ahead: 1, joint: 1 }))];
    assertEquals(one.method.options, plain.method.options);
    assertEquals(stepProgram(one, 4).instructions, stepProgram(plain, 4).instructions);
  }
});

const images = noise("images", [4, 8, 8, 3]);
const batch = { x: images, labels: integers([0, 1, 2, 0]), images };

/** A step in float64, and the values before it, by path. */
function step(made: Setup) {
  const draw = key(3);
  const { params, state, optimizer } = made.initial;
  const before: TrainState<HostArray> = {
    params: initialize(params, draw),
    state: initialize(state, draw),
    optimizer: initialize(optimizer, draw),
  };
  const after = run(
    (train: TrainState<Tensor>, batch: Batch) => {
      const { train: after, losses } = trainStep(made, train, batch, { learningRate: 0.05 });
      return { ...after, losses };
    },
    before,
    batch,
  );
  const { leaves, paths } = treeFlatten<HostArray>(before as Tree<HostArray>);
  return { before: new Map(paths.map((path, i) => [path, leaves[i].data])), after };
}

Deno.test("a shared average moves once a step, whenever it moves", () => {
  const m = 0.75;
  const cases: [ManOptions, boolean][] = [
    [{}, false],
    [{ start: "random" }, false],
    [{ moves: "afterStep", start: "random", statistics: "average" }, true],
  ];
  for (const [options, late] of cases) {
    for (const modules of [3, { after: ["layer1.0"] }]) { // the second keeps both averages at one boundary
      const method = man(greedy(), { ahead: 2, momentum: m, ...options });
      const { before, after } = step(setup({ model: tinyModel(), modules, method, optimizer }));
      const places = modules === 3
        ? [["local.0.ema.0", "layer1.1"], ["local.1.ema.0", "layer2.0"]]
        : [["local.0.ema.0", "layer1.1"], ["local.0.ema.1", "layer2.0"]];
      for (const [place, block] of places) {
        const old = before.get(`state.${place}.conv2.weight`)!;
        const own = `params.${block}.conv2.weight`;
        const goal = late ? after[own].data : before.get(own)!;
        after[`state.${place}.conv2.weight`].data.forEach((value, i) =>
          assertAlmostEquals(value, m * old[i] + (1 - m) * goal[i], 1e-7)
        );
        const mean = after[`state.${place}.bn1.running_mean`];
        assertEquals(mean !== undefined, options.statistics !== undefined);
      }
    }
  }
});

Deno.test("what follows the first block changes the loss of every boundary that looks there, and no other", () => {
  const losses = (options: ManOptions) => [...step(tiny(man(greedy(), options))).after["losses"].data];
  const [one, two, more] = [1, 2, 9].map((ahead) => losses({ ahead }));
  assert(Math.abs(one[0] - two[0]) > 1e-4);
  assertEquals(more, two); // only two blocks follow
  assertEquals(one.slice(1), two.slice(1));
});

Deno.test("with biasOnly the blocks ahead are trained copies of the same number", () => {
  const made = tiny(man(greedy(), { ahead: 2, fusion: "biasOnly" }));
  assertEquals(blocks(made, "bias"), ["local.0.bias.0", "local.0.bias.1", "local.1.bias.0"]);
  assertEquals(blocks(made, "ema"), []);
  const { before, after } = step(made);
  const path = "params.local.0.bias.1.conv1.weight";
  assert(after[path].data.some((value, i) => value !== before.get(path)![i]));
});

Deno.test("joint trains the last blocks together", () => {
  const modules = (method: Method) => large(method).modules.map(({ name }) => name);
  const last = "layer2.2–layer3.2";
  for (const method of [man(dgl(), { joint: 4 }), manPlusPlus(dgl(), { joint: 4, stem: false })]) {
    assertEquals(modules(method).at(-1), last);
    assertEquals(modules(method).length, 6);
  }
  assertEquals(modules(augLocal({ depth: 3 })).at(-1), last);
  assertEquals(modules(augLocal({ depth: 3, joint: 1 })).at(-1), "layer3.2");
  assertEquals(modules(augLocal({ depth: 1, joint: 4 })).at(-1), last);
  assertThrows(
    () => tiny(man(dgl(), { joint: 3 })),
    LocalgradError,
    "man: the last 3 blocks are trained together, and no boundary is left in tiny",
  );
});

Deno.test("a run that looks ahead resumes with the same bits, on cpu", async () => {
  await using device = await open("cpu", { engine: "wasm" });
  const method = man(greedy(), { ahead: 2 });
  const make = () => trainer({ device, model: tinyModel(), modules: 3, method, optimizer, batch: 4 });
  const tensors = async (t: Awaited<ReturnType<typeof make>>) =>
    [...(await t.snapshot()).tensors].map(([name, { data }]) => [name, [...data]]);
  const own = { x: images, images, labels: Int32Array.of(0, 1, 2, 0) };
  using straight = await make();
  await straight.step(own, { learningRate: 0.05 });
  const middle = await straight.snapshot();
  await straight.step(own, { learningRate: 0.05 });
  using resumed = await make();
  resumed.restore(middle);
  await resumed.step(own, { learningRate: 0.05 });
  assertEquals(await tensors(resumed), await tensors(straight));
});

Deno.test("a balanced cut is found for methods that look ahead", () => {
  const method = man(greedy(), { ahead: 4 });
  const cut = balanced({
    model: tinyModel(),
    method,
    optimizer,
    modules: 2,
    batch: 4,
    target: referenceTarget,
  });
  const made = setup({ model: tinyModel(), modules: cut, method, optimizer });
  assertEquals(made.modules.length, 2);
});

Deno.test("looking ahead and joint blocks refuse what cannot be", () => {
  const refused: [ManOptions, string][] = [
    [{ ahead: 0 }, "ahead must be a whole number of at least 1, not 0"],
    [{ joint: 1.5 }, "joint must be a whole number of at least 1, not 1.5"],
    [{ ahead: 2, average: "trained" }, 'choose average: "frozen" or leave ahead out'],
    [{ ahead: 2, moves: "beforeBackward" }, 'choose moves: "afterBackward" or leave ahead out'],
  ];
  for (const [options, message] of refused) {
    for (const wrap of [man, manPlusPlus]) assertThrows(() => wrap(dgl(), options), LocalgradError, message);
  }
  assertThrows(() => methodNamed("augLocal", { ahead: 2 }), LocalgradError, '"ahead"');
  assertEquals(methodNamed("man+augLocal", { ahead: 2, joint: 4, depth: 1 }).options["joint"], 4);
});
