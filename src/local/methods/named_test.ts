import { assert, assertEquals, assertThrows } from "@std/assert";
import { tinyDataset, tinyModel } from "../../../tests/tiny.ts";
import { LocalgradError } from "../../base/errors.ts";
import { sequential, stateless } from "../../nn/layer.ts";
import { linear } from "../../nn/linear.ts";
import { constant } from "../../optim/schedules.ts";
import { sgd } from "../../optim/sgd.ts";
import { open, target } from "../../runtime/devices.ts";
import { trainer } from "../../training/trainer.ts";
import { memory } from "../memory.ts";
import { classified, type Method } from "../method.ts";
import * as index from "./methods.ts";
import { methodNamed, methodNames, methodsByName } from "./named.ts";

Deno.test("methods have the paper's names", () => {
  const paper =
    "endToEnd greedy dgl predsim infopro augLocal man+dgl man+predsim man+infopro manPlusPlus+dgl " +
    "manPlusPlus+infopro endToEnd+checkpoint";
  for (const name of paper.split(" ")) assert((methodNames as readonly string[]).includes(name), name);
  for (const name of methodNames) assertEquals(methodNamed(name).name, name);
});

Deno.test("methodNamed() passes options to the methods that have them, and refuses other options and unknown names", () => {
  assertEquals(methodNamed("manPlusPlus+dgl", { momentum: 0.9, head: "mlp" }).options, {
    momentum: 0.9,
    start: "copy",
    average: "frozen",
    moves: "afterBackward",
    statistics: "batch",
    inner: { name: "dgl", head: "mlp" },
  });
  assertEquals(methodNamed("man+infopro", { schedule: "stage" }).options["inner"], {
    name: "infopro",
    task: "crossEntropy",
    schedule: "stage",
  });
  assertEquals(methodNamed("infopro", { task: "contrastive" }).options["anchors"], "all");
  assertThrows(() => methodNamed("infopro", { anchors: "paired" }), LocalgradError, "contrastive task term");
  assertEquals(methodNamed("sgr+man+dgl", { weight: 2, momentum: 0.9 }).options, {
    weight: 2,
    distance: "symmetric",
    inner: { name: "man+dgl", ...methodNamed("man+dgl", { momentum: 0.9 }).options },
  });
  assertEquals(methodNamed("contSup+dgl", { context: "R1" }).options["context"], "R1");
  assertThrows(() => methodNamed("dgl", { momentum: 0.9 }), LocalgradError, '"momentum"; it has head');
  assertThrows(() => methodNamed("man+dgl", { task: "contrastive" }), LocalgradError, '"task"');
  assertThrows(() => methodNamed("manPlusPlus+dgl", { fusion: "sum" }), LocalgradError, '"fusion"');
  assertThrows(() => methodNamed("mann" as never), LocalgradError, "man+dgl");
});

Deno.test("the memory of every method is planned", async () => {
  const plan = {
    model: tinyModel(),
    modules: 3,
    optimizer: sgd({ momentum: 0.9 }),
    batch: 32,
    target: await target("cpu"),
  };
  for (const name of methodNames.filter((name) => name.split("+").length < 3 || name === "sgr+man+dgl")) {
    const { method, endToEnd } = memory({ ...plan, method: methodNamed(name) });
    for (const { peakBytes, breakdown } of [method, endToEnd]) {
      assertEquals(Object.values(breakdown).reduce((a, b) => a + b), peakBytes, name);
    }
    const auxiliary = (method.breakdown.auxiliary ?? 0) > 0;
    assertEquals(auxiliary, !name.startsWith("endToEnd"), name);
  }
});

/** The contents of a new file. */
function brightest(): Method {
  return {
    name: "brightest",
    options: {},
    auxiliary: ({ features: [, , channels], model }) =>
      classified(sequential({
        max: stateless((x) => x.max([1, 2])),
        fc: linear({ in: channels, out: model.classes }),
      })),
  };
}

Deno.test("a line in the index adds a method, alone and wrapped in others, and it trains", async () => {
  const known = methodsByName({ ...index, brightest });
  const added = [...known.keys()].filter((name) => !(methodNames as readonly string[]).includes(name));
  assertEquals(added, [
    ...["brightest", "man+brightest", "manPlusPlus+brightest"],
    ...["contSup+brightest", "contSup+man+brightest", "contSup+manPlusPlus+brightest"],
    ...["sgr+brightest", "sgr+man+brightest", "sgr+manPlusPlus+brightest"],
    ...["hpff+brightest", "hpff+man+brightest", "hpff+manPlusPlus+brightest"],
  ]);
  await using device = await open("cpu");
  for (const name of [...added.slice(0, 4), "sgr+brightest", "hpff+brightest"]) {
    using t = await trainer({
      device,
      model: tinyModel(),
      modules: 3,
      method: known.get(name)!(),
      optimizer: sgd({ momentum: 0.9 }),
      schedule: constant(0.05),
      batch: 16,
    });
    const losses: (readonly number[])[] = [];
    await t.fit(tinyDataset(64, 8), {
      epochs: 4,
      observers: [{ step: (record) => void losses.push(record.losses) }],
    });
    losses[0].forEach((first, module) => assert(losses.at(-1)![module] < first, `${name}, module ${module}`));
  }
});
