/**
 * `deno task torture [--kills 200] [--signals 100] [--seed 0]`: prints how many runs were ended, and at which point.
 */

import { type Flags, parseFlags, wholeNumber } from "../../src/cli/flags/flags.ts";
import { inFolder } from "../in_folder.ts";
import { script } from "../script.ts";
import { torture } from "./torture.ts";

const flags = {
  kills: { value: "N", help: "processes to kill; default 200" },
  signals: { value: "N", help: "processes to stop by SIGINT, SIGTERM or SIGHUP; default 100" },
  seed: { value: "N", help: "seed of the random moments; default 0" },
} as const satisfies Flags;

await script("torture", "kills and stops training runs at random moments", flags, (args) => {
  const given = parseFlags("torture", flags, args);
  const number = (name: keyof typeof given, standard: string) =>
    wholeNumber(name, given[name] ?? standard, 0);
  return inFolder(async (dir) => {
    const { kills, signals } = await torture(dir, {
      kills: number("kills", "200"),
      signals: number("signals", "100"),
      seed: number("seed", "0"),
      onEnded: (count, of) => count % 10 === 0 && console.error(`${count} of ${of}`),
    });
    console.log(
      `${kills.kills} processes killed in ${kills.runs} runs: ${kills.beforeCheckpoint} before the first checkpoint, ` +
        `${kills.beforeFirstStep} before the first step was recorded, ${kills.whileSaving} while a file was written`,
    );
    console.log(
      `${signals.signals} signals in ${signals.runs} runs: ${signals.saved} stopped and saved ` +
        `(${signals.beforeFirstStep} before the first step), ${signals.beforeListening} before training began, ` +
        `${signals.tooLate} after training had finished`,
    );
    console.log("every run ended with the same bytes as an undisturbed one");
  });
});
