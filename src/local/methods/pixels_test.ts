import { assert, assertAlmostEquals, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { run } from "../../../tests/run.ts";
import { stepProgram } from "../../../tests/step_program.ts";
import { tinySegmenter } from "../../../tests/tiny.ts";
import { start } from "../../../tests/tiny_step.ts";
import { LocalgradError } from "../../base/errors.ts";
import { deeplabv3_resnet101 } from "../../models/deeplab.ts";
import { shapeAfter } from "../../nn/layer.ts";
import { sgd } from "../../optim/sgd.ts";
import { HostArray } from "../../trace/host_array.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { treePaths } from "../../trace/tree.ts";
import { classifierFor, dglHeadFor } from "../heads/pixel_heads.ts";
import type { Batch, Method } from "../method.ts";
import { setup, type TrainState } from "../setup.ts";
import { trainStep } from "../step.ts";
import { augLocal, contSup, dgl, greedy, hpff, infopro, man, manPlusPlus, mlaan, sgr } from "./methods.ts";
import { methodNamed, methodNames } from "./named.ts";

const model = tinySegmenter();

Deno.test("every method cuts a segmentation, but for those that compare the classes of images", () => {
  for (const name of methodNames) {
    const program = () => stepProgram(model, 3, methodNamed(name), 4);
    if (!name.includes("predsim")) assert(program().outputs.length > 0, name);
    else {assertThrows(
        program,
        LocalgradError,
        "tinySegmenter labels pixels; choose dgl(), greedy() or infopro()",
      );}
  }
});

/** Images that show their labels: each class a brightness of its own. */
function batch(count: number): Batch<HostArray> {
  const labels = Int32Array.from({ length: count * 256 }, (_, i) => (i >> 3) % 5 === 4 ? 255 : (i >> 3) % 5);
  const pixels = Float32Array.from({ length: 3 * labels.length }, (_, i) => labels[Math.floor(i / 3)]! / 255);
  const x = new HostArray(pixels, [count, 16, 16, 3]);
  return { x, labels: new HostArray(labels, [count, 16, 16]), images: x };
}

Deno.test("steps of all kinds of heads train a segmentation", () => {
  const methods: Method[] = [
    greedy(),
    dgl(),
    dgl({ head: "cnn" }),
    dgl({ head: "mlp-sr-large" }),
    infopro(),
    infopro({ classifier: "1c2f", patches: 2 }),
    man(dgl()),
    manPlusPlus(infopro()),
    sgr(contSup(dgl(), { context: "R1E" })),
    hpff(dgl()),
    mlaan(),
    augLocal({ depth: 1 }),
  ];
  for (const method of methods) {
    const made = setup({ model, modules: 3, method, optimizer: sgd() });
    const f = (train: TrainState<Tensor>, batch: Batch) => {
      const { train: after, losses, score } = trainStep(made, train, batch, { learningRate: 0.01 });
      return { losses, score, next: trainStep(made, after, batch, { learningRate: 0.01 }).losses };
    };
    const got = run(f, start(made), batch(4) as never);
    const [before, after] = [[...got["losses"]!.data], [...got["next"]!.data]];
    const what = `${method.name}: ${before} ${after}`;
    assert(before.every((loss) => loss > 0 && loss < 20), what);
    assert(after[0]! < before[0]!, what); // the later ones get other features too
    assert(got["score"]!.data[0]! >= 0 && got["score"]!.data[0]! <= 4);
  }
});

Deno.test("a segmentation has about the same losses in bf16", () => {
  const [wide, narrow] = (["f32", "bf16"] as const).map((precision) => {
    const made = setup({ model, modules: 3, method: man(infopro()), optimizer: sgd(), precision });
    const f = (train: TrainState<Tensor>, batch: Batch) => {
      const { train: after } = trainStep(made, train, batch, { learningRate: 0.01 });
      return trainStep(made, after, batch, { learningRate: 0.01 }).losses;
    };
    return [...run(f, start(made), batch(2) as never)[""]!.data];
  });
  assertNotEquals(narrow, wide);
  narrow!.forEach((loss, i) => assertAlmostEquals(loss, wide![i]!, 0.02 * wide![i]!));
});

Deno.test("heads for pixels give logits of the labels' size", () => {
  const large = deeplabv3_resnet101({ classes: 19, size: [512, 1024] });
  const shape = [64, 128, 1024];
  for (const name of ["fcn", "0c1f", "1c2f", "2c3f"] as const) {
    assertEquals(shapeAfter(classifierFor(large, name, shape), shape), [512, 1024, 19]);
  }
  for (const head of ["mlp", "mlp-sr", "mlp-sr-large", "cnn"] as const) {
    assertEquals(shapeAfter(dglHeadFor(large, head, shape), shape), [512, 1024, 19]);
  }
  assertEquals(shapeAfter(dglHeadFor(large, "mlp", [2048, 8]), [2048, 8]), [512, 1024, 19]); // tokens
  assertThrows(() => classifierFor(large, "imagenet", shape), LocalgradError, "not for pixels");
  assertThrows(() => dglHeadFor(large, "conv" as never, shape), LocalgradError, '"conv"');
});

Deno.test("InfoPro's published cut of DeepLabV3 has its cut, weights and heads", () => {
  const { modules } = setup({
    model: deeplabv3_resnet101({ classes: 19, size: [512, 1024] }),
    modules: { published: "infopro*", modules: 2 },
    method: infopro(),
    optimizer: sgd(),
  });
  assertEquals(modules.map(({ name }) => name), [
    "backbone.layer1.0–backbone.layer3.12",
    "backbone.layer3.13–backbone.layer4.2",
  ]);
  const { decoder, classifier } = modules[0]!.auxiliary!.params as never;
  assertEquals(treePaths(decoder).filter((path) => /conv(\d+)?\.weight$/.test(path)).length, 4);
  assertEquals(treePaths(classifier), [
    "conv.conv.weight",
    "conv.bn.weight",
    "conv.bn.bias",
    "fc.weight",
    "fc.bias",
  ]);
});

Deno.test("what needs one class for each image is refused", () => {
  const make = (method: Method) => setup({ model, modules: 2, method, optimizer: sgd() });
  assertThrows(
    () => make(dgl({ patches: 2 })),
    LocalgradError,
    "dgl: patches, whose logits are averaged, needs one",
  );
  assertThrows(
    () => make(infopro({ task: "contrastive" })),
    LocalgradError,
    "the contrastive task term needs one class",
  );
});
