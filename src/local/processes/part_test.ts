import { assert, assertAlmostEquals, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { Mail, type Process, runTogether } from "../../../tests/run_together.ts";
import { host, integers, noise, run, type Values } from "../../../tests/run.ts";
import { tinyModel, tinyVit } from "../../../tests/tiny.ts";
import { at } from "../../base/at.ts";
import { key } from "../../base/random.ts";
import { LocalgradError } from "../../base/errors.ts";
import { dropout } from "../../nn/dropout.ts";
import { type Initial, initialize } from "../../nn/initial.ts";
import { sequential } from "../../nn/layer.ts";
import type { Named } from "../../nn/named.ts";
import { effectsOf } from "../../compile/collectives.ts";
import { publishedSgd } from "../../optim/published.ts";
import { sgd } from "../../optim/sgd.ts";
import { clipped } from "../../optim/transforms.ts";
import * as devices from "../../runtime/devices.ts";
import { jit } from "../../runtime/jit.ts";
import { sizeOf } from "../../trace/dtype.ts";
import { HostArray } from "../../trace/host_array.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { treeFlatten, treeLeaves, treeUnflatten } from "../../trace/tree.ts";
import {
  type Exchange,
  exchangesBefore,
  receiveLastBlock,
  sendFirstBlock,
  type Tracked,
  trackedIn,
} from "./exchange.ts";
import { type Layout, placeOfRank, rankAt } from "./layout.ts";
import type { Batch, Method } from "../method.ts";
import {
  augLocal,
  contSup,
  dgl,
  greedy,
  hpff,
  infopro,
  man,
  manPlusPlus,
  predsim,
  sgr,
} from "../methods/methods.ts";
import { partOf } from "./part.ts";
import { randomScalars } from "../randomness.ts";
import type { ModuleRun } from "./runs.ts";
import { type BatchNormStatistics, type Setup, setup, type SetupOptions, type TrainState } from "../setup.ts";
import { type Share, shareOf, weightOf } from "./shares.ts";
import { trainStep } from "../step.ts";

const make = (method: Method, options: Partial<SetupOptions> = {}) =>
  setup({ model: tinyModel(), modules: 3, method, optimizer: sgd(publishedSgd), ...options });

const draw = ({ initial }: Setup): TrainState<HostArray> => ({
  params: initialize(initial.params, key(0)),
  state: initialize(initial.state, key(0)),
  optimizer: initialize(initial.optimizer, key(0)),
});

type HostBatch = { x: HostArray; labels: HostArray; images: HostArray };

const batch = (size: number, step: number, from = 0, to = size): HostBatch => {
  const rows = (array: HostArray) => {
    const each = array.data.length / size;
    return host([...array.data.slice(from * each, to * each)], [to - from, ...array.shape.slice(1)]);
  };
  return {
    x: rows(noise(`x${step}`, [size, 8, 8, 3])),
    labels: integers(Array.from({ length: to - from }, (_, i) => (from + i + step) % 3)),
    images: rows(host([...noise(`x${step}`, [size, 8, 8, 3]).data].map((v) => (v + 1) / 2), [size, 8, 8, 3])),
  };
};

/** The state after a step, as arrays, and what the step measured. */
function after(values: Record<string, Values>, train: TrainState<HostArray>) {
  const { leaves, paths, structure } = treeFlatten<HostArray>({ train } as unknown as Named<HostArray>);
  const next = treeUnflatten(
    structure,
    // Float64 in place of f32: states are compared to the last bit.
    leaves.map((leaf, i) =>
      Object.assign(Object.create(HostArray.prototype), { ...leaf, data: values[paths[i]].data })
    ),
  ) as unknown as { train: TrainState<HostArray> };
  return { ...next, losses: [...values["losses"].data], correct: values["score"].data[0] };
}

const f = (setup: Setup, size: number) => {
  const { part } = setup;
  return (train: TrainState<Tensor>, batch: Batch, scalars: { learningRate: Tensor }) =>
    trainStep(setup, train, batch, scalars, part && shareOf(size, part.layout.data, part.place.data));
};

/** Trains a few steps in one process. */
function alone(setup: Setup, sizes: readonly number[]) {
  let train = draw(setup);
  return sizes.map((size, step) => {
    const stepped = after(run(f(setup, size), train, batch(size, step), { learningRate: 0.05 }), train);
    train = stepped.train;
    return stepped;
  });
}

/** Trains the same steps in the processes of a layout. */
function together(whole: Setup, layout: Layout, runs: readonly ModuleRun[], sizes: readonly number[]) {
  const count = layout.data * layout.modules;
  const setups = Array.from(
    { length: count },
    (_, rank) => partOf(whole, { layout, place: placeOfRank(layout, rank), runs }),
  );
  const groupsOf = (rank: number): Process["groups"] => {
    const { data, modules } = placeOfRank(layout, rank);
    return {
      data: { members: Array.from({ length: layout.data }, (_, i) => rankAt(layout, { data: i, modules })) },
      modules: {
        members: Array.from({ length: layout.modules }, (_, i) => rankAt(layout, { data, modules: i })),
      },
    };
  };
  const mail = new Mail();
  const each = (f: (setup: Setup) => Process["f"], args: (rank: number) => readonly unknown[]) =>
    runTogether(
      setups.map((setup, rank) => ({ f: f(setup), args: args(rank), groups: groupsOf(rank) })),
      mail,
    );
  let trains = setups.map(draw);
  each((setup) => (train: TrainState<Tensor>) => {
    if (setup.part !== undefined) sendFirstBlock(setup.part, train);
    return train;
  }, (rank) => [trains[rank]]);
  const steps = sizes.map((size, step) => {
    const values = each((setup) => f(setup, size), (rank) => {
      const { from, to } = shareOf(size, layout.data, placeOfRank(layout, rank).data);
      return [trains[rank], batch(size, step, from, to), { learningRate: 0.05 }];
    });
    const stepped = values.map((each, rank) => after(each, trains[rank]));
    trains = stepped.map(({ train }) => train);
    return stepped;
  });
  each((setup) => (train: TrainState<Tensor>) => {
    if (setup.part !== undefined) receiveLastBlock(setup.part);
    return train;
  }, (rank) => [trains[rank]]);
  assertEquals(mail.waiting, 0, "every message was received");
  return steps;
}

const flat = (train: TrainState<HostArray>) => {
  const { leaves, paths } = treeFlatten<HostArray>(train);
  return new Map(leaves.map((leaf, i) => [paths[i], [...leaf.data]]));
};

const weighted = infopro({ weights: { reconstruction: [2, 1], task: [0.5, 1] } });
const methods: [Method, string?][] = [
  [greedy()],
  [dgl()],
  [predsim()],
  [augLocal()],
  [weighted],
  [man(dgl())],
  [man(weighted)],
  [man(greedy(), { moves: "beforeBackward", statistics: "copy" }), "man moving between the passes"],
  [man(dgl(), { moves: "afterStep", statistics: "average" }), "man moving after the step"],
  [man(greedy(), { average: "trained", statistics: "average" }), "man with trained averages"],
  [manPlusPlus(dgl())],
  [sgr(man(dgl()))],
  [contSup(dgl())],
];

for (const [method, name = method.name] of methods) {
  Deno.test(`a pipeline of ${name} has the bits of one process`, () => {
    const whole = make(method);
    const sizes = [4, 4, 3];
    const expected = alone(whole, sizes);
    const last = whole.modules.length;
    const divisions: ModuleRun[][] = [
      [{ first: 0, end: 1 }, { first: 1, end: last }],
      whole.modules.map(({ index }) => ({ first: index, end: index + 1 })),
    ];
    for (const runs of divisions) {
      const steps = together(whole, { data: 1, modules: runs.length }, runs, sizes);
      steps.forEach((ranks, step) => {
        const { train, losses, correct } = expected[step];
        const values = new Map(ranks.flatMap(({ train }) => [...flat(train)]));
        assertEquals(ranks.flatMap(({ losses }) => losses), losses);
        assertEquals(ranks.at(-1)!.correct, correct);
        assertEquals(values.size, flat(train).size);
        for (const [path, data] of flat(train)) assertEquals(values.get(path), data, `step ${step}: ${path}`);
      });
    }
  });
}

Deno.test("processes exchange only what the method reads of the next block", () => {
  const layout = { data: 1, modules: 2 };
  const runs = [{ first: 0, end: 1 }, { first: 1, end: 3 }];
  const read = (method: Method) => {
    const { part } = partOf(make(method), { layout, place: { data: 0, modules: 1 }, runs });
    const count = (tree: unknown) => treeLeaves(tree as Named<HostArray>).length;
    const { before, after } = part!.sends!;
    return [before.params, before.state, after.params, after.state].map(count);
  };
  assertEquals(read(dgl()), [0, 0, 0, 0]);
  assertEquals(read(man(dgl())), [6, 0, 0, 0]); // two convolutions and batch norms
  assertEquals(read(man(dgl(), { statistics: "copy" })), [6, 4, 0, 0]);
  assertEquals(read(man(dgl(), { moves: "afterStep", statistics: "average" })), [0, 0, 6, 4]);
  assertEquals(read(man(dgl(), { fusion: "biasOnly" })), [0, 0, 0, 0]);
  const { part } = partOf(make(man(dgl())), { layout, place: { data: 0, modules: 0 }, runs });
  assert(exchangesBefore(part!.reads) && !exchangesBefore(part!.sends));
});

Deno.test("a step with a stale exchange reads the block it is given, and exchanges features alone", () => {
  for (const method of [man(dgl()), man(dgl(), { moves: "afterStep", statistics: "average" })]) {
    const [layout, runs] = [{ data: 1, modules: 2 }, [{ first: 0, end: 1 }, { first: 1, end: 3 }]];
    const effects = (exchange: Exchange, modules: number) => {
      const part = partOf(make(method), { layout, place: { data: 0, modules }, runs, exchange });
      const step = jit((train: TrainState<Tensor>, batch: Batch, learningRate: Tensor, tracked: Tracked) =>
        trainStep(part, train, batch, { learningRate }, undefined, tracked)
      );
      const rate = { shape: [], dtype: "f32" } as const;
      const program = step.program(part.initial, batch(4, 0), rate, trackedIn(part.part));
      const { inputs, values } = program;
      const tracked = inputs.filter(({ name }) => name.startsWith("3."));
      const bytes = tracked.reduce((sum, { value }) => sum + sizeOf(values[value].shape), 0);
      return { ops: effectsOf(program).map(({ op }) => op), bytes };
    };
    assertEquals(effects("exact", 0).ops, ["send", "receive"]);
    assertEquals(effects("exact", 1).ops, ["receive", "send"]);
    const first = effects("stale", 0);
    assertEquals(first.ops, ["send"]);
    const { reads } = partOf(make(method), { layout, place: { data: 0, modules: 0 }, runs }).part!;
    const elements = treeLeaves<Initial>([reads!.before, reads!.after].flatMap((v) => [v.params, v.state]))
      .reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    assertEquals(first.bytes, elements);
    assertEquals(effects({ every: 3 }, 1), { ops: ["receive"], bytes: 0 });
  }
});

Deno.test("features are sent before the backward pass of the module that made them", () => {
  const runs = [{ first: 0, end: 2 }, { first: 2, end: 3 }];
  const first = partOf(make(dgl(), { accumulate: 2 }), {
    layout: { data: 1, modules: 2 },
    place: { data: 0, modules: 0 },
    runs,
  });
  const order: string[] = [];
  run(
    (train: TrainState<Tensor>, batch: Batch) => {
      const { losses, train: { params } } = trainStep(first, train, batch, { learningRate: 0.05 });
      for (const { op, scope } of losses.trace.builder.instructions ?? []) {
        const phase = scope.split("/").slice(0, 2).join("/");
        if (op === "send") order.push("send");
        else if (phase.startsWith("module 2") && order.at(-1) !== phase) order.push(phase);
      }
      return { losses, params };
    },
    draw(first),
    batch(4, 0),
  );
  const passes = ["module 2/forward", "send", "module 2/backward"];
  assertEquals(order.filter((phase) => phase !== "module 2").slice(0, 6), [...passes, ...passes]);
});

const further: [Method, string?][] = [
  [man(greedy(), { ahead: 2 }), "man looking two blocks ahead"],
  [hpff(greedy())],
];

for (const [method, name = method.name] of [methods[1], methods[5], methods[10], ...further]) {
  Deno.test(`shares of a batch train ${name} as its micro-batches do, with the same bits on every process`, () => {
    const whole = make(method, { optimizer: clipped(sgd(publishedSgd), { norm: 1 }) });
    const layout = { data: 2, modules: 1 };
    const sizes = [4, 5, 3];
    const expected = alone({ ...whole, accumulate: 2 }, sizes);
    const steps = together(whole, layout, [{ first: 0, end: whole.modules.length }], sizes);
    steps.forEach((ranks, step) => {
      const [a, b] = ranks.map(({ train }) => flat(train));
      assertEquals(a, b, "the same bits on both");
      ranks.forEach(({ losses, correct }) => {
        losses.forEach((loss, i) => assertAlmostEquals(loss, expected[step].losses[i], 1e-12));
        assertAlmostEquals(correct, expected[step].correct, 1e-9);
      });
      for (const [path, data] of flat(expected[step].train)) {
        if (path.includes("running_")) continue; // micro-batches move them in turn, shares at once
        data.forEach((value, i) => assertAlmostEquals(a.get(path)![i], value, 1e-9, `step ${step}: ${path}`));
      }
    });
  });
}

const cascades: [Method, string] = [hpff(dgl({ patches: 2 })), "hpff+dgl on patches"];

for (const [method, name = method.name] of [methods[1], methods[7], methods[10], cascades]) {
  Deno.test(`synchronised batch norms: shares of a batch train ${name} as one process trains the batch`, () => {
    const whole = make(method);
    const sizes = [6, 7, 3]; // the last is not divided
    const runs = [{ first: 0, end: whole.modules.length }];
    const synchronised: Setup = { ...whole, batchNorm: "synchronised" };
    const expected = alone(whole, sizes);
    const steps = together(synchronised, { data: 2, modules: 1 }, runs, sizes);
    steps.forEach((ranks, step) => {
      const [a, b] = ranks.map(({ train }) => flat(train));
      assertEquals(a, b, "the same bits on both");
      ranks[0].losses.forEach((loss, i) => assertAlmostEquals(loss, expected[step].losses[i], 1e-9));
      for (const [path, data] of flat(expected[step].train)) {
        data.forEach((value, i) => assertAlmostEquals(a.get(path)![i], value, 1e-7, `step ${step}: ${path}`));
      }
    });
  });
}

Deno.test("synchronised batch norms: unequal shares have as many micro-batches, and pipelines share batches too", () => {
  const whole = make(man(dgl()), { accumulate: 2, batchNorm: "synchronised" });
  const runs = [{ first: 0, end: 1 }, { first: 1, end: 3 }];
  for (const [layout, size] of [[{ data: 2, modules: 1 }, 7], [{ data: 2, modules: 2 }, 9]] as const) {
    const divided = layout.modules === 1 ? [{ first: 0, end: 3 }] : runs;
    const [ranks] = together(whole, layout, divided, [size]); // 3 and 4 images: one could have two micro-batches
    for (let i = 0; i < layout.modules; i++) {
      assertEquals(flat(ranks[i].train), flat(ranks[layout.modules + i].train));
    }
  }
});

Deno.test("synchronised batch norms: a plan has two exchanges for each in a step, and knows their bytes", async () => {
  const exchanged = async (batchNorm: BatchNormStatistics) => {
    const part = partOf(make(dgl(), { batchNorm }), {
      layout: { data: 2, modules: 1 },
      place: { data: 0, modules: 0 },
      runs: [{ first: 0, end: 3 }],
    });
    const step = jit((train: TrainState<Tensor>, batch: Batch, learningRate: Tensor) =>
      trainStep(part, train, batch, { learningRate }, shareOf(8, 2, 0))
    );
    using target = await devices.target("cpu", { groups: { data: 2 }, threads: 1 });
    const { initial } = part;
    const values = { params: initial.params, state: initial.state, optimizer: initial.optimizer };
    const plan = step.plan(target, values, batch(4, 0), { shape: [], dtype: "f32" });
    return plan.memory.traffic?.["data"] ?? { operations: 0, bytes: 0 };
  };
  const [share, synchronised] = [await exchanged("share"), await exchanged("synchronised")];
  const channels = treeLeaves<Initial>(make(dgl()).initial.state).map(({ shape }) => sizeOf(shape));
  const norms = channels.length / 2; // a running mean and a running variance each
  assertEquals(synchronised.operations - share.operations, 2 * norms);
  const sum = channels.reduce((a, b) => a + b) / 2;
  assertEquals(synchronised.bytes - share.bytes, 4 * (2 * (2 * sum + norms) + 2 * sum));
});

Deno.test("with dropout, processes that share a batch drop values of their own, and keep the same bits", () => {
  const { blocks, ...rest } = tinyVit();
  const model = {
    ...rest,
    blocks: blocks.map((block) => ({ ...block, layer: sequential({ block: block.layer, drop: dropout() }) })),
  };
  const whole = setup({ model, modules: 3, method: greedy(), optimizer: sgd() });
  const [runs, rate] = [[{ first: 0, end: 3 }], 0.05];
  const layout = { data: 2, modules: 1 };
  const scalars = { learningRate: rate, ...randomScalars(whole, key(7)) };
  type Given = { learningRate: Tensor };
  for (const size of [5, 3]) { // the second is not divided: both have all of it
    const shares = [0, 1].map((data) => shareOf(size, 2, data));
    const parts = [0, 1].map((data) => partOf(whole, { layout, place: { data, modules: 0 }, runs }));
    const step = (setup: Setup, share?: Share) => (train: TrainState<Tensor>, batch: Batch, scalars: Given) =>
      trainStep(setup, train, batch, scalars, share);
    const batchOf = ({ from, to }: Share) => batch(size, 0, from, to);
    const mail = new Mail();
    const [a, b] = runTogether(
      parts.map((part, i) => ({
        f: step(part, at(shares, i)),
        args: [draw(part), batchOf(at(shares, i)), scalars],
        groups: { data: { members: [0, 1] }, modules: { members: [i] } },
      })),
      mail,
    ).map((values) => after(values, draw(whole)));
    assertEquals(flat(a!.train), flat(b!.train));
    // Each alone, without exchanges.
    const own = parts.map((part, i) =>
      after(run(step(part), draw(part), batchOf(at(shares, i)), scalars), draw(part))
    );
    const weights = shares.map(weightOf);
    const mean = (values: readonly number[]) => values.reduce((sum, v, i) => sum + v * at(weights, i), 0);
    a!.losses.forEach((loss, i) =>
      assertAlmostEquals(loss, mean(own.map(({ losses }) => losses[i]!)), 1e-12)
    );
    const each = own.map(({ train }) => flat(train));
    for (const [path, data] of flat(a!.train)) {
      data.forEach((v, i) =>
        assertAlmostEquals(v, mean(each.map((values) => values.get(path)![i]!)), 1e-12, path)
      );
    }
    const [first, second] = parts.map((part) =>
      run(step(part), draw(part), batch(size, 0), scalars)["losses"]
    );
    assertNotEquals(first!.data, second!.data, "the same images");
    const other = { learningRate: rate, ...randomScalars(whole, key(8)) };
    const again = run(step(at(parts, 0)), draw(whole), batch(size, 0), other)["losses"];
    assertNotEquals(first!.data, again!.data, "another key");
  }
});

Deno.test("running statistics move by the mean over the shares", () => {
  const whole = make(greedy());
  const [[a]] = together(whole, { data: 2, modules: 1 }, [{ first: 0, end: 3 }], [5]);
  const halves = [[0, 2], [2, 5]].map(([from, to]) =>
    flat(
      after(run(f(whole, 5), draw(whole), batch(5, 0, from, to), { learningRate: 0.05 }), draw(whole)).train,
    )
  );
  const path = "state.bn1.running_mean";
  flat(a.train).get(path)!.forEach((value, i) =>
    assertAlmostEquals(value, 0.4 * halves[0].get(path)![i] + 0.6 * halves[1].get(path)![i], 1e-12)
  );
});

Deno.test("two pipelines of two processes train as one with two micro-batches", () => {
  const whole = make(man(dgl()));
  const runs = [{ first: 0, end: 1 }, { first: 1, end: 3 }];
  const sizes = [6, 4];
  const expected = alone({ ...whole, accumulate: 2 }, sizes);
  const steps = together(whole, { data: 2, modules: 2 }, runs, sizes);
  steps.forEach((ranks, step) => {
    const [a, b] = [[0, 1], [2, 3]].map((pipeline) =>
      new Map(pipeline.flatMap((rank) => [...flat(ranks[rank].train)]))
    );
    assertEquals(a, b);
    for (const [path, data] of flat(expected[step].train)) {
      if (path.includes("running_")) continue;
      data.forEach((value, i) => assertAlmostEquals(a.get(path)![i], value, 1e-9, path));
    }
  });
});

Deno.test("gradients are summed while the next module works, whose update follows", () => {
  const one = partOf(make(dgl()), {
    layout: { data: 2, modules: 1 },
    place: { data: 0, modules: 0 },
    runs: [{ first: 0, end: 3 }],
  });
  const order: string[] = [];
  run(
    (train: TrainState<Tensor>, batch: Batch) => {
      const stepped = trainStep(one, train, batch, { learningRate: 0.05 }, shareOf(8, 2, 0));
      for (const { op, scope } of stepped.losses.trace.builder.instructions ?? []) {
        const [module, phase] = scope.split("/");
        const what = op === "allReduce" ? `${module} sum` : `${module} ${phase}`;
        if (/sum|update|backward/.test(what) && order.at(-1) !== what) order.push(what);
      }
      return { losses: batch.x.sum() };
    },
    draw(one),
    batch(4, 0),
  );
  assertEquals(order, [
    ...["module 1 backward", "module 1 sum", "module 2 backward", "module 2 sum", "module 1 update"],
    ...["module 3 backward", "module 3 sum", "module 2 update", "module 3 update", "exchange sum"],
  ]);
});

Deno.test("partOf() returns the setup of a process by itself, and refuses runs of another layout", () => {
  const whole = make(dgl());
  const place = { data: 0, modules: 0 };
  assert(partOf(whole, { layout: { data: 1, modules: 1 }, place, runs: [{ first: 0, end: 3 }] }) === whole);
  const layout = { data: 1, modules: 2 };
  assertThrows(
    () => partOf(whole, { layout, place, runs: [{ first: 0, end: 3 }] }),
    LocalgradError,
    "1 runs of modules for 2 processes",
  );
});

Deno.test("partOf() refuses a method that reads further than the first block of the next process", () => {
  const layout = { data: 1, modules: 2 }, place = { data: 0, modules: 0 };
  const parts = (method: Method, end: number) =>
    partOf(make(method), { layout, place, runs: [{ first: 0, end }, { first: end, end: 3 }] });
  assertThrows(
    () => parts(man(dgl(), { ahead: 2 }), 1),
    LocalgradError,
    "man+dgl reads 2 blocks after module layer1.0, but its process trains only 0 of them",
  );
  assertThrows(() => parts(man(dgl(), { ahead: 2 }), 2), LocalgradError, "trains only 1 of them");
  assert(parts(man(dgl()), 2).part !== undefined);
});
