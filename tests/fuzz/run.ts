/**
 * Fuzzes every reader with 100,000 damaged inputs each:
 *
 *     deno task fuzz [--only NAME,…] [--inputs N] [--seed N] [--from N]
 *
 * An input must be read or refused by a LocalgradError, within its target's limits of time and memory. The seed is
 * printed; with it and an input's index (`--from INDEX --inputs 1`) that input is made again. Exits with 1 if any input
 * had another result.
 */

import { Worker } from "node:worker_threads";
import { type Flags, oneOf, parseFlags, wholeNumber } from "../../src/cli/flags/flags.ts";
import { textTable } from "../../src/cli/terminal.ts";
import { script } from "../script.ts";
import { type Counts, targetNames } from "./harness.ts";
import type { Order } from "./worker.ts";

const flags = {
  only: { value: "NAME,…", help: "these readers" },
  inputs: { value: "N", help: "inputs for each reader; default 100,000" },
  seed: { value: "N", help: "seed of the inputs; default random" },
  from: { value: "N", help: "index of the first; default 0" },
} as const satisfies Flags;

const HANGS_MS = 60_000;

const drawn = String(crypto.getRandomValues(new Uint32Array(1))[0]);

async function main(args: readonly string[]): Promise<number> {
  const { only, inputs = "100000", seed = drawn, from = "0" } = parseFlags("fuzz", flags, args);
  const all = targetNames();
  const names = only === undefined ? all : only.split(",").map((name) => oneOf("only", name, all));
  const selection = {
    seed: wholeNumber("seed", seed, 0),
    from: wholeNumber("from", from, 0),
    inputs: wholeNumber("inputs", inputs, 1),
  };
  console.log(`seed ${seed}\n`);
  const rows: string[][] = [];
  const faults: string[] = [];
  for (const name of names) {
    const counts = await inThread({ name, ...selection, at: new Int32Array(new SharedArrayBuffer(4)) });
    console.error(`${name}: ${counts.inputs} inputs in ${counts.seconds.toFixed(1)} s, ${counts.raw} faults`);
    rows.push(row(name, counts));
    for (const { index, why } of counts.faults) {
      faults.push(
        `${name}: ${why}\n  deno task fuzz --only ${name} --seed ${seed} --from ${index} --inputs 1`,
      );
    }
  }
  console.log(
    textTable(["reader", "inputs", "accepted", "refused", "faults", "slowest", "memory", "time"], rows),
  );
  for (const fault of faults) console.log(`\n${fault}`);
  return faults.length === 0 ? 0 : 1;
}

function row(name: string, { inputs, accepted, refused, raw, slowest, growth, seconds }: Counts): string[] {
  return [
    name,
    ...[inputs, accepted, refused, raw].map((count) => count.toLocaleString("en")),
    `${slowest.toFixed(0)} ms`,
    `+${Math.round(growth / 2 ** 20)} MiB`,
    `${seconds.toFixed(1)} s`,
  ];
}

/** Fuzzes a target in a thread, which is terminated if an input does not end. */
async function inThread(order: Order): Promise<Counts> {
  const thread = new Worker(new URL("worker.ts", import.meta.url));
  const result = Promise.withResolvers<Counts>();
  thread.on("message", result.resolve);
  thread.on("error", result.reject);
  let [last, since] = [-1, performance.now()];
  const watch = setInterval(() => {
    const index = Atomics.load(order.at, 0);
    if (index !== last) [last, since] = [index, performance.now()];
    else if (performance.now() - since > HANGS_MS) result.resolve(hung(order, index));
  }, 1000);
  thread.postMessage(order);
  try {
    return await result.promise;
  } finally {
    clearInterval(watch);
    await thread.terminate();
  }
}

function hung({ from }: Order, index: number): Counts {
  const why = `input ${index} does not end`;
  const nothing = { accepted: 0, refused: 0, growth: 0, seconds: HANGS_MS / 1000 };
  return { ...nothing, inputs: index - from + 1, raw: 1, faults: [{ index, why }], slowest: HANGS_MS };
}

await script("fuzz", "feeds damaged inputs to every reader", flags, main);
