/**
 * What a step should take on a card that is not here, beside what it took on one:
 *
 *     predict.ts [--from DIR]
 *
 * prints the tables of docs/cuda.md: launches and bytes of the steps that `bench/gpu.sh` times, counted from their plans,
 * and the times that follow for an H200; what overlap changes; then the stages. `DIR` has results of `bench/gpu.sh`, which fill the columns for
 * the card.
 */
import { parseArgs } from "@std/cli/parse-args";
import { scheduleLaunches } from "../../src/backends/cuda/branches.ts";
import { lowerPlan } from "../../src/backends/cuda/lower.ts";
import { precisionsOf, targetOf } from "../../src/backends/cuda/target.ts";
import { formatBytes } from "../../src/artifacts/format.ts";
import { readIfThere } from "../../src/base/files.ts";
import { markdownTable } from "../../src/cli/terminal.ts";
import { stepPlan } from "../../src/local/memory.ts";
import { local } from "../../mod.ts";
import { type Item, itemsOf } from "./items.ts";
import { rooflineOf } from "./roofline.ts";
import { type Measurement, type Row, rowName, stepName } from "./row.ts";
import { moreRows, speedRows } from "./rows.ts";
import { setupOf } from "./setup.ts";
import { STAGES } from "./stages.ts";

/** An H200: bytes a second of its memory, as NVIDIA publishes, and its memory. */
const CARD = { bytesPerSecond: 4.8e12, memory: 150121545728, architecture: 90 };
/** Guesses: the part of the memory's bandwidth that kernels reach, and milliseconds that a launch in a graph costs. */
const REACHED = 0.6, LAUNCH = 0.004;
/** Guesses, in seconds: a program of ours starts, loads and warms up; so does one of PyTorch's, and one that compiles. */
const STARTS = { ours: 5, PyTorch: 12, compiled: 120 };

const { from } = parseArgs(Deno.args, { string: ["from"] });
const digits = (value: number) => value.toPrecision(3);

/** The results of a stage, if there are any. */
async function measuredItems(
  stage: string,
): Promise<readonly (Item & { lines: Measurement[]; seconds: number })[]> {
  const bytes = from === undefined ? undefined : await readIfThere(`${from}/${stage}.json`);
  return bytes === undefined ? [] : JSON.parse(new TextDecoder().decode(bytes)).items;
}

const results = new Map<string, Measurement>();
for (const stage of ["speed", "more"]) {
  for (const { row, lines: [line] } of await measuredItems(stage)) {
    if (row !== undefined && line !== undefined) results.set(rowName(row), line);
  }
}
const median = ({ milliseconds }: Measurement) =>
  milliseconds.toSorted((a, b) => a - b)[Math.floor(milliseconds.length / 2)]!;

/** The plan of a step, and its launches. */
function planned(row: Row, options: { readonly overlap?: boolean } = {}) {
  console.error(`planning ${stepName(row)}`); // the tables come when all is planned, which takes a minute
  const target = targetOf(precisionsOf(CARD.architecture), CARD.memory, options);
  const plan = stepPlan(local.setup(setupOf(row)), row.batch, target);
  return { plan, launches: lowerPlan(plan) };
}

/** A line of the table of steps. */
function lineOf(row: Row, others: readonly Row[]): string[] {
  const { plan, launches } = planned(row);
  const convolutions = launches.filter(({ kind }) => kind === "conv").length;
  const products = launches.filter(({ kind }) => kind === "matmul").length;
  const { bytesPerSecond } = CARD;
  const { bytes } = rooflineOf(plan, { bytesPerSecond, operationsPerSecond: Infinity, products: Infinity });
  const floor = 1000 * bytes / bytesPerSecond;
  const ours = results.get(rowName(row));
  const best = others.flatMap((other) => results.get(rowName(other)) ?? []).map(median).sort((a, b) => a - b)
    .at(0);
  return [
    stepName(row),
    String(launches.length),
    `${convolutions} + ${products}`,
    digits(bytes / 1e9),
    digits(floor),
    digits(floor / REACHED + LAUNCH * launches.length),
    formatBytes(plan.memory.peakBytes),
    ...(ours === undefined ? ["", ""] : [digits(median(ours)), formatBytes(ours.memory.peakBytes ?? 0)]),
    best === undefined ? "" : digits(best),
    ours === undefined || best === undefined ? "" : digits(best / median(ours)),
  ];
}

const rows = [...speedRows(), ...moreRows()];
const steps = [...Map.groupBy(rows, stepName).values()].flatMap((group) => {
  const ours = group.find(({ system }) => system === "localgrad");
  return ours === undefined ? [] : [lineOf(ours, group.filter(({ system }) => system !== ours.system))];
});
console.log(markdownTable(
  [
    ...[
      "step",
      "launches",
      "convolutions + products",
      "GB",
      "floor by bytes, ms",
      "predicted ms",
      "planned peak",
    ],
    ...["measured ms", "held", "PyTorch's best, ms", "ratio"],
  ],
  steps,
));

/** A line of the table of steps with overlap. */
function overlapLine(row: Row): string[] {
  const { plan, launches } = planned(row, { overlap: true });
  const { streams, waits } = scheduleLaunches(plan, launches);
  /** The launches of the longest chain that ends with each launch, and so far with each stream's last. */
  const chains: number[] = [], last = [0, 0];
  streams.forEach((stream, i) => {
    const wait = waits[i];
    chains[i] = last[stream] = 1 + Math.max(last[stream]!, wait === undefined ? 0 : chains[wait]!);
  });
  const { peakBytes, peakInOrder = peakBytes } = plan.memory;
  return [
    stepName(row),
    `${launches.length} → ${Math.max(...last)}`,
    `${formatBytes(peakInOrder)} → ${formatBytes(peakBytes)}`,
  ];
}

const short = rows.filter(({ network, method, system, mode }) =>
  network === "resnet32" && method === "man+dgl" && system === "localgrad" && mode === "graph"
);
console.log(`\n${
  markdownTable(
    ["step", "launches, and in the chain", "planned peak, in order and with overlap"],
    short.map(overlapLine),
  )
}`);

/** The seconds that an item should take. */
function secondsOf({ row, script, seconds }: Item): number {
  if (script === "epochs.ts") return 0; // what is left
  if (row === undefined) return Math.min(STARTS.ours + (script === "long.ts" ? 30 : 0), seconds ?? Infinity);
  const { mode, system } = row;
  return row.seconds +
    (system === "localgrad" ? 2 * STARTS.ours : mode === "max-autotune" ? STARTS.compiled : STARTS.PyTorch);
}

const stages: string[][] = [];
for (const { name, seconds } of STAGES) {
  const items = itemsOf(name, { dry: false, losses: "" });
  const predicted = items.reduce((sum, item) => sum + secondsOf(item), 0);
  const taken = (await measuredItems(name)).reduce((sum, { seconds }) => sum + seconds, 0);
  stages.push([
    ...[`\`${name}\``, String(items.length), String(seconds), String(Math.round(predicted))],
    taken === 0 ? "" : String(Math.round(taken)),
  ]);
}
console.log(`\n${markdownTable(["stage", "programs", "budget, s", "predicted s", "measured s"], stages)}`);
