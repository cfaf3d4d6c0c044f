/**
 * The calls of docs/differences.md: what other libraries compute (../fixtures/differences.json), what this one does, and
 * that the document says so.
 */

import { assert, assertEquals } from "@std/assert";
import { vjp } from "../../src/autograd/grad.ts";
import { at } from "../../src/base/at.ts";
import { key as keyOf } from "../../src/base/random.ts";
import { mixingOf } from "../../src/data/augment.ts";
import { autoContrast } from "../../src/data/augmentation/colour.ts";
import type { Mixing } from "../../src/data/augmentation/mix.ts";
import { pictures } from "../../src/data/folder/pictures.ts";
import { crossEntropyLoss, meanLoss } from "../../src/local/loss.ts";
import { crossEntropy } from "../../src/local/losses.ts";
import { batchNorm, dropout, layerNorm } from "../../src/nn.ts";
import { adamw, clipped, muon, type Optimizer, sgd, warmupCosine } from "../../src/optim.ts";
import { jit } from "../../src/runtime/jit.ts";
import { clamp, gelu } from "../../src/trace/activations.ts";
import { concat, full, iota, maxPool, oneHot, resizeBilinear, where } from "../../src/trace/functions.ts";
import { foldIn } from "../../src/trace/random.ts";
import { HostArray } from "../../src/trace/host_array.ts";
import type { Tensor } from "../../src/trace/tensor.ts";
import { treeLeaves } from "../../src/trace/tree.ts";
import { load, testOn } from "./fixture.ts";

/** Results as JSON has them: numbers that it lacks, and errors, are texts. */
type Value = number | string | boolean | readonly Value[];

const libraries = ["torch", "jax", "keras", "tfjs", "jaxjs", "onnx"] as const;

interface Fixture {
  readonly versions: { readonly [library: string]: { readonly [name: string]: string } };
  readonly pictures: { readonly png16: string; readonly jpeg: string };
  readonly rows: { readonly [row: string]: { readonly [library: string]: Value } };
}

const fixture = load<Fixture>("differences");
const document = Deno.readTextFileSync(new URL("../../docs/differences.md", import.meta.url));

/** The first cell of each row of the document. */
const calls: { readonly [row: string]: string } = {
  "batchNorm.running": "running mean and variance, from 0 and 1, after a batch of 0 and 4",
  "batchNorm.epsilon": "epsilon",
  "sgd.momentum": "momentum 0.9",
  "sgd.nesterov": "the same, Nesterov",
  "adamw.decay": "AdamW, rate 1, gradient 0, from 1",
  "adam.tiny": "Adam, rate 1, gradient 1e-8, from 0",
  "muon": "Muon, rate 1, gradient the identity, 8 outputs × 2 inputs: first entry",
  "clip.infinite": "1, ∞, 2 clipped to the norm 1",
  "clip.large": "1e20, 1e20 clipped to the norm 1",
  "cosine": "rates of 10 steps from 1: after 5, 10, 15, 20",
  "gradient.max": "maximum of the vector 1, 1",
  "gradient.maximum": "maximum of 1 and 1",
  "gradient.maxPool": "largest of a window 1, 1",
  "gradient.clamp": "clamp to [−1, 1] of −1, 0.5, 1",
  "gradient.abs": "magnitude of 0",
  "gradient.relu": "ReLU of 0",
  "oneHot": "one-hot of −1 and 2, two classes",
  "crossEntropy.label": "mean cross-entropy of labels 0 and 2, two equal logits",
  "crossEntropy.ignored": "the same, all labels left out",
  "layerNorm.epsilon": "epsilon of layer normalisation",
  "layerNorm.shifted": "layer normalisation of 9,999 and 10,001, 512 of each: the larger",
  "gelu": "GELU of −∞",
  "mix.mixup": "mean share of an image in mixup, α = 1",
  "mix.cutmix": "the same in CutMix, images of 32 × 32",
  "autocontrast": "autocontrast of 0, 15, 30, 45, 60, 75",
  "resize.smaller": "0, 1, 2, 3 to two pixels",
  "resize.larger": "0, 1 to four pixels",
  "nan.argmax": "index of the largest",
  "nan.max": "largest",
  "nan.maxPool": "largest of a window",
  "nan.relu": "ReLU of NaN",
  "nan.dropout": "dropout of NaN, where it drops",
  "integer.byZero": "1 / 0",
  "integer.negative": "−7 / 2",
  "foldIn": "fold 2 into the key 0, 1",
  "picture.16bit": "grey of 0, 32,768 and 65,535",
  "picture.exif": "width, height of a JPEG of 64 × 32, turned",
};

/** Where a parameter is after steps with one gradient at the given rates. */
function moved(optimizer: Optimizer, rates: readonly number[], start: Tensor, gradient: number): Tensor {
  let params = { p: start };
  const aval = { p: new HostArray(new Float32Array(start.size), start.shape) };
  let slots: Parameters<Optimizer["update"]>[2] = Object.fromEntries(
    Object.keys(optimizer.slots(aval)).map((name) => [name, { p: full(start.shape, 0) }]),
  );
  for (const [step, rate] of rates.entries()) {
    const gradients = { p: full(start.shape, gradient) };
    ({ params, slots } = optimizer.update(params, gradients, slots, optimizer.scalars(step, rate)));
  }
  return params.p;
}

/** A parameter, from 0, after a step at rate 1 with a gradient. */
function stepped(optimizer: Optimizer, gradient: Tensor): Tensor {
  const zeros = full(gradient.shape, 0);
  const aval = { p: new HostArray(new Float32Array(gradient.size), gradient.shape) };
  const slots = Object.fromEntries(Object.keys(optimizer.slots(aval)).map((name) => [name, { p: zeros }]));
  return optimizer.update({ p: zeros }, { p: gradient }, slots, optimizer.scalars(0, 1)).params.p;
}

/** The gradient of the sum of a function. */
function slope(f: (x: Tensor) => Tensor, x: Tensor): Tensor {
  const [y, pullback] = vjp(f, x);
  return pullback(full(y.shape, 1))[0];
}

/** What this library computes; operands are arguments, lest the compiler folds them. */
function traced(floats: Tensor, integers: Tensor, key: Tensor): { [row: string]: Tensor | Tensor[] } {
  const [zero, one, missing] = [0, 1, 2].map((i) => floats.slice([i], [i + 1]));
  const [none, single, negative, two] = [0, 1, 2, 3].map((i) => integers.slice([i], [i + 1]));
  assert(zero && one && missing && none && single && negative && two);
  const norm = batchNorm({ channels: 1 });
  const params = { weight: one, bias: zero };
  const state = { running_mean: zero, running_var: one };
  const batch = concat([zero, one.mul(4)]).reshape(2, 1);
  const { state: after } = norm.apply(params, state, batch, "train");
  const { y } = norm.apply(params, { ...state, running_var: zero }, one.reshape(1, 1), "evaluate");
  const ones = concat([one, one]);
  const vector = concat([one, missing, one.add(1)]);
  const row = (x: Tensor) => x.reshape(1, 1, -1, 1);
  const pooled = (x: Tensor) => maxPool(row(x), { window: [1, x.size] });
  const [first, pullback] = vjp((a: Tensor, b: Tensor) => a.maximum(b), one, one);
  const nesterov = { momentum: 0.9, nesterov: true };
  const labels = concat([none, two]);
  const normed = (x: Tensor) => {
    const params = { weight: one.broadcastTo([x.size]), bias: zero.broadcastTo([x.size]) };
    const { y } = layerNorm({ features: x.size }).apply(params, {}, x.reshape(1, x.size), "evaluate");
    return y.reshape(x.size).slice([x.size - 1], [x.size]);
  };
  const missed = dropout().apply({}, {}, missing.broadcastTo([64]), "train", key).y;
  const hasZero = missed.isFinite().cast("f32").max().gt(0);
  const clippedBy = (...values: Tensor[]) => stepped(clipped(sgd(), { norm: 1 }), concat(values)).neg();
  const identity = iota([8, 2], 0).eq(iota([8, 2], 1)).cast("f32").mul(one);
  return {
    "batchNorm.running": treeLeaves<Tensor>(after),
    "batchNorm.epsilon": y.square().reshape(1).pow(-1),
    "sgd.momentum": moved(sgd({ momentum: 0.9 }), [1, 0.1], zero, 1),
    "sgd.nesterov": moved(sgd(nesterov), [1, 0.1], zero, 1),
    "adamw.decay": moved(adamw(), [1], one, 0),
    "adam.tiny": moved(adamw({ weightDecay: 0 }), [1], zero, 1e-8),
    "gradient.max": slope((x) => x.max(), ones),
    "gradient.maximum": pullback(full(first.shape, 1)),
    "gradient.maxPool": slope(pooled, ones),
    "gradient.clamp": slope((x) => clamp(x, { min: -1, max: 1 }), concat([one.neg(), one.mul(0.5), one])),
    "gradient.abs": slope((x) => x.abs(), zero),
    "gradient.relu": slope((x) => x.relu(), zero),
    "oneHot": oneHot(concat([single.neg(), two]), 2),
    "crossEntropy.label": crossEntropy(zero.broadcastTo([2, 2]), labels).reshape(1),
    "crossEntropy.ignored": meanLoss(
      crossEntropyLoss({ ignored: 0 }),
      zero.broadcastTo([2, 2]),
      concat([none, none]),
    ).reshape(1),
    "muon": stepped(muon({ weightDecay: 0 }), identity).slice([0, 0], [1, 1]).reshape(1),
    "clip.infinite": clippedBy(one, one.div(zero), one.mul(2)),
    "clip.large": clippedBy(one.mul(1e20), one.mul(1e20)),
    "layerNorm.epsilon": normed(concat([one.mul(-1e-6), one.mul(1e-6)])).div(1e-6).pow(-2),
    "layerNorm.shifted": normed(
      iota([1024], 0, "f32").gt(511).cast("f32").mul(one.mul(2)).add(9999),
    ),
    "gelu": gelu(one.neg().div(zero)),
    "nan.dropout": where(hasZero, 0, missing.reshape()).reshape(1),
    "autocontrast": autoContrast(iota([1, 1, 6, 1], 2).mul(single).mul(15)).reshape(6),
    "resize.smaller": resizeBilinear(row(concat([zero, one, one.mul(2), one.mul(3)])), [1, 2]),
    "resize.larger": resizeBilinear(row(concat([zero, one])), [1, 4]),
    "nan.argmax": vector.argmax(0).reshape(1),
    "nan.max": vector.max().reshape(1),
    "nan.maxPool": pooled(vector),
    "nan.relu": missing.relu(),
    "integer.byZero": single.div(none),
    "integer.negative": negative.div(two),
    "foldIn": foldIn(key, 2),
  };
}

/** A result as a cell shows it: numbers with 4 digits, rows of numbers without commas. */
function cell(value: Value | undefined, between: string = ", "): string {
  if (value === undefined) return "";
  if (typeof value === "object") return value.map((each) => cell(each, " ")).join(between);
  return typeof value === "number" ? shown(value) : `${value}`;
}

function shown(value: number): string {
  return `${Number.isInteger(value) ? value : Number(value.toPrecision(4))}`.replace(/^-/, "−");
}

/** The rows of the document's tables: their cells, without what pads them. */
const lines = document.split("\n").filter((line) => line.startsWith("| ")).map((line) =>
  line.split("|").slice(1, -1).map((cell) => cell.trim())
).filter((cells) => cells.length === libraries.length + 2);

/** Fails unless the document has a row with what the libraries and this one give. */
function assertListed(row: string, here: Value): void {
  const others = libraries.map((library) => cell(fixture.rows[row]?.[library]));
  const expected = [calls[row] ?? row, ...others, cell(here)];
  const found = lines.some((cells) => cells.every((cell, i) => cell === expected[i]));
  assert(found, `docs/differences.md lacks the row\n| ${expected.join(" | ")} |`);
}

await testOn(
  ["reference", "cpu"],
  (backend) => `docs/differences.md: what this library computes on ${backend}, and what others do`,
  async (device) => {
    const f = jit(traced, { device });
    const results = f(Float32Array.of(0, 1, NaN), Int32Array.of(0, 1, -7, 2), Uint32Array.of(0, 1));
    for (const [row, result] of Object.entries(results)) {
      const parts = Array.isArray(result) ? result : [result];
      const numbers: Value[] = [];
      for (const part of parts) {
        const [rows = 1, ...columns] = part.shape;
        const data = [...await part.read()];
        const width = data.length / rows;
        if (columns.length !== 1 || width === 1) numbers.push(...data);
        else for (let i = 0; i < rows; i++) numbers.push(data.slice(i * width, (i + 1) * width));
        part.dispose();
      }
      assertListed(row, numbers);
    }
    f.dispose();
  },
);

Deno.test("docs/differences.md: schedules past their end, 16-bit pictures and EXIF", async () => {
  const schedule = warmupCosine({ base: 1, warmup: 0, epochs: 10 });
  assertListed("cosine", [5, 10, 15, 20].map(schedule));
  await using decoder = pictures({ threads: 1 });
  const decoded = (name: "png16" | "jpeg", height: number, width: number) =>
    decoder.decode(new Blob([Uint8Array.fromBase64(fixture.pictures[name])]), { height, width });
  const grey = await decoded("png16", 32, 96);
  assertListed("picture.16bit", [16, 48, 80].map((x) => at(grey, (16 * 96 + x) * 3)));
  // A square from the middle: stored, its left half is black; turned, its upper half.
  const square = await decoded("jpeg", 32, 32);
  const isTurned = at(square, (4 * 32 + 28) * 3) < 64 && at(square, (28 * 32 + 4) * 3) > 192;
  assertListed("picture.exif", isTurned ? [32, 64] : [64, 32]);
});

await testOn(
  ["cpu"],
  () => "docs/differences.md: the mean share of an image that is mixed",
  async (device) => {
    const nothing = { border: 0, fill: "zero", flip: false } as const;
    const mean = async (mix: Mixing) => {
      const draw = jit(
        (key: Tensor) => mixingOf(key, { ...nothing, mix }, { height: 32, width: 32 })!.share,
        { device },
      );
      let sum = 0;
      for (let seed = 0; seed < 600; seed++) {
        using share = draw(keyOf(seed));
        sum += (await share.read("f32"))[0]!;
      }
      return Math.round(sum / 60) / 10;
    };
    assertListed("mix.mixup", await mean({ mixup: 1 }));
    assertListed("mix.cutmix", await mean({ cutmix: 1 }));
  },
);

Deno.test("docs/differences.md has no other rows, and names the versions", () => {
  const headers = lines.filter(([, first]) => first === "PyTorch" || first?.startsWith("-")).length;
  assertEquals(lines.length - headers, Object.keys(calls).length);
  for (const versions of Object.values(fixture.versions)) {
    for (const version of Object.values(versions)) {
      assert(document.includes(version), `docs/differences.md does not name version ${version}`);
    }
  }
});
