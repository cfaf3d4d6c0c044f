/** Optimizers, clipping, frozen layers, averages of weights and micro-batches, with every method. */

import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { writeCheckpoint } from "../src/artifacts/checkpoint.ts";
import { loadWeights, saveWeights } from "../src/artifacts/weights.ts";
import { LocalgradError } from "../src/base/errors.ts";
import { stepMemory } from "../src/local/memory.ts";
import { type MethodName, methodNamed } from "../src/local/methods/named.ts";
import { setup, type SetupOptions } from "../src/local/setup.ts";
import type { Model } from "../src/models/model.ts";
import { flatten } from "../src/nn/flatten.ts";
import { conv } from "../src/nn/conv.ts";
import { sequential, stateless } from "../src/nn/layer.ts";
import { linear } from "../src/nn/linear.ts";
import * as optim from "../src/optim.ts";
import { open, target } from "../src/runtime/devices.ts";
import { HostArray } from "../src/trace/host_array.ts";
import type { Tensor } from "../src/trace/tensor.ts";
import { type Tree, treeMap, treePaths } from "../src/trace/tree.ts";
import type { Trainer } from "../src/training/trainer.ts";
import { units } from "./fixtures/formula.ts";
import { load } from "./parity/fixture.ts";
import { bits, make, recorder, stopBefore } from "./tiny_trainer.ts";
import { tinyDataset, tinyModel } from "./tiny.ts";

const batch = (step: number, images = 16) => ({
  x: new HostArray(units(`x ${step}`, images * 8 * 8 * 3), [images, 8, 8, 3]),
  images: new HostArray(units(`x ${step}`, images * 8 * 8 * 3, 0.5, 0.5), [images, 8, 8, 3]),
  labels: Int32Array.from({ length: images }, (_, i) => (i + step) % 3),
});

/** Everything at once. */
const everything = {
  optimizer: optim.freeze(
    optim.clipped(
      optim.grouped(({ path }) => path.endsWith("conv1.weight") ? "filters" : "rest", {
        filters: optim.muon({ iterations: 1 }),
        rest: optim.decayed((weightDecay) => optim.lamb({ weightDecay }), 0.1),
      }),
      { norm: 1 },
    ),
    ["conv1", "layer2.0.conv2"],
  ),
  average: { decay: 0.5 },
  accumulate: 2,
};

const methods: MethodName[] = [
  "endToEnd",
  "greedy",
  "predsim",
  "infopro",
  "augLocal",
  "man+dgl",
  "manPlusPlus+greedy",
];

for (
  const [device, name] of [
    ...methods.map((name) => ["cpu", name] as const),
    ["reference", "man+dgl"] as const,
  ]
) {
  Deno.test(`${name} on ${device} trains and resumes with everything at once, bit for bit`, async () => {
    await using opened = await open(device);
    const options = {
      device: opened,
      model: tinyModel(),
      method: methodNamed(
        name,
        name === "infopro" ? { weights: { reconstruction: [1, 1], task: [1, 1] } } : {},
      ),
      ...everything,
    };
    using whole = await make(options);
    const start = await whole.snapshot();
    for (const step of [0, 1]) await whole.step(batch(step), { learningRate: 0.01 * (step + 1) });
    const middle = await whole.snapshot();
    const { gradientNorms = [], losses } = await whole.step(batch(2), { learningRate: 0.02 });
    const end = await whole.snapshot();
    assertEquals(gradientNorms.length, losses.length);
    assert(gradientNorms.every((norm) => norm > 0 && norm < 1e3));

    using resumed = await make({ ...options, seed: 1 });
    resumed.restore(middle);
    await resumed.step(batch(2), { learningRate: 0.02 });
    const [again, once] = [bits(await resumed.snapshot()), bits(end)];
    if (device === "cpu") assertEquals(again, once);
    else { // the reference keeps float64 between steps, but a snapshot is f32
      for (const [name, values] of Object.entries(once)) {
        values.forEach((value, i) => assertAlmostEquals(again[name]![i]!, value, 1e-5));
      }
    }

    const [before, after] = [bits(start), bits(end)];
    for (const [name, values] of Object.entries(after)) {
      const frozen = name === "conv1.weight" || name === "layer2.0.conv2.weight";
      if (name.endsWith("weight") && !/^(local|optimizer)\./.test(name)) {
        assertEquals(frozen, values.every((value, i) => value === before[name][i]), name);
      }
    }
    assert(
      !("optimizer.mean.conv1.weight" in after) && !("optimizer.momentum.layer2.0.conv2.weight" in after),
    );
    assert("optimizer.momentum.layer1.0.conv1.weight" in after && "optimizer.square.bn1.weight" in after);
    assert("optimizer.averaged.bn1.running_mean" in after && !("optimizer.averaged.local" in after));
  });
}

/** A network without batch norm, where micro-batches do not change what is computed. */
function plainModel(): Model {
  const relu = stateless((x) => x.relu());
  const block = (channels: number, out: number) =>
    sequential({ conv: conv({ in: channels, out, padding: 1, bias: true }), relu });
  return {
    name: "plain",
    input: { height: 8, width: 8, channels: 3 },
    classes: 3,
    stem: { stem: block(3, 4) },
    blocks: [{ name: "a", layer: block(4, 4), stage: 1 }, { name: "b", layer: block(4, 8), stage: 2 }],
    head: { flatten: flatten(), fc: linear({ in: 512, out: 3 }) },
  };
}

Deno.test("gradients of micro-batches sum to the whole batch's, in less memory", async () => {
  await using device = await open("cpu");
  const options = {
    device,
    model: plainModel(),
    modules: 2,
    method: methodNamed("greedy"),
    optimizer: optim.sgd(),
  };
  const step = async (images: number, accumulate?: number) => {
    using trainer = await make({ ...options, ...(accumulate === undefined ? {} : { accumulate }) });
    const report = await trainer.step(batch(0, images), { learningRate: 1 });
    return { ...report, values: Object.values(bits(await trainer.snapshot())).flat() };
  };
  // 13 images make 3 + 3 + 3 + 4; 3 images stay one batch.
  for (const [images, count] of [[16, 4], [13, 4], [3, 4]] as const) {
    const [one, many] = [await step(images), await step(images, count)];
    one.values.forEach((value, i) => assertAlmostEquals(many.values[i], value, 1e-5));
    one.losses.forEach((loss, i) => assertAlmostEquals(many.losses[i], loss, 1e-5));
    assertEquals(many.accuracy, one.accuracy);
  }
  const peak = async (accumulate: number, options: Partial<SetupOptions>) => {
    const setup_ = setup({
      ...{ model: tinyModel(), method: methodNamed("greedy") },
      optimizer: optim.sgd(),
      accumulate,
      ...options,
    });
    return stepMemory(setup_, 256, await target("cpu")).peakBytes;
  };
  for (
    const own of [{ modules: 3 }, { method: methodNamed("endToEnd") }, {
      modules: 3,
      method: methodNamed("man+dgl"),
    }]
  ) {
    assert(await peak(4, own) < 0.75 * await peak(1, own));
  }
});

Deno.test("frozen layers need neither gradients nor slots in the planned memory", async () => {
  const cpu = await target("cpu");
  const plan = (optimizer: optim.Optimizer, name: MethodName, modules: number) =>
    stepMemory(setup({ model: tinyModel(), modules, method: methodNamed(name), optimizer }), 128, cpu);
  const sgd = optim.sgd({ momentum: 0.9 });
  const below = ["conv1", "bn1", "layer1"];
  for (const [name, modules] of [["endToEnd", 1], ["dgl", 2]] as const) {
    const [all, frozen] = [plan(sgd, name, modules), plan(optim.freeze(sgd, below), name, modules)];
    assert((frozen.breakdown.optimizer ?? 0) < (all.breakdown.optimizer ?? 0));
    assert(frozen.peakBytes < all.peakBytes, `${name}: ${frozen.peakBytes} of ${all.peakBytes}`);
  }
});

Deno.test("rules that name parameters which are not there are refused", () => {
  const named = (optimizer: optim.Optimizer) => () =>
    setup({ model: tinyModel(), modules: 3, method: methodNamed("dgl"), optimizer });
  const sgd = optim.sgd();
  for (
    const wrong of [
      optim.freeze(sgd, ["layer9"]),
      optim.clipped(optim.freeze(sgd, ["layer9"]), { norm: 1 }),
      optim.grouped(() => "a", { a: optim.freeze(sgd, ["layer9"]) }),
      optim.freeze(optim.freeze(sgd, ["layer9"]), ["conv1"]),
      optim.decayed((weightDecay) => optim.sgd({ weightDecay }), 0.1, ["layer9"]),
    ]
  ) {
    assertThrows(
      named(wrong),
      LocalgradError,
      'tiny has no parameter that begins with "layer9"; did you mean "layer1"? Its parts are conv1, bn1',
    );
  }
  named(optim.freeze(sgd, ["layer1", "conv1.weight", "local.0"]))();
});

Deno.test("averages of weights equal PyTorch's AveragedModel, and are what is evaluated", async () => {
  const { averages } = load<{ averages: { [kind: string]: number[][] } }>("optimizers");
  await using device = await open("cpu");
  const images = tinyDataset(32, 32);
  for (
    const [kind, average] of [["ema", { decay: 0.8 }], ["swa", {}], ["late", { from: 2, every: 2 }]] as const
  ) {
    using trainer = await make({
      device,
      average,
      optimizer: optim.sgd({ momentum: 0.5 }),
      schedule: optim.constant(0.2),
    });
    const weights: number[][] = [],
      averaged: number[][] = [],
      means: number[][] = [],
      averagedMeans: number[][] = [];
    for (let step = 0; step < 6; step++) {
      await trainer.step(batch(step));
      const all = bits(await trainer.snapshot());
      weights.push(all["fc.weight"]!);
      averaged.push(all["optimizer.averaged.fc.weight"]!);
      means.push(all["bn1.running_mean"]!);
      averagedMeans.push(all["optimizer.averaged.bn1.running_mean"]!);
    }
    const expected = (values: readonly number[][], step: number): number[] => {
      const mean = (steps: number[]) =>
        values[0]!.map((_, i) => steps.reduce((sum, s) => sum + values[s]![i]!, 0) / steps.length);
      if (kind === "swa") return mean(Array.from({ length: step + 1 }, (_, s) => s));
      if (kind === "late") return step <= 2 ? values[step]! : mean(step < 4 ? [2] : [2, 4]);
      return step === 0
        ? values[0]!
        : expected(values, step - 1).map((before, i) => 0.8 * before + 0.2 * values[step]![i]!);
    };
    for (let step = 0; step < 6; step++) {
      expected(weights, step).forEach((value, i) => assertAlmostEquals(averaged[step]![i]!, value, 1e-6));
      expected(means, step).forEach((value, i) => assertAlmostEquals(averagedMeans[step]![i]!, value, 1e-6));
    }
    // A trainer that has the averages as its own values evaluates alike.
    const { tensors } = await trainer.snapshot();
    using other = await make({ device });
    const own = [...tensors].flatMap(([name, value]): [string, HostArray][] =>
      name.startsWith("optimizer.averaged.") ? [[name.replace("optimizer.averaged.", ""), value]] : []
    );
    other.load({ name: "averages", tensors: new Map(own) });
    assertEquals(await other.evaluate(images), await trainer.evaluate(images));
    const last = await evaluateLast(trainer, other, images);
    assert(last.loss !== (await trainer.evaluate(images)).loss);
  }
  // The formula that expected() has for ema and swa is PyTorch's.
  const value = (step: number) => [...units(`average.${step}`, 4)];
  let ema = value(0);
  for (let step = 1; step < 10; step++) ema = ema.map((before, i) => 0.8 * before + 0.2 * value(step)[i]!);
  averages["ema"]![9]!.forEach((each, i) => assertAlmostEquals(ema[i]!, each, 1e-12));
  averages["swa"]![9]!.forEach((each, i) => {
    const mean = Array.from({ length: 10 }, (_, s) => value(s)[i]!).reduce((a, b) => a + b) / 10;
    assertAlmostEquals(mean, each, 1e-12);
  });
});

/** Evaluates the last weights of a trainer that keeps an average. */
async function evaluateLast(trainer: Trainer, other: Trainer, images: ReturnType<typeof tinyDataset>) {
  const { tensors } = await trainer.snapshot();
  const own = [...tensors].filter(([name]) => !/^(optimizer|local)\./.test(name));
  other.load({ name: "last", tensors: new Map(own) });
  return await other.evaluate(images);
}

Deno.test("saved weights are the averages, from a snapshot and from a checkpoint", async () => {
  await using device = await open("cpu");
  using trainer = await make({ device, average: {} });
  for (const step of [0, 1, 2]) await trainer.step(batch(step));
  const snapshot = await trainer.snapshot();
  const folder = await Deno.makeTempDir();
  await saveWeights(`${folder}/model.safetensors`, snapshot);
  await writeCheckpoint(`${folder}/last.safetensors`, { snapshot, settings: {} });
  for (const file of ["model", "last"]) {
    const { tensors } = await loadWeights(`${folder}/${file}.safetensors`);
    for (const name of ["conv1.weight", "bn1.running_var"]) {
      const { data } = snapshot.tensors.get(`optimizer.averaged.${name}`)!;
      assertEquals([...tensors.get(name)!.data], [...data]);
      assert(data.some((value, i) => value !== snapshot.tensors.get(name)!.data[i]));
    }
    assert(![...tensors.keys()].some((name) => name.startsWith("optimizer.")));
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("loaded weights are the start of their average", async () => {
  await using device = await open("cpu");
  using source = await make({ device, seed: 5 });
  using trainer = await make({ device, average: {}, seed: 6 });
  const { tensors } = await source.snapshot();
  const own = [...tensors].filter(([name]) => !/^(optimizer|local)\./.test(name));
  trainer.load({ name: "source", tensors: new Map(own) });
  const images = tinyDataset(32, 32);
  assertEquals(await trainer.evaluate(images), await source.evaluate(images));
});

Deno.test("rates by step reach a step that is compiled once; a warm-up resumes within an epoch", async () => {
  await using device = await open("cpu");
  let traces = 0;
  const schedule = optim.warmup(optim.everyStep(optim.cosine({ base: 0.1, length: 3 })), { steps: 3 });
  const sgd = optim.sgd({ momentum: 0.9 });
  const optimizer: optim.Optimizer = { ...sgd, update: (...args) => (traces++, sgd.update(...args)) };
  const images = tinyDataset(64, 16);
  const options = { device, schedule, optimizer, method: methodNamed("greedy") };
  using whole = await make(options);
  const all = recorder();
  await whole.fit(images, { epochs: 3, observers: [all.observer] });
  const rates = all.steps.map(({ learningRate }) => learningRate);
  assertEquals(
    rates,
    Array.from({ length: 12 }, (_, step) => schedule(Math.floor(step / 4), { step, stepsPerEpoch: 4 })),
  );
  assertEquals(new Set(rates).size, 12);
  assertEquals(traces, 3 + 3 + 1); // the step, its planned memory, and that of end to end: once each

  using begun = await make(options);
  const first = recorder();
  await begun.fit(images, { epochs: 3, observers: [first.observer], signal: stopBefore(3) });
  using resumed = await make(options);
  resumed.restore(first.saved());
  await resumed.fit(images, { epochs: 3, observers: [] });
  assertEquals(bits(await resumed.snapshot()), bits(await whole.snapshot()));
});

Deno.test("a gradient norm that is not finite stops the run and names the module", async () => {
  await using device = await open("cpu");
  // The second module's gradients are infinite in step 3; the losses of that step are finite.
  const clipping = optim.clipped(optim.sgd(), { norm: 0.1 });
  const optimizer: optim.Optimizer = {
    ...clipping,
    scalars: (step, rate) => ({ ...clipping.scalars(step, rate), factor: step === 2 ? Infinity : 1 }),
    update: (params, gradients, slots, scalars) => {
      const second = treePaths(params as Tree<Tensor>).includes("layer1.1.conv1.weight");
      const scaled = second
        ? treeMap((g: Tensor) => g.mul(scalars["factor"]!), gradients as Tree<Tensor>) as typeof gradients
        : gradients;
      return clipping.update(params, scaled, slots, scalars);
    },
  };
  using trainer = await make({ device, optimizer, method: methodNamed("greedy") });
  const { observer, steps } = recorder();
  const error = await assertRejects(
    () => trainer.fit(tinyDataset(96, 16), { epochs: 1, observers: [observer] }),
    LocalgradError,
    "the gradient norm of module 2 (layer1.1) became NaN in step 3",
  );
  assertEquals(error.code, "diverged");
  assertEquals(steps[1]!.gradientNorms?.length, 3);
});
