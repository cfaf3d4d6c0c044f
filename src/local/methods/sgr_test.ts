import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { host, integers, noise, run } from "../../../tests/run.ts";
import { tinyModel } from "../../../tests/tiny.ts";
import { grad, vjp } from "../../autograd/grad.ts";
import { key } from "../../base/random.ts";
import { LocalgradError } from "../../base/errors.ts";
import { initialize } from "../../nn/initial.ts";
import type { Named } from "../../nn/named.ts";
import { sgd } from "../../optim/sgd.ts";
import { full } from "../../trace/functions.ts";
import { sizeOf } from "../../trace/dtype.ts";
import type { HostArray } from "../../trace/host_array.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { treeFlatten, treeLeaves, treeMap, treePaths, treeUnflatten } from "../../trace/tree.ts";
import { withLoss } from "../loss.ts";
import type { Batch, Method } from "../method.ts";
import { setup, type TrainState } from "../setup.ts";
import { trainStep } from "../step.ts";
import {
  augLocal,
  dgl,
  endToEnd,
  greedy,
  infopro,
  man,
  manPlusPlus,
  predsim,
  sgr,
  type SgrOptions,
} from "./methods.ts";

const batch = {
  x: noise("x", [4, 8, 8, 3]),
  labels: integers([0, 1, 2, 0]),
  images: host([...noise("x", [4, 8, 8, 3]).data].map((v) => (v + 1) / 2), [4, 8, 8, 3]),
};

Deno.test("sgr() measures distances between the gradients of each image's loss", () => {
  const given = host([1, 0, 0, 0, 2, 0], [2, 3]);
  const own = host([0, 1, 0, 0, 1, 0], [2, 3]);
  const distance = (options: SgrOptions) => {
    const { reconcile } = sgr(greedy(), options);
    return [...run((given: Tensor, own: Tensor) => reconcile!(given, own), given, own)[""].data][0];
  };
  // Differences (1, −1, 0) and (0, 1, 0): squared norms 2 and 1, of gradients of a mean over two images.
  assertAlmostEquals(distance({ weight: 1, distance: "squared" }), 2 * 3, 1e-12);
  assertAlmostEquals(distance({ weight: 1, distance: "relative" }), 3 / 5, 1e-12);
  assertAlmostEquals(distance({ weight: 1, distance: "symmetric" }), 3 / 7, 1e-12);
  assertAlmostEquals(distance({ weight: 1, distance: "cosine" }), 1 / 2, 1e-12); // cosines 0 and 1
  assertAlmostEquals(distance({ weight: 10, distance: "relative" }), 6, 1e-12);
});

Deno.test("a module's loss with sgr() is its own and the distance of the two gradients before it", () => {
  const make = (method = greedy()) => setup({ model: tinyModel(), modules: 3, method, optimizer: sgd() });
  const plain = make(), reconciled = make(sgr(greedy(), { weight: 0.5, distance: "squared" }));
  const start = {
    params: initialize(plain.initial.params, key(0)),
    state: initialize(plain.initial.state, key(0)),
    optimizer: {},
  };
  assertEquals(initialize(reconciled.initial.params, key(0)), start.params); // no parameters of its own
  const scalars = { learningRate: 0 };
  const losses = (made: typeof plain) =>
    run(
      (train: TrainState<Tensor>, batch: Batch) => trainStep(made, train, batch, scalars).losses,
      start,
      batch,
    )[""].data;
  const [own, both] = [losses(plain), losses(reconciled)];
  const terms = [...both].map((loss, i) => loss - own[i]);
  assertEquals(terms[0], 0);
  // The second module's, from gradients of each loss by itself.
  const expected = run(
    (train: TrainState<Tensor>, batch: Batch) => {
      const [first, second] = plain.modules;
      const labelled = withLoss(batch);
      const nothing = { params: {}, state: {} };
      const at = (tree: TrainState<Tensor>["params"], i: string) =>
        (tree as { local?: { [i: string]: Record<string, never> } }).local?.[i] ?? {};
      const h = first.layer.apply(train.params, train.state, batch.x, "train").y;
      const gradient = (f: (h: Tensor) => Tensor) => vjp(f, h)[1](full([], 1))[0];
      const before = gradient((h) =>
        first.auxiliary!.loss(at(train.params, "0"), at(train.state, "0"), h, labelled, nothing).loss
      );
      const after = gradient((h) =>
        second.auxiliary!.loss(
          at(train.params, "1"),
          at(train.state, "1"),
          second.layer.apply(train.params, train.state, h, "train").y,
          labelled,
          nothing,
        ).loss
      );
      return after.sub(before).square().sum().mul(0.5 * 4);
    },
    start,
    batch,
  )[""].data[0];
  assert(expected > 1e-6);
  assertAlmostEquals(terms[1], expected, 1e-10);
  assert(terms[2] > 0);
});

Deno.test("sgr() refuses what it cannot do", () => {
  assertThrows(() => sgr(endToEnd()), LocalgradError, "endToEnd has no local loss");
  assertThrows(() => sgr(sgr(dgl())), LocalgradError, "not be wrapped");
  assertThrows(() => sgr(man(dgl(), { moves: "beforeBackward" })), LocalgradError, "beforeBackward");
  for (const weight of [0, -1, NaN, Infinity]) {
    assertThrows(() => sgr(dgl(), { weight }), LocalgradError, "weight");
  }
  assertThrows(
    () => sgr(dgl(), { distance: "far" as never }),
    LocalgradError,
    "squared, relative, symmetric",
  );
});

Deno.test("with sgr() the gradient of a module's loss equals central differences, around every local loss", () => {
  const weights = { reconstruction: [2, 1], task: [0.5, 1] } as const;
  const inner: Method[] = [
    ...[dgl(), predsim(), augLocal({ depth: 1, stem: false }), manPlusPlus(greedy())],
    ...[infopro({ weights }), infopro({ task: "contrastive", weights })],
  ];
  for (const method of inner) {
    const made = setup({
      model: tinyModel(),
      modules: 3,
      method: sgr(method, { weight: 1, distance: "relative" }),
      optimizer: sgd(),
    });
    const draw = key(1);
    const params = initialize(made.initial.params, draw);
    const rest = { state: initialize(made.initial.state, draw), optimizer: {} };
    // The second module's loss, of which the term is a part, along a direction of all its parameters; once the last one's.
    for (const { index, params: own } of made.modules.slice(1, method === inner[0] ? 3 : 2)) {
      const paths = new Set(treePaths(own));
      const { leaves, paths: names, structure } = treeFlatten<HostArray>(params);
      const directions = leaves.map(({ shape }, i) =>
        paths.has(names[i])
          ? noise(`direction ${i}`, shape)
          : host(new Array(sizeOf(shape)).fill(0), [...shape])
      );
      const values = run(
        (
          params: Named<Tensor>,
          rest: Omit<TrainState<Tensor>, "params">,
          batch: Batch,
          along: Named<Tensor>,
        ) => {
          const loss = (params: Named<Tensor>) =>
            trainStep(made, { ...rest, params }, batch, { learningRate: 0 }).losses.slice([index], [
              index + 1,
            ]).sum();
          const moved = (by: number) =>
            treeMap((p: Tensor, d: Tensor) => p.add(d.mul(by)), params, along) as Named<Tensor>;
          const slopes = treeMap((g: Tensor, d: Tensor) => g.mul(d).sum(), grad(loss)(params), along);
          return {
            slope: treeLeaves<Tensor>(slopes).reduce((a, b) => a.add(b)),
            difference: loss(moved(STEP)).sub(loss(moved(-STEP))).div(2 * STEP),
          };
        },
        params,
        rest,
        batch,
        treeUnflatten(structure, directions) as Named<HostArray>,
      );
      const [slope, difference] = [values["slope"].data[0], values["difference"].data[0]];
      assert(Math.abs(slope) > 1e-3, `${method.name}, module ${index + 1}: ${slope}`);
      assertAlmostEquals(
        slope,
        difference,
        1e-5 * (1 + Math.abs(slope)),
        `${method.name}, module ${index + 1}`,
      );
    }
  }
});

/** Half the step of a central difference. */
const STEP = 1e-6;
