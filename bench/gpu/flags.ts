/**
 * The command line of bench/gpu.sh, which runs this first, so that a mistyped flag is refused before the suites run.
 */
import { parseArgs } from "@std/cli/parse-args";

const usage =
  "usage: bench/gpu.sh [quick|full] [--dry-run] [--no-suites] [--into FILE] [--minutes N] [--only TEXT]";

/** The parsed command line. */
export interface GpuFlags {
  readonly mode: "quick" | "full";
  /** Goes through every line on the simulated device. */
  readonly dry: boolean;
  /** The file of results. */
  readonly into?: string;
  /** The minutes after which no further row is started. */
  readonly minutes: number;
  /** Part of the names of the rows wanted. */
  readonly only?: string;
}

/** Parses the command line; ends the process if it is wrong. */
export function gpuFlags(args: readonly string[]): GpuFlags {
  const flags = parseArgs([...args], {
    string: ["into", "minutes", "only"],
    boolean: ["dry-run", "help"],
    unknown: (word: string) => word.startsWith("-") ? refuse(`there is no ${word}`) : true,
  });
  if (flags.help) {
    console.log(usage);
    Deno.exit();
  }
  const { into, only } = flags;
  const [mode = "quick", ...rest] = flags._.map(String);
  if (mode !== "quick" && mode !== "full") refuse(`there is no "${mode}"; choose quick or full`);
  if (rest.length > 0) refuse(`unexpected argument "${rest[0]}"`);
  for (const name of ["into", "minutes", "only"] as const) {
    if (flags[name] === "") refuse(`--${name} needs a value`);
  }
  const minutes = Number(flags.minutes ?? (mode === "quick" ? 8 : Infinity));
  if (!(minutes > 0)) refuse(`--minutes must be above 0, not "${flags.minutes}"`);
  return {
    mode,
    dry: flags["dry-run"],
    minutes,
    ...(into === undefined ? {} : { into }),
    ...(only === undefined ? {} : { only }),
  };
}

function refuse(what: string): never {
  console.error(`error: ${what}\n${usage}`);
  Deno.exit(2);
}

if (import.meta.main) gpuFlags(Deno.args);
