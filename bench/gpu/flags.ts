/** The command line of bench/gpu.sh, which runs this first, so that a mistyped flag is refused before anything is measured. */
import { parseArgs } from "@std/cli/parse-args";
import { type StageName, STAGES } from "./stages.ts";

const names = STAGES.map(({ name }) => name);
const usage = `usage: bench/gpu.sh [--budget SECONDS] [--from ${
  names.join("|")
}] [--only TEXT] [--into DIR] [--dry-run]`;

/** The parsed command line. */
export interface GpuFlags {
  /** Seconds for all stages. */
  readonly budget: number;
  /** The first stage. */
  readonly from: StageName;
  /** Goes through every line on the simulated device, with tiny shapes. */
  readonly dry: boolean;
  /** The folder of results. */
  readonly into?: string;
  /** Part of the names of what is wanted. */
  readonly only?: string;
}

/** Less than the ten minutes that one command may often run on a lent machine. */
const BUDGET = 570;

/** Parses the command line; ends the process if it is wrong. */
export function gpuFlags(args: readonly string[]): GpuFlags {
  const flags = parseArgs([...args], {
    string: ["into", "budget", "only", "from"],
    boolean: ["dry-run", "help"],
    unknown: (word: string) =>
      refuse(word.startsWith("-") ? `there is no ${word}` : `unexpected argument "${word}"`),
  });
  if (flags.help) {
    console.log(usage);
    Deno.exit();
  }
  for (const name of ["into", "budget", "only", "from"] as const) {
    if (flags[name] === "") refuse(`--${name} needs a value`);
  }
  const { into, only, from = names[0] } = flags;
  const budget = Number(flags.budget ?? BUDGET);
  if (!(budget > 0)) refuse(`--budget must be a number of seconds above 0, not "${flags.budget}"`);
  const first = names.find((name) => name === from);
  if (first === undefined) refuse(`there is no stage "${from}"; choose ${names.join(", ")}`);
  return {
    ...{ budget, from: first, dry: flags["dry-run"] },
    ...(into === undefined ? {} : { into }),
    ...(only === undefined ? {} : { only }),
  };
}

function refuse(what: string): never {
  console.error(`error: ${what}\n${usage}`);
  Deno.exit(2);
}

if (import.meta.main) gpuFlags(Deno.args);
