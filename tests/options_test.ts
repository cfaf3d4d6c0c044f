/**
 * Every option of every public function, misspelt once: each is refused, by the name of the function, with the right name
 * and all names. The functions and their options are those of `deno doc`.
 */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { fromFileUrl } from "@std/path";
import library from "../deno.json" with { type: "json" };
import * as localgrad from "../mod.ts";
import { LocalgradError } from "../src/base/errors.ts";
import { DATASETS } from "../src/data/datasets.ts";
import { imageFolder } from "../src/data/folder/folder.ts";
import { imageTables } from "../src/data/parquet/parquet.ts";
import { pictures } from "../src/data/folder/pictures.ts";
import { segmentationFolder } from "../src/data/folder/segmentation.ts";
import { exportOnnx } from "../src/onnx/onnx.ts";
import { openTelemetry } from "../src/opentelemetry.ts";
import { Tensor } from "../src/trace/tensor.ts";
import { Trace, withTrace } from "../src/trace/trace.ts";
import { tinyDataset } from "./tiny.ts";
import { make } from "./tiny_trainer.ts";

// deno-lint-ignore no-explicit-any -- options that the types refuse are the point
type Any = any;

const { data, devices, local, models, nn, optim, predict } = localgrad;

/** Calls `f` with a tensor in a traced function. */
function traced(f: (x: Tensor) => unknown): void {
  const trace = new Trace();
  const x = new Tensor(trace, trace.builder.input({ shape: [2, 4, 4, 4], dtype: "f32" }, "x"));
  withTrace(trace, () => f(x));
}

/** A call of each function with options, but for those that are needed. */
function calls(
  trainer: localgrad.local.Trainer,
  predictor: localgrad.predict.Predictor,
): { [name: string]: (given: Any) => unknown } {
  const { setup, device: { backend: { target } } } = trainer;
  const image = new localgrad.HostArray(new Float32Array(8 * 8 * 3), [1, 8, 8, 3]);
  const dataset = tinyDataset(4, 4);
  return {
    jit: (given) => localgrad.jit((x) => x, given),
    valueAndGrad: (given) => localgrad.valueAndGrad((x: Tensor) => [x, x] as const, given),
    conv2d: (given) => traced((x) => localgrad.conv2d(x, x, given)),
    maxPool: (given) => traced((x) => localgrad.maxPool(x, given)),
    avgPool: (given) => traced((x) => localgrad.avgPool(x, given)),
    resizeBilinear: (given) => traced((x) => localgrad.resizeBilinear(x, 2, given)),
    logSumExp: (given) => traced((x) => localgrad.logSumExp(x, 0, given)),
    gelu: (given) => traced((x) => localgrad.gelu(x, given)),
    clamp: (given) => traced((x) => localgrad.clamp(x, given)),
    variance: (given) => traced((x) => localgrad.variance(x, 0, given)),
    std: (given) => traced((x) => localgrad.std(x, 0, given)),
    norm: (given) => traced((x) => localgrad.norm(x, 0, given)),
    sort: (given) => traced((x) => localgrad.sort(x, 0, given)),
    allReduce: (given) => traced((x) => localgrad.allReduce(x, given)),
    broadcastFrom: (given) => traced((x) => localgrad.broadcastFrom(x, given)),
    send: (given) => traced((x) => (localgrad.send(x, given), x)),
    receive: (given) => traced(() => localgrad.receive({ shape: [1], dtype: "f32" }, given)),
    "Tensor.sum": (given) => traced((x) => x.sum(0, given)),
    "Tensor.max": (given) => traced((x) => x.max(0, given)),
    "Tensor.min": (given) => traced((x) => x.min(0, given)),
    "Tensor.mean": (given) => traced((x) => x.mean(0, given)),
    "Tensor.matmul": (given) => traced((x) => x.matmul(x, given)),
    "devices.open": (given) => devices.open("reference", given),
    "devices.target": (given) => devices.target("reference", given),
    "nn.conv": nn.conv,
    "nn.linear": nn.linear,
    "nn.batchNorm": nn.batchNorm,
    "nn.maxPooling": nn.maxPooling,
    "nn.averagePooling": nn.averagePooling,
    "nn.flatten": nn.flatten,
    "nn.layer": nn.layer,
    "nn.residualBlock": nn.residualBlock,
    "nn.bottleneckBlock": nn.bottleneckBlock,
    "nn.upsampling": nn.upsampling,
    "nn.atrousPyramid": nn.atrousPyramid,
    "nn.layerNorm": nn.layerNorm,
    "nn.groupNorm": nn.groupNorm,
    "nn.gelu": nn.gelu,
    "nn.dropout": nn.dropout,
    "nn.stochasticDepth": (given) => nn.stochasticDepth({ layer: nn.relu(), rate: 0.1, ...given }),
    "nn.embedding": nn.embedding,
    "nn.multiHeadAttention": nn.multiHeadAttention,
    "nn.transformerBlock": nn.transformerBlock,
    "nn.convTranspose": nn.convTranspose,
    "nn.squeezeExcitation": nn.squeezeExcitation,
    "models.described": (given) => models.described("mine", given, { classes: 2, size: 8 }),
    "models.modelNamed": (given) => models.modelNamed("resnet18", given),
    ...Object.fromEntries(
      models.modelNames.map((name) => [`models.${name}`, (given) => models.modelNamed(name, given)]),
    ),
    "data.shapes": data.shapes,
    "data.scenes": data.scenes,
    "data.arrays": data.arrays,
    "data.stream": data.stream,
    "data.text": (given) => data.text("text", given),
    "models.mlp": models.mlp,
    "models.languageModel": models.languageModel,
    "data.cifar10": data.cifar10,
    "data.svhn": data.svhn,
    "data.stl10": data.stl10,
    "data.limitImages": (given) => data.limitImages(dataset, given),
    "data.cifar100": data.cifar100,
    "data.mnist": data.mnist,
    "data.fashionMnist": data.fashionMnist,
    imageFolder,
    imageTables,
    segmentationFolder,
    pictures,
    "train.readRun": (given) => localgrad.train.readRun("none", "last", given),
    "processes.join": (given) => localgrad.processes.join(given),
    "train.report": (given) => localgrad.train.report([], given),
    openTelemetry,
    exportOnnx: (given) =>
      exportOnnx(setup.model, { name: "none", tensors: new Map(), notes: [] } as Any, given),
    "predict.load": (given) => predict.load("none", given),
    "predict.Predictor.predict": (given) => predictor.predict([], given),
    "predict.Predictor.stream": (given) => predictor.stream([], given).next(),
    "predict.Predictor.folder": (given) => predictor.folder("none", given).next(),
    "optim.sgd": optim.sgd,
    "optim.adamw": optim.adamw,
    "optim.steps": optim.steps,
    "optim.warmupCosine": optim.warmupCosine,
    "optim.lamb": optim.lamb,
    "optim.lion": optim.lion,
    "optim.muon": optim.muon,
    "optim.clipped": (given) => optim.clipped(optim.sgd(), given),
    "optim.warmup": (given) => optim.warmup(optim.constant(1), given),
    "optim.cosine": optim.cosine,
    "optim.cosineRestarts": optim.cosineRestarts,
    "optim.oneCycle": optim.oneCycle,
    "local.setup": local.setup,
    "local.balanced": local.balanced,
    "local.memory": local.memory,
    "local.stepPlan": (given) => local.stepPlan(setup, 4, target, given),
    "local.stepMemory": (given) => local.stepMemory(setup, 4, target, given),
    "local.compareMemory": (given) => local.compareMemory(setup, 4, target, given),
    "local.endToEnd": local.endToEnd,
    "local.dgl": local.dgl,
    "local.crossEntropyLoss": local.crossEntropyLoss,
    "local.predsim": local.predsim,
    "local.infopro": local.infopro,
    "local.augLocal": local.augLocal,
    "local.man": (given) => local.man(local.dgl(), given),
    "local.manPlusPlus": (given) => local.manPlusPlus(local.dgl(), given),
    "local.contSup": (given) => local.contSup(local.dgl(), given),
    "local.hpff": (given) => local.hpff(local.dgl(), given),
    "local.sgr": (given) => local.sgr(local.dgl(), given),
    "local.mlaan": local.mlaan,
    "local.withinLimit": local.withinLimit,
    "local.methodNamed": (given) => local.methodNamed("man+infopro", given),
    "local.trainer": (given) => local.trainer(given),
    "local.probe": (given) => local.probe(trainer, dataset, given),
    "local.Trainer.step": (given) => trainer.step({ x: image, labels: new Int32Array(1) }, given),
    "local.Trainer.evaluate": (given) => trainer.evaluate(dataset, given),
    "local.Trainer.fit": (given) => trainer.fit(dataset, given),
    "local.Trainer.predict": (given) => trainer.predict([], given),
    "local.Trainer.load": (given) => trainer.load({ name: "none", tensors: new Map() } as Any, given),
  };
}

/** A type as `deno doc` describes it. */
interface Type {
  readonly kind: string;
  readonly repr?: string;
}

interface Parameter {
  readonly name?: string;
  readonly tsType?: Type;
  readonly left?: Parameter;
}

interface Symbols {
  readonly name: string;
  readonly declarations: readonly {
    readonly kind: string;
    readonly def: {
      readonly params?: readonly Parameter[];
      readonly methods?: readonly {
        readonly name: string;
        readonly functionDef: { readonly params: readonly Parameter[] };
      }[];
    };
  }[];
}

/** The entry points of the library, and the namespace of `mod.ts` that each is: none for those with names of their own. */
async function entries(): Promise<[path: string, prefix: string][]> {
  const text = await Deno.readTextFile(new URL("../mod.ts", import.meta.url));
  const namespaces = new Map(
    Array.from(
      text.matchAll(/^export \* as (\w+) from "(.+)";$/gm),
      ([, name = "", path = ""]) => [path, name],
    ),
  );
  return Object.values(library.exports).map((path) => {
    const name = namespaces.get(path);
    return [path.slice(2), name === undefined ? "" : `${name}.`];
  });
}

/** The names of all public functions that take options. */
async function takers(): Promise<Set<string>> {
  const names = new Set<string>();
  const takes = (params: readonly Parameter[]) =>
    params.some((param) => {
      const { name = "", tsType } = param.left ?? param;
      if (tsType === undefined) return false;
      return tsType.kind === "typeRef"
        ? /(Options|Spec)$|^Warmup$/.test(tsType.repr ?? "")
        : /^(options|spec|limits)$/.test(name);
    });
  const all = await entries();
  const root = fromFileUrl(new URL("..", import.meta.url));
  const args = ["doc", "--json", ...all.map(([path]) => path)];
  const { stdout } = await new Deno.Command("deno", { args, cwd: root }).output();
  const { nodes } = JSON.parse(new TextDecoder().decode(stdout));
  for (const [path, prefix] of all) {
    const { symbols }: { symbols: readonly Symbols[] } = nodes[new URL(`../${path}`, import.meta.url).href];
    for (const { name, declarations } of symbols) {
      for (const { kind, def: { params = [], methods = [] } } of declarations) {
        if (kind === "function" && takes(params)) names.add(`${prefix}${name}`);
        for (const method of kind === "class" ? methods : []) {
          if (takes(method.functionDef.params)) names.add(`${prefix}${name}.${method.name}`);
        }
      }
    }
  }
  return names;
}

/** Misspells a name: swaps its last two different letters, or repeats the last. */
function misspelt(name: string): string {
  for (let i = name.length - 1; i > 0; i--) {
    if (name[i] !== name[i - 1]) return name.slice(0, i - 1) + name[i] + name[i - 1] + name.slice(i + 1);
  }
  return `${name}${name}`;
}

Deno.test("every option of every public function, misspelt, is refused by its right name", async () => {
  await using device = await devices.open("cpu");
  using trainer = await make({ device });
  await using predictor = new predict.Predictor({
    device,
    model: trainer.setup.model,
    precision: "f32",
    variables: () => trainer.network(),
    signature: undefined,
    batch: 4,
  });
  const all = calls(trainer, predictor);
  assertEquals([...await takers()].toSorted(), Object.keys(all).toSorted());
  let count = 0;
  for (const [name, call] of Object.entries(all)) {
    const refusal = async (option: string) => {
      const error = await assertRejects(
        async () => await call({ [option]: 1 }),
        LocalgradError,
        "no option",
        name,
      );
      return error.message;
    };
    const options = (await refusal("qqqqqqq")).match(/; it has (.+)$/)?.[1]?.split(", ") ?? [];
    assert(options.length > 0, name);
    for (const option of options) {
      const message = await refusal(misspelt(option));
      const expected = ` has no option "${misspelt(option)}"; did you mean "${option}"? It has ${
        options.join(", ")
      }`;
      assert(message.endsWith(expected), `${name}: ${message}`);
      count++;
    }
  }
  assert(count > 100, `${count}`);
});

Deno.test("names that options have elsewhere are understood", async () => {
  const cases: [string, () => unknown][] = [
    [
      'conv has no option "kernel"; did you mean "window"? It has in, out,',
      () => nn.conv({ kernel: 3 } as Any),
    ],
    ['"kernel_size"; did you mean "window"?', () => nn.conv({ in: 3, out: 8, kernel_size: 3 } as Any)],
    [
      'conv has no option "stride"; did you mean "strides"?',
      () => nn.conv({ in: 3, out: 8, stride: 2 } as Any),
    ],
    ['"in_channels"; did you mean "in"?', () => nn.conv({ in_channels: 3, out: 8 } as Any)],
    ['"num_features"; did you mean "channels"?', () => nn.batchNorm({ num_features: 3 } as Any)],
    ['"eps"; did you mean "epsilon"?', () => optim.adamw({ eps: 1e-8 } as Any)],
    ['"weight_decay"; did you mean "weightDecay"?', () => optim.sgd({ weight_decay: 1e-4 } as Any)],
    ["the learning rate is the trainer's schedule", () => optim.adamw({ lr: 1e-3 } as Any)],
    ['"learningRate"; did you mean "schedule"?', () => local.trainer({ learningRate: 0.1 } as Any)],
    ['"num_classes"; did you mean "classes"?', () => models.resnet18({ num_classes: 5 } as Any)],
    [
      'jit has no option "donates"; did you mean "donate"?',
      () => localgrad.jit((x) => x, { donates: [0] } as Any),
    ],
  ];
  for (const [message, call] of cases) {
    await assertRejects(async () => await call(), LocalgradError, message);
  }
});

Deno.test("every data set of the index refuses an option of its loader that does not exist", async () => {
  for (const [name, { load }] of Object.entries(DATASETS)) {
    const wrong = (options: Any) => assertRejects(() => load(options), LocalgradError);
    const { message } = await wrong({ paht: "none" });
    assertEquals(
      message.startsWith(`load of ${name} has no option "paht"; did you mean "path"?`),
      true,
      message,
    );
    assertMatch((await wrong({ limits: { training: 3 } })).message, /: limits has no option "training"/);
  }
});
