import { assert, assertAlmostEquals, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { host, run } from "../../tests/run.ts";
import { tinyModel } from "../../tests/tiny.ts";
import { batch, start } from "../../tests/tiny_step.ts";
import { grad } from "../autograd/grad.ts";
import { LocalgradError } from "../base/errors.ts";
import { linear } from "../nn/linear.ts";
import { descend, merge, type Named, select } from "../nn/named.ts";
import { residualBlock } from "../nn/residual.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { sgd } from "../optim/sgd.ts";
import { target } from "../runtime/devices.ts";
import { HostArray } from "../trace/host_array.ts";
import type { Tensor } from "../trace/tensor.ts";
import { treeFlatten, treePaths, treeUnflatten } from "../trace/tree.ts";
import { withLoss } from "./loss.ts";
import { stepMemory } from "./memory.ts";
import type { Batch, Method } from "./method.ts";
import { microBatches } from "./micro_batches.ts";
import { dgl, endToEnd, greedy, hpff, infopro, man, manPlusPlus, mlaan } from "./methods/methods.ts";
import { nextOf } from "./module_update.ts";
import { partOf } from "./processes/part.ts";
import type { Modules } from "./partition/partition.ts";
import { placeOf } from "./places.ts";
import { type Setup, setup, type SetupOptions, type TrainState } from "./setup.ts";
import { trainStep } from "./step.ts";

const optimizer = sgd({ momentum: 0.9 });

/** Four blocks, each a module. */
function make(method: Method, options: Partial<SetupOptions> = {}): Setup {
  const tiny = tinyModel();
  const last = { name: "layer2.1", layer: residualBlock({ in: 8, out: 8 }), stage: 2 };
  return setup({
    model: { ...tiny, blocks: [...tiny.blocks, last] },
    modules: 4,
    method,
    optimizer,
    ...options,
  });
}

/** The gradients of a step, and its losses. */
function gradients(made: Setup, train: TrainState<HostArray>, size = 4) {
  const seen: Named<Tensor>[] = [];
  const noting: Optimizer = {
    ...optimizer,
    update(params, own, slots) {
      seen.push(own as Named<Tensor>);
      return { params, slots };
    },
  };
  const f = (train: TrainState<Tensor>, batch: Batch) => {
    const { losses } = trainStep({ ...made, optimizer: noting }, train, batch, { learningRate: 0.1 });
    return { gradients: select(merge(...seen), made.initial.params), losses };
  };
  return run(f, train, batch(size));
}

/**
 * The same by the definition: two streams through the network. The loss of a cascade is computed from modules that pass on
 * their gradient, from the output of the module before them, which does not; that of a module alone from its own input.
 */
function byDefinition(made: Setup, train: TrainState<HostArray>, size = 4) {
  const { modules, method: { cascade } } = made;
  const { modules: length, weight } = cascade!;
  const f = (train: TrainState<Tensor>, batch: Batch) => ({
    gradients: grad((params: Named<Tensor>) => {
      const batches = microBatches(batch, made.accumulate);
      return batches.map((each) => {
        const given = withLoss(each, made.loss);
        const through = (first: number, end: number, x: Tensor) =>
          modules.slice(first, end).reduce(
            (x, { layer }) =>
              layer.apply(select(params, layer.params), select(train.state, layer.state), x, "train").y,
            x,
          );
        const inputOf = (index: number) => through(0, index, each.x).stopGradient();
        const losses = modules.flatMap((module, i) => {
          const first = Math.max(0, i + 1 - length);
          const streams = [
            { h: through(first, i + 1, inputOf(first)), share: weight, alone: false },
            { h: through(i, i + 1, inputOf(i)), share: 1 - weight, alone: true },
          ];
          return streams.flatMap(({ h, share, alone }) => {
            const { auxiliary } = module;
            if (auxiliary === undefined) return given.lossOf(h).mul(share);
            if (i + 1 < length || share === 0) return [];
            const own = { params: descend(params, placeOf(i)), state: descend(train.state, placeOf(i)) };
            const loss = alone ? auxiliary.alone! : auxiliary.loss;
            const next = nextOf(module, train);
            return loss.call(auxiliary, own.params, own.state, h, given, next).loss.mul(share);
          });
        });
        return losses.reduce((a, b) => a.add(b)).mul(each.x.shape[0]! / size);
      }).reduce((a, b) => a.add(b));
    })(train.params),
  });
  return run(f, train, batch(size));
}

const cases: [string, Method, Partial<SetupOptions>?][] = [
  ["pairs", hpff(dgl())],
  ["pairs with half the weight", hpff(greedy(), { cascadeWeight: 0.5, alone: dgl() })],
  ["pairs without losses of modules alone", hpff(greedy(), { cascadeWeight: 1 })],
  ["single modules", hpff(greedy(), { cascade: 1 })],
  ["three at a time", hpff(greedy(), { cascade: 3 })],
  ["more than there are", hpff(greedy(), { cascade: 9 })],
  ["pairs with MAN's blocks", hpff(man(greedy()))],
  ["pairs whose losses leap ahead", mlaan({ depth: 2 })],
  [
    "pairs with decoders of patches",
    hpff(infopro({ patches: 2, weights: { reconstruction: [1, 1], task: [1, 1] } })),
  ],
  ["pairs in micro-batches", hpff(greedy()), { accumulate: 2 }],
];
for (const [name, method, options] of cases) {
  Deno.test(`a step in cascades has the gradients of two streams: ${name}`, () => {
    const made = make(method, options);
    const train = start(made);
    const got = gradients(made, train);
    const expected = byDefinition(made, train);
    const paths = Object.keys(expected);
    assertEquals(paths, Object.keys(got).filter((path) => path.startsWith("gradients.")));
    let norm = 0;
    for (const path of paths) {
      got[path]!.data.forEach((value, i) => assertAlmostEquals(value, expected[path]!.data[i]!, 1e-12));
      norm += expected[path]!.data.reduce((a, b) => a + b * b, 0);
    }
    assert(norm > 1e-3);
  });
}

Deno.test("the loss of a cascade trains its own modules and no other", () => {
  const made = make(hpff(greedy()));
  const before = start(made);
  const disturbed = (path: string) => {
    const { leaves, paths, structure } = treeFlatten<HostArray>(before);
    const negative = ({ data, shape }: HostArray) => new HostArray(Float32Array.from(data, (v) => -v), shape);
    const changed = leaves.map((leaf, i) => paths[i] === `params.${path}` ? negative(leaf) : leaf);
    assertNotEquals(changed, leaves, path);
    return gradients(made, treeUnflatten(structure, changed) as unknown as TrainState<HostArray>);
  };
  const plain = gradients(made, before);
  const cases = [
    ["local.1.classifier.fc.weight", ["layer1.0", "layer1.1", "conv1", "bn1"]], // the stem is in the first module
    ["local.1.alone.classifier.fc.weight", ["layer1.1"]],
    ["local.2.classifier.fc.weight", ["layer1.1", "layer2.0"]],
    ["local.2.alone.classifier.fc.weight", ["layer2.0"]],
    ["fc.weight", ["layer2.0", "layer2.1", "fc"]],
  ] as const;
  for (const [head, trained] of cases) {
    const other = disturbed(head);
    const changed = Object.keys(plain).filter((path) =>
      path.startsWith("gradients.") && plain[path]!.data.some((value, i) => value !== other[path]!.data[i])
    );
    const network = changed.map((path) => path.replace("gradients.", "")).filter((path) =>
      !/^local/.test(path)
    );
    const blocks = new Set(network.map((path) => /^layer\d\.\d|^\w+/.exec(path)![0]));
    assertEquals([...blocks].toSorted(), [...trained].toSorted(), head);
  }
});

Deno.test("the gradients of pairs are the differences of their losses", () => {
  const made = make(hpff(greedy(), { cascadeWeight: 1 }));
  const before = start(made);
  const { leaves, paths, structure } = treeFlatten<HostArray>(before);
  const lossAt = (path: string, index: number, by: number) => {
    const moved = leaves.map((leaf, i) => {
      if (paths[i] !== `params.${path}`) return leaf;
      return host([...leaf.data].map((value, k) => k === index ? value + by : value), leaf.shape);
    });
    return gradients(made, treeUnflatten(structure, moved) as unknown as TrainState<HostArray>)["losses"]!
      .data;
  };
  const got = gradients(made, before);
  // The loss that ends the pair: of the first block the first, of the last the network's own.
  for (const [path, module] of [["layer1.0.conv2.weight", 1], ["layer2.1.conv1.weight", 3]] as const) {
    const [up, down] = [1e-3, -1e-3].map((by) => lossAt(path, 5, by)[module]!);
    assertAlmostEquals(got[`gradients.${path}`]!.data[5]!, (up! - down!) / 2e-3, 1e-5, path);
  }
});

Deno.test("a step in cascades reports the loss of the first cascade for modules that have none", () => {
  const made = make(hpff(greedy(), { cascade: 3 }));
  const { losses } = gradients(made, start(made));
  const [first, second, third, last] = losses!.data;
  assertEquals([first, second], [third, third]);
  assertNotEquals(third, last);
});

Deno.test("a step in cascades updates each module, its statistics and its averages once", () => {
  const made = make(hpff(man(greedy(), { start: "random" })));
  const before = start(made);
  const f = (train: TrainState<Tensor>, batch: Batch) => trainStep(made, train, batch, { learningRate: 0.1 });
  const after = run(f, before, batch(4));
  const paths = treePaths(before as never);
  const { leaves } = treeFlatten<HostArray>(before as never);
  paths.forEach((path, i) => {
    if (/ema\..*(bn\d|downsample\.1)/.test(path)) return; // starts equal to what it follows
    assertNotEquals([...after[`train.${path}`]!.data], [...leaves[i]!.data], path);
  });
  const at = (path: string) => leaves[paths.indexOf(path)]!.data;
  const [old, tracked] = [at("state.local.1.ema.conv1.weight"), at("params.layer2.0.conv1.weight")];
  after["train.state.local.1.ema.conv1.weight"]!.data.forEach((value, i) =>
    assertAlmostEquals(value, 0.995 * old[i]! + 0.005 * tracked[i]!, 1e-12)
  );
  const plain = run(
    (train: TrainState<Tensor>, batch: Batch) =>
      trainStep(make(man(greedy())), train, batch, { learningRate: 0.1 }).train.state,
    start(make(man(greedy()))),
    batch(4),
  );
  for (const name of ["layer1.0.bn1", "layer1.1.bn2", "layer2.1.bn1"]) {
    const path = `${name}.running_var`;
    assertEquals(after[`train.state.${path}`]!.data, plain[path]!.data, path); // as with any other method
  }
});

Deno.test("a plan in cascades holds the activations of one cascade at a time", async () => {
  const cpu = await target("cpu");
  const peak = (method: Method, modules: Modules, blocks: number) => {
    const row = Array.from({ length: blocks }, (_, i) => ({
      name: `layer1.${i}`,
      layer: residualBlock({ in: 4, out: 4 }),
      stage: 1,
    }));
    const tiny = tinyModel();
    const head = { ...tiny.head, fc: linear({ in: 4, out: 3 }) };
    const model = { ...tiny, blocks: row, head };
    return stepMemory(setup({ model, modules, method, optimizer }), 64, cpu).arenaBytes;
  };
  const pairs = peak(hpff(greedy()), 4, 8);
  assertEquals(peak(hpff(greedy()), 8, 16), pairs); // however many follow one another
  assert(pairs < 1.2 * peak(greedy(), 2, 8), "two modules' activations");
  assert(peak(hpff(greedy(), { cascade: 3 }), 4, 8) > 1.2 * pairs);
});

Deno.test("methods in cascades refuse what they cannot do", () => {
  const message = (f: () => unknown, part: string) => assertThrows(f, LocalgradError, part);
  message(() => man(hpff(dgl())), "man: hpff+dgl trains neighbouring modules together");
  message(() => manPlusPlus(hpff(dgl())), "manPlusPlus: hpff+dgl trains neighbouring");
  message(() => hpff(hpff(dgl())), "hpff: hpff+dgl trains neighbouring");
  message(() => hpff(endToEnd()), "hpff: endToEnd has no local loss");
  message(() => hpff(dgl(), { cascade: 0 }), "hpff: cascade must be a whole number of at least 1");
  message(() => hpff(dgl(), { cascadeWeight: 0 }), "cascadeWeight must be above 0 and at most 1, not 0");
  message(() => hpff(dgl(), { alone: endToEnd() }), "hpff: endToEnd has no local loss");
  const made = make(hpff(dgl()));
  const [layout, runs] = [{ data: 1, modules: 2 }, [{ first: 0, end: 2 }, { first: 2, end: 4 }]];
  message(
    () => partOf(made, { layout, place: { data: 0, modules: 0 }, runs }),
    "parallel: hpff+dgl trains neighbouring modules together, so that a process would wait",
  );
});
