import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertNotEquals,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { skips } from "../../tests/gate.ts";
import { run } from "../../tests/run.ts";
import { stepProgram } from "../../tests/step_program.ts";
import { start } from "../../tests/tiny_step.ts";
import { bits } from "../../tests/tiny_trainer.ts";
import type { Snapshot } from "../artifacts/observer.ts";
import { openWebgpu } from "../backends/webgpu/backend.ts";
import { LocalgradError } from "../base/errors.ts";
import { key } from "../base/random.ts";
import { text } from "../data/text.ts";
import { arrays } from "../data/arrays.ts";
import { crossEntropyLoss, meanLoss, squaredErrorLoss } from "../local/loss.ts";
import { correct, correctPositions } from "../local/losses.ts";
import type { Method } from "../local/method.ts";
import { contSup, dgl, endToEnd, greedy, infopro, man, predsim } from "../local/methods/methods.ts";
import { methodNamed, methodNames } from "../local/methods/named.ts";
import { setup, type TrainState } from "../local/setup.ts";
import { trainStep } from "../local/step.ts";
import { constantInitial, initialize } from "../nn/initial.ts";
import { layer, stateless } from "../nn/layer.ts";
import type { Named } from "../nn/named.ts";
import { adamw } from "../optim/adamw.ts";
import { constant } from "../optim/schedules.ts";
import { sgd } from "../optim/sgd.ts";
import type { Device } from "../runtime/arrays.ts";
import { open } from "../runtime/devices.ts";
import { iota } from "../trace/functions.ts";
import { HostArray } from "../trace/host_array.ts";
import type { Tensor } from "../trace/tensor.ts";
import { trainer } from "../training/trainer.ts";
import { languageModel } from "./language_model.ts";
import { type Model, network } from "./model.ts";

const LENGTH = 12;
const tiny = (blocks = 2) => languageModel({ length: LENGTH, width: 16, heads: 2, blocks });

/** Words that end in the letter they begin with, three o's before: a bigram model cannot know it. */
function words(count: number, seed: number): string {
  let state = seed;
  const next = () => (state = Math.imul(state, 1664525) + 1013904223 | 0) >>> 29;
  return Array.from({ length: count }, () => {
    const letter = "pqrstuvw"[next()];
    return `${letter}ooo${letter} `;
  }).join("");
}

const sample = () => text(words(400, 1), { length: LENGTH, stride: 4, test: words(80, 2) });

const make = (device: Device, method: Method = man(greedy())) =>
  trainer({
    device,
    model: tiny(),
    modules: 2,
    method,
    optimizer: adamw(),
    schedule: constant(0.01),
    batch: 24,
  });

/** The least bits a byte that the pair frequencies of the text itself allow: a bound that no bigram model is below. */
function bigramBits(content: string): number {
  const pairs = new Map<string, number>();
  const firsts = new Map<string, number>();
  for (let i = 1; i < content.length; i++) {
    const [pair, first] = [content.slice(i - 1, i + 1), content.slice(i - 1, i)];
    pairs.set(pair, (pairs.get(pair) ?? 0) + 1);
    firsts.set(first, (firsts.get(first) ?? 0) + 1);
  }
  return [...pairs].reduce(
    (sum, [pair, count]) => sum - count * Math.log2(count / firsts.get(pair.slice(0, 1))!),
    0,
  ) /
    (content.length - 1);
}

Deno.test("a language model by local modules needs fewer bits a byte than any bigram model, and resumes to the bit", async () => {
  await using device = await open("cpu", { engine: "wasm" });
  using whole = await make(device);
  const saves: Snapshot[] = [];
  const observer = { save: (snapshot: Snapshot) => void saves.push(snapshot) };
  const { last } = await whole.fit(sample(), { epochs: 5, observers: [observer], evaluateEvery: 5 });
  const reached = last!.loss / Math.LN2;
  assert(
    reached < bigramBits(words(80, 2)) - 0.2,
    `${reached} bits, ${bigramBits(words(80, 2))} of a bigram`,
  );
  assert(whole.memory.method.peakBytes < whole.memory.endToEnd.peakBytes);

  using resumed = await make(device);
  resumed.restore(saves.at(-2)!);
  assertEquals([resumed.stepsDone, whole.stepsDone], [100, 125]);
  await resumed.fit(sample(), { epochs: 5, observers: [], evaluateEvery: 5 });
  assertEquals(bits(await resumed.snapshot()), bits(await whole.snapshot()));
});

Deno.test("a language model of bytes takes about the same step in bf16, a larger vocabulary is refused", async () => {
  await using device = await open("reference");
  const first = async (precision: "f32" | "bf16", vocabulary?: number) => {
    const model = languageModel({
      length: 4,
      width: 4,
      heads: 2,
      blocks: 2,
      ...vocabulary && { vocabulary },
    });
    using t = await trainer({
      ...{ device, model, precision, modules: 2, method: greedy(), optimizer: sgd(), batch: 2 },
      schedule: constant(0.5),
    });
    const x = new HostArray(Float32Array.of(0, 255, 7, 254, 3, 128, 129, 130), [2, 4]);
    const batch = { x, labels: Int32Array.of(255, 7, 254, 3, 128, 129, 130, 131) };
    return [await t.step(batch), await t.step(batch)].flatMap(({ losses }) => losses);
  };
  const [wide, narrow] = [await first("f32"), await first("bf16")];
  assertNotEquals(narrow, wide);
  narrow.forEach((loss, i) => assert(Math.abs(loss - wide[i]!) < 0.01 * wide[i]!, `${narrow}, ${wide}`));
  await assertRejects(() => first("bf16", 258), LocalgradError, "has not all whole numbers above 256");
});

Deno.test(
  "a language model takes the same steps on webgpu",
  { ignore: await skips("webgpu", openWebgpu) },
  async () => {
    const { x, labels } = sample().train;
    const batch = {
      x: new HostArray(x.subarray(0, 24 * LENGTH), [24, LENGTH]),
      labels: labels.subarray(0, 24 * LENGTH),
    };
    const losses = async (device: Device) => {
      using t = await make(device, greedy());
      return [await t.step(batch), await t.step(batch)].flatMap(({ losses }) => losses);
    };
    await using cpu = await open("cpu");
    await using webgpu = await open("webgpu");
    const [expected, got] = [await losses(cpu), await losses(webgpu)];
    assertEquals(got.length, 4);
    got.forEach((loss, i) =>
      assert(Math.abs(loss - expected[i]!) < 1e-3 * expected[i]!, `${loss}, ${expected[i]}`)
    );
  },
);

Deno.test("no logit of a language model depends on a later token", () => {
  const net = network(tiny());
  const f = (params: Named<Tensor>, x: Tensor) => net.apply(params, {}, x, "evaluate").y;
  const tokens = (last: number) =>
    new HostArray(Float32Array.from({ length: LENGTH }, (_, i) => i < 8 ? 7 * i : last), [1, LENGTH]);
  const [a, b] = [3, 99].map((last) => [...run(f, initialize(net.params, key(1)), tokens(last))[""]!.data]);
  const row = (values: number[], i: number) => values.slice(256 * i, 256 * i + 256);
  for (let i = 0; i < 8; i++) assertEquals(row(a!, i), row(b!, i), `token ${i}`);
  assertNotEquals(row(a!, 8), row(b!, 8));
});

Deno.test("every method trains a language model or says why not", () => {
  const trained: string[] = [];
  for (const name of methodNames) {
    try {
      const { outputs } = stepProgram(tiny(3), 3, methodNamed(name), 4);
      assert(outputs.length > 0);
      trained.push(name);
    } catch (error) {
      assert(error instanceof LocalgradError, `${name}: ${error}`);
    }
  }
  for (
    const name of ["endToEnd", "greedy", "man+greedy", "manPlusPlus+greedy", "sgr+greedy", "hpff+greedy"]
  ) {
    assert(trained.includes(name), `${name} of ${trained}`);
  }
  assert(!trained.some((name) => /dgl|predsim|augLocal/.test(name)), trained.join());
});

Deno.test("no local classifier of a language model sees a later token", () => {
  // Of the logits of the first token alone.
  const loss = (logits: Tensor) => logits.slice([0, 0, 0], [2, 1, 256]).square().sum([1, 2]);
  for (const name of ["greedy", "man+greedy", "manPlusPlus+greedy", "mlaan"] as const) {
    const made = setup({ model: tiny(3), modules: 3, method: methodNamed(name), optimizer: sgd(), loss });
    const f = (train: TrainState<Tensor>, x: Tensor) =>
      trainStep(made, train, { x, labels: x.cast("i32"), images: x }, { learningRate: 0.05 }).losses;
    const tokens = (first: number, rest: number) =>
      new HostArray(Float32Array.from({ length: 2 * LENGTH }, (_, i) => i % LENGTH === 0 ? first : rest), [
        2,
        LENGTH,
      ]);
    const [a, b, c] = [tokens(5, 6), tokens(5, 99), tokens(7, 6)].map((
      x,
    ) => [...run(f, start(made), x)[""]!.data]);
    assert(a!.length >= 3, name);
    assertEquals(a, b, name);
    assertNotEquals(a, c, name);
  }
});

Deno.test("losses and correctness of tokens are those of as many inputs", () => {
  const z = new HostArray(Float32Array.from({ length: 24 }, (_, i) => Math.sin(3 * i)), [2, 4, 3]);
  const labels = new HostArray(Int32Array.of(0, 1, 2, 0, 1, 2, 1, 0), [2, 4]);
  const same = (own: (z: Tensor, labels: Tensor) => Tensor, rows = own) => {
    const [got] = run(own, z, labels)[""]!.data;
    const flat = (z: Tensor, labels: Tensor) => rows(z.reshape(8, 3), labels.reshape(8));
    assertAlmostEquals(got!, run(flat, z, labels)[""]!.data[0]!, 1e-6);
  };
  for (const options of [{}, { labelSmoothing: 0.1 }, { classWeights: [1, 2, 5] }, { ignored: 2 }]) {
    same((z, labels) => meanLoss(crossEntropyLoss(options), z, labels));
  }
  same(
    (z, labels) => correctPositions(z, labels, undefined).mul(1 / 2),
    (z, labels) => correct(z, labels).mean(),
  );
});

Deno.test("an evaluation counts tokens, without those ignored", async () => {
  // Logits are highest where the token itself is, second highest at the next one, and so on.
  const seer: Model = {
    ...tiny(),
    input: { features: 3 },
    classes: 12,
    stem: {},
    blocks: [{ name: "block", layer: stateless((x) => x) }],
    head: {
      logits: layer({
        params: { scale: constantInitial(1, [1]) },
        apply({ scale }, state, x) {
          const own = iota([1, 1, 12], 2, "f32").sub(x.reshape(-1, 3, 1));
          return { y: own.abs().neg().mul(scale.reshape(1, 1, 1)), state };
        },
      }),
    },
  };
  const x = new HostArray(Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3]);
  const labels = new HostArray(Int32Array.of(1, 2, 0, 4, 11, 0), [2, 3]);
  await using device = await open("cpu");
  const evaluated = async (loss?: ReturnType<typeof crossEntropyLoss>) => {
    const options = { model: seer, method: endToEnd(), optimizer: sgd(), batch: 4 };
    using t = await trainer({ device, ...options, ...(loss === undefined ? {} : { loss }) });
    const set = arrays({ x, labels, test: { x, labels }, classes: "abcdefghijkl".split("") });
    const evaluation = await t.evaluate(set, { metrics: ["perClass", "confusion"] });
    const { accuracy = NaN } = await t.step({ x, labels }, { learningRate: 0 });
    assertAlmostEquals(accuracy, 1 - evaluation.error, 1e-6);
    return evaluation;
  };
  const all = await evaluated();
  assertAlmostEquals(all.error, 3 / 6, 1e-6);
  assertAlmostEquals(all.topFiveError!, 3 / 6, 1e-6); // 0 is seventh after 3 and twelfth after 6, and 11 tenth after 5
  assertEquals([all.images, all.meanIoU], [2, undefined]);
  assertEquals(all.perClass![0], { images: 2, recall: 0 });
  assertEquals([all.confusion![0]![3], all.confusion![4]![4], all.confusion![11]![5]], [1, 1, 1]);
  const without = await evaluated(crossEntropyLoss({ ignored: 4 }));
  assertAlmostEquals(without.error, 3 / 5, 1e-6);
  assertAlmostEquals(without.topFiveError!, 3 / 5, 1e-6);
  assertEquals(without.perClass![4], { images: 0 });
});

Deno.test("text() makes windows of bytes and of those one place on", () => {
  const { train, test, shape, classes } = text("abcdefgh", {
    length: 3,
    stride: 2,
    test: Uint8Array.of(1, 2, 3, 200, 5),
  });
  const letters = (values: Float32Array | Int32Array) => new TextDecoder().decode(Uint8Array.from(values));
  assertEquals([shape, train.count, classes!.length], [[3], 3, 256]);
  assertEquals([letters(train.x), letters(train.labels)], ["abccdeefg", "bcddeffgh"]);
  assertEquals([test!.count, [...test!.x], [...test!.labels]], [1, [1, 2, 3], [2, 3, 200]]);
  assertThrows(
    () => text("abc", { length: 3 }),
    LocalgradError,
    "text: 3 bytes are fewer than a window of 3",
  );
  assertThrows(() => text("abcd", { length: 3, test: "é" }), LocalgradError, "text: test: 2 bytes are fewer");
  assertThrows(
    () => text(5 as never, { length: 3 }),
    LocalgradError,
    "text: a text is a string or its bytes",
  );
});

Deno.test("what does not suit a language model is refused in one line", async () => {
  const made = (method: Method, loss?: ReturnType<typeof crossEntropyLoss>) =>
    setup({ model: tiny(), modules: 2, method, optimizer: sgd(), ...(loss === undefined ? {} : { loss }) });
  const refused: [string, () => unknown][] = [
    ["dgl: batch norm in its heads would show each token those after it", () => made(dgl())],
    ["contSup: its encoders have batch norm", () => made(contSup(greedy()))],
    [
      "predsim: similarity matching needs one class for each input, and languageModel classifies tokens",
      () => made(predsim()),
    ],
    [
      "infopro: the contrastive task term needs one class for each input",
      () => made(infopro({ task: "contrastive", weights: { reconstruction: [0, 0], task: [1, 1] } })),
    ],
    [
      "languageModel classifies tokens, and squaredError is a loss of",
      () => made(greedy(), squaredErrorLoss()),
    ],
    [
      "its head gives [12,16] for each image, not logits [12,256]",
      () => setup({ model: { ...tiny(), head: {} }, method: greedy(), optimizer: sgd() }),
    ],
    [
      "languageModel: a width of 10 cannot be divided into 4 heads",
      () => languageModel({ length: 8, width: 10 }),
    ],
    ["languageModel: length must be a whole number of at least 2", () => languageModel({ length: 1 })],
    [
      "languageModel: blocks must be a whole number of at least 1",
      () => languageModel({ length: 4, blocks: 0 }),
    ],
    [
      'a model with summary "each" classifies tokens',
      () =>
        setup({
          model: { ...tiny(), input: { height: 2, width: 2, channels: 3 } },
          method: greedy(),
          optimizer: sgd(),
        }),
    ],
  ];
  for (const [message, fault] of refused) assertThrows(fault, LocalgradError, message);

  await using device = await open("cpu");
  using t = await make(device);
  const x = new HostArray(new Float32Array(2 * LENGTH), [2, LENGTH]);
  const fit = (set: Parameters<typeof t.fit>[0]) => () => t.fit(set, { epochs: 1, observers: [] });
  const none = Int32Array.of(0, 1);
  await assertRejects(
    fit(arrays({ x, labels: none })),
    LocalgradError,
    `the train part of arrays has 1 labels for each input; languageModel takes ${LENGTH}, one of each token`,
  );
  await assertRejects(
    fit(arrays({ x, labels: new HostArray(new Int32Array(2 * LENGTH).fill(300), [2, LENGTH]) })),
    LocalgradError,
    "arrays has 301 classes, languageModel was made for 256",
  );
  await assertRejects(
    () => t.step({ x, labels: none }),
    LocalgradError,
    `2 labels were given for the ${2 * LENGTH} tokens of the 2 inputs of the batch`,
  );
  const high = new HostArray(new Int32Array(2 * LENGTH).fill(256), [2, LENGTH]);
  await assertRejects(
    () => t.step({ x, labels: high }),
    LocalgradError,
    "input 0 of the batch has a token with label 256",
  );
  await assertRejects(async () => await t.predict(x), LocalgradError, "outputs() gives the logits");
  assertThrows(() => t.segment(x), LocalgradError, "languageModel classifies tokens; outputs() gives");
  assertEquals((await t.outputs(x)).shape, [2, LENGTH, 256]);
  const { losses, accuracy } = await t.step({ x, labels: new Int32Array(2 * LENGTH) });
  assertEquals(losses.length, 2);
  assert(accuracy! >= 0 && accuracy! <= 1);
});
