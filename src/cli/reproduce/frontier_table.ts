/**
 * The table `frontier`: which method is worth its bytes, with the same budget for all.
 *
 * @module
 */

import type { Cut } from "../cut.ts";
import type { GivenOptions } from "../flags/method.ts";
import type { MethodName, ModelName } from "../settings.ts";
import type { Row, Table } from "./table_rows.ts";

/** A cut, as names of rows have it. */
type NamedCut = readonly [name: string, cut: Cut];

/** One method in a row's name: `augLocal-depth3`. */
type Entry = readonly [method: MethodName, options?: GivenOptions];

/** The methods that are compared with every cut. */
const METHODS: readonly Entry[] = [
  ["greedy"],
  ["dgl"],
  ["infopro"],
  ["man+dgl"],
  ["man+greedy"],
  ["man+greedy", { ahead: 2 }],
  ["man+greedy", { ahead: 3 }],
  ["man+greedy", { ahead: 4 }],
  ["augLocal", { depth: 1 }],
  ["augLocal", { depth: 2 }],
  ["augLocal", { depth: 3 }],
  ["augLocal", { depth: 4 }],
  ["manPlusPlus+dgl"],
  ["sgr+dgl"],
  ["sgr+man+dgl"],
  ["hpff+dgl"],
  ["hpff+greedy"],
  ["mlaan"],
];

/**
 * What AugLocal has that looking ahead lacks: averaged or trained copies of the next three blocks, the last four blocks
 * trained together or not, and AugLocal without that.
 */
const CROSSED: readonly Entry[] = [
  ["man+greedy", { ahead: 3, joint: 4 }],
  ["man+greedy", { ahead: 3, fusion: "biasOnly" }],
  ["man+greedy", { ahead: 3, fusion: "biasOnly", joint: 4 }],
  ["man+greedy", { ahead: 3, fusion: "emaOnly" }],
  ["man+greedy", { joint: 4 }],
  ["augLocal", { depth: 3, joint: 1 }],
];

/** SGR's weight is not in print, so distances and weights are searched. */
const SGR: readonly Entry[] = ([
  ["squared", [0.01, 0.1, 1, 10]],
  ["relative", [0.001, 0.01, 0.1]],
  ["symmetric", [0.001, 0.1, 1]], // 0.01 is the default
  ["cosine", [0.01, 0.1, 1]],
] as const).flatMap(([distance, weights]) =>
  weights.map((weight): Entry => ["sgr+dgl", { distance, weight }])
);

const balanced = (modules: number): NamedCut => [`balanced${modules}`, { balanced: modules }];

function rowOf(model: ModelName, [name, modules]: NamedCut, [method, options]: Entry): Row {
  const chosen = Object.entries(options ?? {}).map(([option, value]) =>
    typeof value === "number" ? `-${option}${value}` : `-${value}`
  );
  return {
    name: `${model}-${name}-${method}${chosen.join("")}`,
    ...{ model, modules, method, published: [], seeds: 1 },
    ...(options === undefined ? {} : { options }),
  };
}

/** End to end, with and without checkpointing, whatever the cut. */
function endToEnd(model: ModelName): Row[] {
  return (["endToEnd", "endToEnd+checkpoint"] as const).map((method) => ({
    name: `${model}-${method}`,
    ...{ model, modules: 1, method, published: [], seeds: 1 },
  }));
}

const rows = (model: ModelName, cut: NamedCut, entries: readonly Entry[]) =>
  entries.map((entry) => rowOf(model, cut, entry));

/** One boundary, after so many blocks: does the first module or the second need depth to learn? */
const after: readonly NamedCut[] = Object.entries({
  after2: "layer1.1",
  after3: "layer1.2",
  after5: "layer1.4",
  after7: "layer2.1",
  after10: "layer2.4",
}).map(([name, block]) => [name, [block]]);

/** What such boundaries are compared with: the cheapest methods, and those of the papers. */
const AFTER: readonly Entry[] = [["greedy"], ["dgl"], ["dgl", { head: "cnn" }], ["infopro"], ["man+dgl"], [
  "man+greedy",
]];

/** The cut that balances `man+dgl` and `infopro`: that of `dgl` alone is another one. */
const EARLY: NamedCut = ["after1+2+3", ["layer1.0", "layer1.1", "layer1.2"]];

const EACH_20: NamedCut = ["k9", 9], EACH_32: NamedCut = ["k16", 16];

/** Equal budgets for all methods, in the order in which two cores should run them. */
export const frontier: Table = {
  title: "What each byte buys: CIFAR-10, 10,000 training images, 10 epochs",
  dataset: "cifar10",
  recipe: { epochs: 10, batch: 32, lr: 0.05, trainLimit: 10_000 },
  kept: "docs/frontier",
  rows: [
    ...endToEnd("resnet20"),
    ...rows("resnet20", EACH_20, [...METHODS, ...CROSSED, ...SGR]),
    ...rows("resnet20", balanced(4), METHODS),
    ...rows("resnet20", EARLY, [["dgl"]]),
    ...rows("resnet20", balanced(2), METHODS),
    ...rows("resnet20", balanced(3), METHODS),
    ...endToEnd("resnet32"),
    ...after.flatMap((cut) => rows("resnet32", cut, AFTER)),
    ...[EACH_32, balanced(4), balanced(2), balanced(3)].flatMap((cut) => rows("resnet32", cut, METHODS)),
  ],
};
