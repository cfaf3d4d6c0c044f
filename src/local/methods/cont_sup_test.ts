import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { host, integers, noise, run } from "../../../tests/run.ts";
import { tinyDataset, tinyModel } from "../../../tests/tiny.ts";
import { key } from "../../base/random.ts";
import { LocalgradError } from "../../base/errors.ts";
import { shapes } from "../../data/shapes.ts";
import { type Context, reachOf } from "../../models/context.ts";
import { mlp } from "../../models/mlp.ts";
import { type Model, network } from "../../models/model.ts";
import { resnet32, resnet8 } from "../../models/resnet.ts";
import { initialize } from "../../nn/initial.ts";
import { type Layer, shapeAfter } from "../../nn/layer.ts";
import { publishedSgd } from "../../optim/published.ts";
import { sgd } from "../../optim/sgd.ts";
import { load } from "../../predict/load.ts";
import { open } from "../../runtime/devices.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { treePaths } from "../../trace/tree.ts";
import { probe } from "../../training/probe/probe.ts";
import { trainer } from "../../training/trainer.ts";
import { crossEntropy } from "../losses.ts";
import type { Batch, Method } from "../method.ts";
import { partOf } from "../processes/part.ts";
import { setup, type TrainState } from "../setup.ts";
import { trainStep } from "../step.ts";
import { type ContextName, contSup, dgl, endToEnd, greedy, hpff, sgr } from "./methods.ts";

const make = (method: Method, model: Model = tinyModel(), accumulate = 1) =>
  setup({ model, modules: 3, method, optimizer: sgd(publishedSgd), accumulate });

const start = ({ initial }: ReturnType<typeof make>) => ({
  params: initialize(initial.params, key(0)),
  state: initialize(initial.state, key(0)),
  optimizer: initialize(initial.optimizer, key(0)),
});

const batchOf = (size: number) => ({
  x: noise("x", [size, 8, 8, 3]),
  labels: integers(Array.from({ length: size }, (_, i) => i % 3)),
  images: host([...noise("x", [size, 8, 8, 3]).data].map((v) => (v + 1) / 2), [size, 8, 8, 3]),
});

const lossesOf = (made: ReturnType<typeof make>, batch: ReturnType<typeof batchOf>) =>
  run(
    (train: TrainState<Tensor>, batch: Batch) => trainStep(made, train, batch, { learningRate: 0.05 }).losses,
    start(made),
    batch,
  )[""].data;

Deno.test("contSup() supplies the image and the inputs of earlier modules, the first of which is the image", () => {
  const sources = (context: ContextName) =>
    setup({
      model: resnet32(),
      modules: { after: ["layer1.4", "layer2.0", "layer2.4"] },
      optimizer: sgd(),
      ...{ method: contSup(greedy(), { context }) },
    })
      .model.contexts!.map(({ before, encoders }) => [before, Object.keys(encoders).join(" ")]);
  const blocks = ["layer2.0", "layer2.1", "layer3.0"];
  const expected: [ContextName, string[]][] = [
    ["E", ["image", "image", "image"]],
    ["R1", ["r1", "r1", "r1"]],
    ["R1E", ["image", "image r1", "image r1"]],
    ["R2", ["r1", "r1 r2", "r1 r2"]],
    ["R4E", ["image", "image r1", "image r1 r2"]],
  ];
  for (const [context, each] of expected) {
    assertEquals(sources(context), each.map((names, i) => [blocks[i], names]), context);
  }
  const { modules } = make(contSup(greedy(), { context: "R1" }));
  assertEquals(treePaths(modules[1].params).filter((path) => path.startsWith("context.")), [
    ...["conv.weight", "conv.bias", "bn.weight", "bn.bias"].map((name) => `context.layer1.1.r1.${name}`),
  ]);
  assertEquals(
    make(contSup(greedy()), mlp({ features: 4, hidden: [8, 6, 5], outputs: 3 })).model.contexts?.length,
    2,
  );
});

Deno.test("the network that contSup() trains is the one that predicts", () => {
  const made = make(contSup(greedy(), { context: "R1E" }));
  const batch = batchOf(4);
  const last = lossesOf(made, batch)[2];
  const net = network(made.model);
  assertEquals(shapeAfter(net, [8, 8, 3]), [3]);
  const loss = (net: Layer, mode: "train" | "evaluate") =>
    run(
      (train: TrainState<Tensor>, batch: Batch) => {
        const { y } = net.apply(train.params, train.state, batch.x, mode);
        return crossEntropy(y, batch.labels);
      },
      start(made),
      batch,
    )[""].data[0];
  assertAlmostEquals(loss(net, "train"), last, 1e-12);
  const without: Context[] = made.model.contexts!.slice(0, 1);
  assert(Math.abs(loss(network({ ...made.model, contexts: without }), "train") - last) > 1e-3);
  assertEquals([reachOf(made.model.contexts!), reachOf(without)], [1, 0]);
});

Deno.test("contSup() gives each micro-batch its own context", () => {
  const method = contSup(greedy(), { context: "R1E" });
  const batch = batchOf(4);
  const half = (from: number) => ({
    x: host([...batch.x.data.slice(from * 192, (from + 2) * 192)], [2, 8, 8, 3]),
    labels: integers([...batch.labels.data.slice(from, from + 2)]),
    images: host([...batch.images.data.slice(from * 192, (from + 2) * 192)], [2, 8, 8, 3]),
  });
  const whole = make(method);
  const [a, b] = [lossesOf(whole, half(0)), lossesOf(whole, half(2))];
  lossesOf(make(method, tinyModel(), 2), batch).forEach((loss, i) =>
    assertAlmostEquals(loss, (a[i] + b[i]) / 2, 1e-12)
  );
});

Deno.test("a run with contexts resumes to the bit, and its network is loaded with them", async () => {
  await using device = await open("cpu", { threads: 1 });
  const dataset = shapes({ train: 8, test: 4 });
  const folder = await Deno.makeTempDir();
  const train = async (epochs: readonly number[], name: string) => {
    let tensors;
    for (const epoch of epochs) {
      using t = await trainer({
        device,
        model: resnet8(),
        modules: 3,
        method: sgr(contSup(greedy(), { context: "R1E" })),
        optimizer: sgd(publishedSgd),
        batch: 8,
      });
      await t.fit(dataset, { epochs: epoch, checkpoint: `${folder}/${name}`, resume: true, observers: [] });
      ({ tensors } = await t.snapshot());
    }
    return [...tensors!].map(([name, { data }]) => [name, [...data]]);
  };
  try {
    assertEquals(await train([1, 2], "resumed"), await train([2], "whole"));
    await using predictor = await load(`${folder}/whole`, { device, checkpoint: "last" });
    assertEquals(predictor.model.contexts?.map(({ before }) => before), ["layer2.0", "layer3.0"]);
    assertEquals((await predictor.predict(dataset.test)).length, 4);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("contSup() refuses what it cannot do", async () => {
  assertThrows(() => contSup(endToEnd()), LocalgradError, "endToEnd has no local loss");
  assertThrows(() => contSup(contSup(dgl())), LocalgradError, "only once");
  for (const context of ["", "R", "R0", "ER1", "e"]) {
    assertThrows(() => contSup(dgl(), { context: context as never }), LocalgradError, "there is no context");
  }
  const { model } = make(contSup(dgl()));
  assertThrows(() => make(contSup(dgl()), model), LocalgradError, "has contexts already");
  assertThrows(() => contSup(sgr(dgl())), LocalgradError, "not be wrapped");
  assertThrows(() => make(hpff(contSup(dgl()))), LocalgradError, "trains neighbouring modules together");
  assertThrows(() => make(endToEnd({ checkpoint: true }), model), LocalgradError, "leave checkpoint out");
  assertThrows(
    () =>
      partOf(make(contSup(dgl(), { context: "R1" })), {
        layout: { data: 1, modules: 2 },
        place: { data: 0, modules: 0 },
        runs: [{ first: 0, end: 1 }, { first: 1, end: 3 }],
      }),
    LocalgradError,
    'context "E"',
  );
  const odd = { ...model, contexts: [{ before: "layer9", encoders: {} }] };
  assertThrows(() => make(endToEnd(), odd), LocalgradError, 'no block "layer9"');
  await using device = await open("cpu", { threads: 1 });
  using t = await trainer({
    device,
    model: tinyModel(),
    modules: 3,
    method: contSup(dgl()),
    optimizer: sgd(),
    batch: 8,
  });
  await assertRejects(() => probe(t, tinyDataset(16, 8)), LocalgradError, "contSup");
});
