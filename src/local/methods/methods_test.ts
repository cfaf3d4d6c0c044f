import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { tinyModel } from "../../../tests/tiny.ts";
import { LocalgradError } from "../../base/errors.ts";
import type { Model } from "../../models/model.ts";
import { resnet110, resnet32 } from "../../models/resnet.ts";
import { sgd } from "../../optim/sgd.ts";
import { treePaths } from "../../trace/tree.ts";
import type { Boundary, Method } from "../method.ts";
import type { Modules } from "../partition/partition.ts";
import { setup } from "../setup.ts";
import { infopro, type InfoProOptions } from "./infopro.ts";
import { weightsAt } from "./infopro_weights.ts";
import { augLocal, dgl, endToEnd, greedy, man, manPlusPlus, predsim } from "./methods.ts";

const make = (model: Model, modules: Modules, method: Method) =>
  setup({ model, modules, method, optimizer: sgd() });

/** The boundaries that a method gets. */
function boundaries(model: Model, modules: Modules, around: (method: Method) => Method = (method) => method) {
  const seen: Boundary[] = [];
  const inner = greedy();
  const auxiliary: Method["auxiliary"] = (boundary) => (seen.push(boundary), inner.auxiliary!(boundary));
  make(model, modules, around({ ...inner, auxiliary }));
  return seen;
}

/** λ1 and λ2 at every boundary. */
const weights = (
  model: Model,
  modules: number,
  options: InfoProOptions,
  around?: (method: Method) => Method,
) =>
  boundaries(model, modules, around).map((boundary) => {
    const { reconstruction, task } = weightsAt(boundary, options);
    return [reconstruction, task];
  });

Deno.test("infopro() takes its published weights, by index", () => {
  const [first, ...rest] = weights(resnet32(), 16, {});
  assertEquals(rest.length, 13);
  assertEquals(first, [5, 0.05]);
  assertAlmostEquals(rest[12][0], 0.2, 1e-12);
  assertAlmostEquals(rest[12][1], 0.5, 1e-12);
  assertAlmostEquals(rest[5][0], 5 + (0.2 - 5) * 6 / 13, 1e-12);
  assertEquals(weights(resnet110(), 2, {}), [[5, 0.5]]);
  assertEquals(weights(resnet110(), 55, {}).at(-1), [0.5, 1]);
  assertEquals(weights(resnet110(), 8, { weights: "svhn" }).at(-1), [0.5, 2]);
  const large = { ...resnet32(), input: { height: 96, width: 96, channels: 3 } };
  assertEquals(weights(large, 4, {}), [[20, 0.2], [12.5, 1.1], [5, 2]]);
  const wide = { ...resnet32(), input: { height: 32, width: 96, channels: 3 } }; // as large as its longer side
  assertEquals(weights(wide, 4, {}), weights(large, 4, {}));
});

Deno.test("infopro() by stage takes MAN's weights: 5 → 0 and 0.5 → 0, by stage over K − 2, a stem at 0", () => {
  const by = { schedule: "stage" } as const;
  const found = weights(resnet32(), 16, by, man);
  const stages = [1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3];
  found.forEach(([reconstruction, task], i) => {
    assertAlmostEquals(reconstruction, 5 * (1 - stages[i] / 14), 1e-12);
    assertAlmostEquals(task, 0.5 * (1 - stages[i] / 14), 1e-12);
  });
  assertEquals(weights(resnet110(), 2, by), [[5, 0.5]]);
  const [stem, ...rest] = weights(resnet32(), 16, by, manPlusPlus);
  assertEquals(stem, [5, 0.5]);
  assertEquals(rest, found);
});

Deno.test("infopro() takes a function as its schedule", () => {
  const half = { weights: { reconstruction: [4, 2], task: [0, 1] }, schedule: () => 0.5 } as const;
  assertEquals(weights(resnet32(), 4, half), [[3, 0.5], [3, 0.5], [3, 0.5]]);
});

Deno.test("infopro() has weights for any number of modules, alone and wrapped", () => {
  for (const around of [undefined, man, manPlusPlus]) {
    for (const model of [resnet32(), resnet110()]) {
      for (const modules of [2, 3, 4, 5, 6, 8, 12, 16]) {
        for (const [reconstruction, task] of weights(model, modules, {}, around)) {
          assert(reconstruction >= 0 && task >= 0 && reconstruction + task > 0);
        }
      }
    }
  }
});

Deno.test("infopro() refuses weights that are negative, or both zero, at any boundary", () => {
  const published = { reconstruction: [5, 0], task: [0.5, 0] } as const;
  const refused: [number, InfoProOptions, string][] = [
    [3, { schedule: "stage" }, "negative"],
    [4, { schedule: "stage" }, 'schedule: "index"'],
    [8, { weights: published, schedule: "index" }, "learn nothing"],
    [8, { weights: { reconstruction: [1, -1], task: [1, 1] } }, "negative"],
    [8, { weights: { reconstruction: [NaN, 1], task: [1, 1] } }, "negative"],
    [8, { schedule: () => 2 }, "its own schedule"],
    [8, { schedule: "epoch" as never }, '"epoch"'],
    [8, { weights: "mnist" as never }, '"mnist"'],
  ];
  for (const [modules, options, message] of refused) {
    assertThrows(() => make(resnet32(), modules, infopro(options)), LocalgradError, message);
  }
  assertThrows(() => infopro({ task: "mse" as never }), LocalgradError, '"mse"');
});

Deno.test("a term of weight 0 has no network", () => {
  const paths = (options: InfoProOptions) =>
    new Set(
      treePaths(make(tinyModel(), 2, infopro(options)).modules[0].params)
        .filter((path) => path.startsWith("local.")).map((path) => path.split(".")[2]),
    );
  assertEquals(paths({ weights: { reconstruction: [1, 1], task: [0, 0] } }), new Set(["decoder"]));
  assertEquals(paths({ weights: { reconstruction: [0, 0], task: [1, 1] } }), new Set(["classifier"]));
  assertEquals(paths({}), new Set(["decoder", "classifier"]));
});

Deno.test("man() keeps a bias and an average of the block that follows, sized for its output", () => {
  const { modules } = make(tinyModel(), 3, man(dgl()));
  const params = treePaths(modules[1].params).filter((path) => path.startsWith("local.1."));
  const state = treePaths(modules[1].state);
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
    const paths = [...treePaths(first.params), ...treePaths(first.state)];
    return new Set(paths.filter((path) => path.startsWith("local.")).map((path) => path.split(".")[2]));
  };
  assertEquals(kinds("emaOnly"), new Set(["classifier", "ema"]));
  assertEquals(kinds("biasOnly"), new Set(["classifier", "bias"]));
});

Deno.test("man() refuses impossible options", () => {
  assertThrows(() => man(dgl(), { momentum: 1 }), LocalgradError, "never move");
  assertThrows(() => man(dgl(), { momentum: -0.1 }), LocalgradError, "momentum");
  assertThrows(() => man(dgl(), { momentum: NaN }), LocalgradError, "momentum");
  assertThrows(() => man(endToEnd()), LocalgradError, "endToEnd");
  assertThrows(() => man(dgl(), { fusion: "both" as never }), LocalgradError, '"both"');
  assertThrows(() => man(dgl(), { start: "zero" as never }), LocalgradError, 'choose "copy" or "random"');
});

Deno.test("manPlusPlus() makes the stem a module with its own scale, but keeps a single module whole", () => {
  const names = (modules: Modules, stem?: boolean) =>
    make(resnet32(), modules, manPlusPlus(dgl(), stem === undefined ? {} : { stem })).modules.map((
      { name },
    ) => name);
  assertEquals(names(16).length, 16);
  assertEquals(names({ after: ["layer1.2"] }), ["stem", "layer1.0–layer1.2", "layer1.3–layer3.4"]);
  assertEquals(names({ after: ["layer1.2"] }, false), ["layer1.0–layer1.2", "layer1.3–layer3.4"]);
  assertEquals(names(1).length, 1);
  const [stem] = make(tinyModel(), 2, manPlusPlus(dgl())).modules;
  const paths = treePaths(stem.params);
  assertEquals(paths.filter((path) => !path.startsWith("local.")), [
    "conv1.weight",
    "bn1.weight",
    "bn1.bias",
  ]);
  for (const path of ["local.0.scale", "local.0.bias.conv1.weight"]) assert(paths.includes(path), path);
  assertThrows(() => manPlusPlus(endToEnd()), LocalgradError, "endToEnd");
  assertThrows(() => manPlusPlus(dgl(), { momentum: 1 }), LocalgradError, "never move");
  assertThrows(() => make(tinyModel(), 3, man(manPlusPlus(dgl()))), LocalgradError, "already");
});

Deno.test("augLocal() imitates fewer and fewer blocks, evenly spaced, the last among them", () => {
  const { modules } = make(resnet32(), 16, augLocal({ depth: 4 }));
  assertEquals(modules.map(({ name }) => name).slice(-2), ["layer2.4", "layer3.0–layer3.4"]);
  const widths = modules.slice(0, -1).map((module, i) => {
    const { blocks } =
      (module.params as never as { local: Record<string, { classifier: Blocks }> }).local[i].classifier;
    return Object.values(blocks).map(({ conv1 }) => conv1.weight.shape);
  });
  // From 4 to 2.5, which Python rounds to 2.
  assertEquals(widths.map(({ length }) => length), [4, 4, 4, 4, 3, 3, 3, 3, 3, 3, 2]);
  for (const shapes of widths) {
    assertEquals(shapes.at(-1)![0], 64);
    shapes.slice(1).forEach(([, , , inputs], i) =>
      assertEquals(inputs, shapes[i][0], "a block adapts to the channels of its input")
    );
  }
  assertEquals(widths[0].map(([out]) => out), [16, 32, 64, 64]);
});

Deno.test("augLocal() chooses the blocks of its published code: positions are rounded in the whole network", () => {
  // After layer2.0 of ResNet-110, K = 55, where rounding positions among the later blocks alone gives other widths.
  const published = { 2: [32, 32, 64], 5: [32, 32, 32, 64, 64], 7: [32, 32, 32, 32, 64, 64, 64] };
  for (const [depth, widths] of Object.entries(published)) {
    const { modules } = make(resnet110(), 55, augLocal({ depth: Number(depth) }));
    const index = modules.findIndex(({ name }) => name === "layer2.0");
    const { blocks } =
      (modules[index].params as never as { local: Record<string, { classifier: Blocks }> }).local[index]
        .classifier;
    const shapes = Object.values(blocks).map(({ conv1 }) => conv1.weight.shape);
    assertEquals([shapes[0][3], ...shapes.map(([out]) => out)], widths, `d = ${depth}`);
  }
});

interface Blocks {
  blocks: Record<string, { conv1: { weight: { shape: number[] } } }>;
}

Deno.test("augLocal() refuses cuts that leave no boundary, and adapts blocks without from()", () => {
  assertThrows(() => make(tinyModel(), 3, augLocal({ depth: 3 })), LocalgradError, "smaller depth");
  assertThrows(() => augLocal({ depth: 0 }), LocalgradError, "depth");
  assertThrows(() => augLocal({ tau: 2 }), LocalgradError, "tau");
  const { modules } = make(tinyModel(), 3, augLocal({ depth: 1 }));
  assertEquals(modules.map(({ name }) => name), ["stem", "layer1.0", "layer1.1–layer2.0"]);
  const paths = treePaths(modules[0].params);
  for (const path of ["blocks.0.conv1.weight", "bn.weight", "fc.weight"]) {
    assert(paths.includes(`local.0.classifier.${path}`), path);
  }
  const jumping = make(
    { ...resnet32(), blocks: resnet32().blocks.map(({ name, layer }) => ({ name, layer })) },
    { after: ["layer1.4"] },
    augLocal({ depth: 2, stem: false }),
  );
  const adapted = treePaths(jumping.modules[0].params).filter((path) => path.includes("adapt"));
  assertEquals(adapted[0], "local.0.classifier.blocks.0.adapt.conv.weight");
});

Deno.test("predsim() pools until the linear layer has few enough inputs, and starts that layer at zero", () => {
  const inputs = (model: Model, inputs?: number) => {
    const [first] = make(model, 2, predsim(inputs === undefined ? {} : { inputs })).modules;
    const { fc } =
      (first.params as never as { local: [{ classifier: { fc: { weight: { shape: number[] } } } }] })
        .local[0].classifier;
    return fc.weight.shape[1];
  };
  assertEquals(inputs(resnet32()), 8 * 8 * 32 * 2);
  assertEquals(inputs(tinyModel(), 64), 4 * 4 * 4);
  assertEquals(inputs(tinyModel(), 100), 4 * 4 * 4);
  assertEquals(inputs(tinyModel(), 1), 4);
  assertThrows(() => predsim({ beta: 1.5 }), LocalgradError, "beta");
  assertThrows(() => predsim({ inputs: 0 }), LocalgradError, "inputs");
});

Deno.test("methods have names and list their options", () => {
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
    average: "frozen",
    moves: "afterBackward",
    statistics: "batch",
    inner: { name: "dgl", head: "mlp" },
  });
});

Deno.test("setup() trains endToEnd as one module for any cut, and refuses boundaries that do not exist", () => {
  assertEquals(make(tinyModel(), 3, endToEnd()).modules.length, 1);
  assertThrows(() => make(tinyModel(), 9, endToEnd()), LocalgradError, "at most 3");
  assertEquals(make(tinyModel(), 3, endToEnd({ checkpoint: 9 })).modules.length, 1);
  for (const checkpoint of [0, 1.5, "all" as never]) {
    assertThrows(() => endToEnd({ checkpoint }), LocalgradError, "segments");
  }
  const headless = { ...tinyModel(), head: {} };
  assertThrows(() => make(headless, 1, endToEnd()), LocalgradError, "logits");
});
