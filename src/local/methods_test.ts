import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { tinyModel } from "../../tests/tiny.ts";
import { LocalgradError } from "../errors.ts";
import type { Model } from "../models/model.ts";
import { resnet110, resnet32 } from "../models/resnet.ts";
import { treePaths } from "../trace/tree.ts";
import { sgd } from "../optim/sgd.ts";
import { dgl } from "./dgl.ts";
import { greedy } from "./greedy.ts";
import { infopro, type InfoProOptions, weightsAt } from "./infopro.ts";
import { man } from "./man.ts";
import { endToEnd, type Method } from "./method.ts";
import type { Modules } from "./partition.ts";
import { setup } from "./step.ts";

const make = (model: Model, modules: Modules, method: Method) =>
  setup({ model, modules, method, optimizer: sgd() });

/** λ1 and λ2 at every boundary. */
function weights(model: Model, modules: number, options: InfoProOptions, within?: "man") {
  const cut = make(model, modules, dgl()).partition;
  const boundaries = cut.modules.slice(1);
  return boundaries.map((module, index) => {
    const common = {
      index,
      count: boundaries.length,
      requested: cut.requested,
      model,
      next: module.blocks[0],
    };
    const at = weightsAt(
      { ...common, features: [8, 8, 16], ...(within === undefined ? {} : { within }) },
      options,
    );
    return [at.reconstruction, at.task];
  });
}

Deno.test("infopro() takes its published weights, by index", () => {
  const [first, ...rest] = weights(resnet32(), 16, {});
  assertEquals(rest.length, 13);
  assertEquals(first, [5, 0.05]);
  assertAlmostEquals(rest[12][0], 0.2, 1e-12);
  assertAlmostEquals(rest[12][1], 0.5, 1e-12);
  assertAlmostEquals(rest[5][0], 5 + (0.2 - 5) * 6 / 13, 1e-12);
  assertEquals(weights(resnet110(), 2, {}), [[5, 0.5]]);
  assertEquals(weights(resnet110(), 55, {}).at(-1), [0.5, 1]);
});

Deno.test("man(infopro()) takes 5 → 0 and 0.5 → 0 by stage over K − 2", () => {
  const found = weights(resnet32(), 16, {}, "man");
  const stages = [1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3];
  found.forEach(([reconstruction, task], i) => {
    assertAlmostEquals(reconstruction, 5 * (1 - stages[i] / 14), 1e-12);
    assertAlmostEquals(task, 0.5 * (1 - stages[i] / 14), 1e-12);
  });
  assertEquals(weights(resnet110(), 2, {}, "man"), [[5, 0.5]]);
});

Deno.test("infopro() refuses weights that are negative or nothing anywhere", () => {
  const published = { reconstruction: [5, 0], task: [0.5, 0] } as const;
  const refused: [number, InfoProOptions, "man" | undefined, string][] = [
    [3, {}, "man", "negative"],
    [4, {}, "man", "learn nothing"],
    [8, { weights: published, schedule: "index" }, "man", "learn nothing"],
    [8, { weights: { reconstruction: [1, -1], task: [1, 1] } }, undefined, "negative"],
    [8, { weights: { reconstruction: [NaN, 1], task: [1, 1] } }, undefined, "negative"],
    [8, { schedule: "epoch" as never }, undefined, '"epoch"'],
  ];
  for (const [modules, options, within, message] of refused) {
    const method = within === "man" ? man(infopro(options)) : infopro(options);
    assertThrows(() => make(resnet32(), modules, method), LocalgradError, message);
  }
  assertThrows(() => infopro({ task: "mse" as never }), LocalgradError, '"mse"');
});

Deno.test("a term of weight 0 has no network", () => {
  const paths = (options: InfoProOptions) =>
    new Set(
      treePaths(make(tinyModel(), 2, infopro(options)).modules[0].params as never)
        .filter((path) => path.startsWith("local.")).map((path) => path.split(".")[2]),
    );
  assertEquals(paths({ weights: { reconstruction: [1, 1], task: [0, 0] } }), new Set(["decoder"]));
  assertEquals(paths({ weights: { reconstruction: [0, 0], task: [1, 1] } }), new Set(["classifier"]));
  assertEquals(paths({}), new Set(["decoder", "classifier"]));
});

Deno.test("man() keeps a bias and an average of the block that follows, sized for its output", () => {
  const { modules } = make(tinyModel(), 3, man(dgl()));
  const params = treePaths(modules[1].params as never).filter((path) => path.startsWith("local.1."));
  const state = treePaths(modules[1].state as never);
  for (const path of ["conv1.weight", "downsample.1.bias", "bn2.weight"]) {
    assert(params.includes(`local.1.bias.${path}`), path);
    assert(state.includes(`local.1.ema.${path}`), path);
  }
  assert(!state.some((path) => path.startsWith("local.1.ema.") && path.includes("running")));
  const head = modules[1].params as unknown as {
    local: { 1: { classifier: { fc: { weight: { shape: number[] } } } } };
  };
  assertEquals(head.local[1].classifier.fc.weight.shape, [3, 4 * 8]);
});

Deno.test("man() with one branch keeps only that", () => {
  const kinds = (fusion: "emaOnly" | "biasOnly") => {
    const [first] = make(tinyModel(), 2, man(dgl(), { fusion })).modules;
    const paths = [...treePaths(first.params as never), ...treePaths(first.state as never)];
    return new Set(paths.filter((path) => path.startsWith("local.")).map((path) => path.split(".")[2]));
  };
  assertEquals(kinds("emaOnly"), new Set(["classifier", "ema"]));
  assertEquals(kinds("biasOnly"), new Set(["classifier", "bias"]));
});

Deno.test("man() refuses what makes no sense", () => {
  assertThrows(() => man(dgl(), { momentum: 1 }), LocalgradError, "never move");
  assertThrows(() => man(dgl(), { momentum: -0.1 }), LocalgradError, "momentum");
  assertThrows(() => man(dgl(), { momentum: NaN }), LocalgradError, "momentum");
  assertThrows(() => man(endToEnd()), LocalgradError, "endToEnd");
  assertThrows(() => man(dgl(), { fusion: "both" as never }), LocalgradError, '"both"');
  assertThrows(() => man(dgl(), { start: "zero" as never }), LocalgradError, '"zero"');
});

Deno.test("methods name themselves and say what they were made with", () => {
  assertEquals([endToEnd(), greedy(), dgl(), infopro(), man(dgl())].map(({ name }) => name), [
    "endToEnd",
    "greedy",
    "dgl",
    "infopro",
    "man+dgl",
  ]);
  assertEquals(man(dgl({ head: "mlp" }), { momentum: 0.9 }).options, {
    momentum: 0.9,
    fusion: "sum",
    start: "copy",
    inner: { name: "dgl", head: "mlp" },
  });
});

Deno.test("setup() trains endToEnd as one module whatever is asked for, and refuses boundaries that do not exist", () => {
  assertEquals(make(tinyModel(), 3, endToEnd()).modules.length, 1);
  assertThrows(() => make(tinyModel(), 9, endToEnd()), LocalgradError, "at most 3");
  const headless = { ...tinyModel(), head: {} };
  assertThrows(() => make(headless, 1, endToEnd()), LocalgradError, "logits");
});
