/**
 * Times training steps of ways that `docs/frontier.md` compares, side by side, each as a multiple of the first's:
 *
 *     LOCALGRAD_CPU=onednn LOCALGRAD_THREADS=1 deno run -P=eval --lock=deno.lock bench/frontier.ts \
 *         [--rounds 9] [--steps 8] [--device cpu] [--json] resnet32-endToEnd resnet32-balanced2-infopro@45 …
 *
 * The ways are rows of `reproduce --table frontier`; `@45` recomputes within 45 % of the planned peak of the network's
 * plain end-to-end step. Each round runs `--steps` steps of every way in turn. A way's multiple is the median over rounds of its
 * time divided by the first way's in the same round, which other work on the machine changes least; its fastest round
 * is given beside it.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { data, devices, local } from "../mod.ts";
import { formatBytes, formatPercent } from "../src/artifacts/format.ts";
import { at } from "../src/base/at.ts";
import { LocalgradError } from "../src/base/errors.ts";
import { setupOf, trainerOf } from "../src/cli/build.ts";
import { frontier } from "../src/cli/reproduce/frontier_table.ts";
import { settingsFrom } from "../src/cli/settings.ts";
import { markdownTable, note } from "../src/cli/terminal.ts";

const { rounds, steps, device: wanted, json, _: asked } = parseArgs(Deno.args, {
  string: ["rounds", "steps", "device", "_"],
  boolean: ["json"],
  default: { rounds: "9", steps: "8", device: "cpu" },
});

/** A way to train: a row of the table, within a share of plain end to end's peak or without a limit. */
function wayOf(name: string) {
  const [wantedRow, share] = name.split("@");
  const row = frontier.rows.find(({ name }) => name === wantedRow);
  if (row === undefined) {
    throw new LocalgradError(`no row ${wantedRow}; deno task reproduce --table frontier --list prints them`);
  }
  const { model, modules, method, options } = row;
  const { dataset, recipe } = frontier;
  const settings = settingsFrom({ dataset, model, batch: String(recipe?.batch), lr: String(recipe?.lr) });
  const own = options === undefined ? {} : { methodOptions: options };
  return { name, share, settings: { ...settings, modules, method, ...own } };
}

const ways = asked.map((name: string | number) => wayOf(String(name)));
const [first] = ways;
if (first === undefined) throw new LocalgradError("give at least one way: resnet32-endToEnd@45");
const { batch, model } = first.settings;
await using device = await devices.open(wanted as "cpu");
const { train: { images, labels } } = data.shapes({ train: batch, test: 1 });
const x = Float32Array.from(images, (byte) => byte / 255);
using input = device.array(x, [batch, 32, 32, 3]);
const step = { x: input, images: input, labels: Int32Array.from(labels) };
const endToEnd = setupOf({ ...first.settings, modules: 1, method: "endToEnd" });
const { peakBytes: plain } = local.memory({ ...endToEnd, batch, target: device.backend.target }).method;

using trainers = new DisposableStack();
const runs: { readonly name: string; readonly trainer: local.Trainer; readonly seconds: number[] }[] = [];
for (const { name, share, settings } of ways) {
  if (settings.model !== model) throw new LocalgradError(`${name} is of another network than ${first.name}`);
  const limit = share === undefined ? {} : { memoryLimit: Math.floor(Number(share) / 100 * plain) };
  const trainer = trainers.use(await trainerOf(settings, device, limit));
  await trainer.step(step, { learningRate: 0.01 }); // compiles
  runs.push({ name, trainer, seconds: [] });
}
for (let round = 0; round < Number(rounds); round++) {
  note(`round ${round + 1} of ${rounds}`);
  for (const { trainer, seconds } of runs) {
    const start = performance.now();
    for (let i = 0; i < Number(steps); i++) await trainer.step(step, { learningRate: 0.01 });
    seconds.push((performance.now() - start) / 1000 / Number(steps));
  }
}
const median = (values: readonly number[]) => at(values.toSorted((a, b) => a - b), values.length >> 1);
const base = at(runs, 0).seconds;
const results = runs.map(({ name, trainer, seconds }) => {
  const { peakBytes } = trainer.plan();
  return {
    way: name,
    ...{ peakBytes, ofEndToEnd: peakBytes / plain },
    secondsPerStep: median(seconds),
    multiple: median(seconds.map((value, i) => value / at(base, i))),
    fastestMultiple: Math.min(...seconds) / Math.min(...base),
  };
});
if (json) {
  console.log(
    JSON.stringify({ device: device.arithmetic, rounds, steps, model, batch, results }, undefined, 2),
  );
} else {
  console.log(`${model}, batch ${batch}, ${device.arithmetic}, ${rounds} rounds of ${steps} steps\n`);
  console.log(markdownTable(
    ["way", "planned peak", "of end to end", "ms a step", "multiple", "of the fastest"],
    results.map(({ way, peakBytes, ofEndToEnd, secondsPerStep, multiple, fastestMultiple }) => [
      way,
      formatBytes(peakBytes),
      formatPercent(ofEndToEnd, 1),
      (1000 * secondsPerStep).toFixed(1),
      `× ${multiple.toFixed(3)}`,
      `× ${fastestMultiple.toFixed(3)}`,
    ]),
  ));
}
