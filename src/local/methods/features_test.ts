import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { run } from "../../../tests/run.ts";
import { stepProgram } from "../../../tests/step_program.ts";
import { tinyImageMlp, tinyVit } from "../../../tests/tiny.ts";
import { batch, start } from "../../../tests/tiny_step.ts";
import { LocalgradError } from "../../base/errors.ts";
import type { Model } from "../../models/model.ts";
import { vitTiny } from "../../models/vit.ts";
import { sgd } from "../../optim/sgd.ts";
import type { Tensor } from "../../trace/tensor.ts";
import type { Batch, Method } from "../method.ts";
import { partition } from "../partition/partition.ts";
import { setup, type TrainState } from "../setup.ts";
import { trainStep } from "../step.ts";
import { contSup, dgl, infopro, man, manPlusPlus, predsim, sgr } from "./methods.ts";
import { methodNamed, methodNames } from "./named.ts";

const infoproOf = infopro({ weights: { reconstruction: [2, 1], task: [0.5, 1] } });

for (const model of [tinyVit(), tinyImageMlp()]) {
  Deno.test(`every method cuts ${model.name}`, () => {
    for (const name of methodNames) {
      const { outputs } = stepProgram(model, 3, methodNamed(name), 4);
      assert(outputs.length > 0, name);
    }
  });

  Deno.test(`steps of all kinds of heads train ${model.name}`, () => {
    for (const method of [dgl(), predsim(), infoproOf, man(dgl()), sgr(contSup(dgl(), { context: "R1E" }))]) {
      const losses = lossesOf(model, method);
      assertEquals(losses.length, 3, method.name);
      for (const loss of losses) assert(loss > 0 && loss < 20, `${method.name}: ${losses}`);
    }
  });
}

function lossesOf(model: Model, method: Method): number[] {
  const made = setup({ model, modules: 3, method, optimizer: sgd() });
  const f = (train: TrainState<Tensor>, batch: Batch) =>
    trainStep(made, train, batch, { learningRate: 0.05 }).losses;
  return [...run(f, start(made), batch(6))[""]!.data];
}

Deno.test("local losses take the tokens that the network says: the first, or their mean", () => {
  const model = tinyVit();
  const { summary: _, ...mean } = model;
  assertNotEquals(lossesOf(model, dgl())[0], lossesOf(mean, dgl())[0]);
  assertThrows(
    () => partition({ ...model, summary: "last" as never }, 2),
    LocalgradError,
    'summary is "mean", "first" or "each", not "last"',
  );
});

Deno.test("MAN++'s cut of vision transformers is a published split", () => {
  const { modules } = partition(vitTiny({ size: 32 }), { published: "man++", modules: 4 });
  assertEquals(modules.map(({ blocks }) => blocks.length), [3, 3, 3, 3]);
  const made = setup({
    model: vitTiny({ size: 32, classes: 10 }),
    modules: { published: "man++", modules: 4 },
    method: manPlusPlus(dgl(), { stem: false }),
    optimizer: sgd(),
  });
  assertEquals(made.modules.length, 4);
});

Deno.test("heads of images and patches refuse tokens", () => {
  const make = (method: Method) => setup({ model: tinyVit(), modules: 2, method, optimizer: sgd() });
  assertThrows(() => make(dgl({ head: "cnn" })), LocalgradError, "for images, not for vectors or tokens");
  assertThrows(() => make(dgl({ patches: 2 })), LocalgradError, "parts of images, not of tokens");
  assertThrows(() => make(infopro({ classifier: "1c2f" })), LocalgradError, "not for vectors or tokens");
});
