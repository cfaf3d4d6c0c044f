/**
 * `deno task torture:mpi [--kills 20] [--more 6] [--seed 0] [--out FILE]`: kills runs in one process and in several, and
 * prints a line for each kill.
 */

import { type Flags, parseFlags, wholeNumber } from "../../src/cli/flags/flags.ts";
import { inFolder } from "../in_folder.ts";
import { skipped } from "../mpi/start.ts";
import { script } from "../script.ts";
import { ALL, FLAGS, type Kill, killSeries, type Result } from "./processes.ts";

const flags = {
  kills: { value: "N", help: "kills of pipelines, resumed in 1, 2 and 4 processes in turn; default 20" },
  more: {
    value: "N",
    help: "kills where pipelines share batches, and in all layouts in turn, each; default 6",
  },
  seed: { value: "N", help: "seed of the random moments; default 0" },
  out: { value: "FILE", help: "also writes the kills as JSON" },
} as const satisfies Flags;

await script("torture:mpi", "kills training runs in several processes at random moments", flags, (args) => {
  const given = parseFlags("torture:mpi", flags, args);
  const number = (name: "kills" | "more" | "seed", standard: string) =>
    wholeNumber(name, given[name] ?? standard, 0);
  if (skipped) return Promise.resolve(2); // it was said why
  return inFolder(async (dir) => {
    const results: Result[] = [];
    for (const [i, series] of ALL.entries()) {
      const kills = i === 0 ? number("kills", "20") : number("more", "6");
      let count = 0;
      const onKill = (kill: Kill) => console.log(`${++count} of ${kills}, ${series.name}: ${lineOf(kill)}`);
      const result = await killSeries(dir, series, { kills, seed: number("seed", "0") + i, onKill });
      results.push(result);
      const same = result.sha256 === undefined
        ? "every step and epoch once"
        : "the bytes of a run never killed";
      console.log(
        `${series.name}: ${result.runs} runs, ${result.kills.length} kills; all ended with ${same}`,
      );
    }
    if (given.out !== undefined) {
      const about = {
        time: new Date().toISOString(),
        deno: Deno.version.deno,
        cores: navigator.hardwareConcurrency,
      };
      const made = { ...about, seed: number("seed", "0"), train: FLAGS.join(" "), results };
      await Deno.writeTextFile(given.out, `${JSON.stringify(made, null, 1)}\n`);
    }
  });
});

function lineOf(
  { layout, processes, mpi, when, victims, checkpoint, steps, evaluating, saving, seconds }: Kill,
): string {
  const where = processes === 1 ? "1 process" : `${processes} processes (${layout}, ${mpi})`;
  const doing = [...saving ? ["saving"] : [], ...evaluating ? ["evaluating"] : []].join(" and ") ||
    "otherwise at work";
  const last = checkpoint === undefined ? "no checkpoint yet" : `checkpoint of step ${checkpoint}`;
  return `${where}, ${
    processes === 1 ? "it" : victims
  } killed (${when}), ${doing}; ${last}, ${steps} steps recorded; ` +
    `all ended in ${seconds.toFixed(2)} s`;
}
