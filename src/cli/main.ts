/**
 * The command line: `deno task demo | train | eval | export | reproduce | probe | memory | doctor`.
 *
 * @module
 */

import { LocalgradError } from "../base/errors.ts";
import { systemReason } from "../base/system.ts";
import { demo, demoFlags } from "./demo.ts";
import { doctor, doctorFlags } from "./doctor.ts";
import { evaluate, evaluateFlags } from "./evaluate.ts";
import { exportFlags, exportWeights } from "./export.ts";
import { type Flags, usage } from "./flags.ts";
import { memory, memoryFlags } from "./memory.ts";
import { probeFlags, probeRuns } from "./probe.ts";
import { reproduce, reproduceFlags } from "./reproduce.ts";
import { note } from "./terminal.ts";
import { train, trainFlags } from "./train.ts";

interface Command {
  readonly summary: string;
  readonly flags: Flags;
  /** Gives the exit code where that is not 0. */
  readonly run: (args: readonly string[]) => Promise<number | void>;
}

const commands: { readonly [name: string]: Command } = {
  demo: { summary: "trains three methods side by side on drawn images", flags: demoFlags, run: demo },
  train: { summary: "trains a network, in local modules or end to end", flags: trainFlags, run: train },
  eval: {
    summary: "judges the network of a run, or of a file, on test images",
    flags: evaluateFlags,
    run: evaluate,
  },
  export: { summary: "writes the network of a run for PyTorch", flags: exportFlags, run: exportWeights },
  reproduce: { summary: "runs rows of a published table", flags: reproduceFlags, run: reproduce },
  probe: { summary: "reads the classes off each module linearly", flags: probeFlags, run: probeRuns },
  memory: { summary: "plans the memory of a training step", flags: memoryFlags, run: memory },
  doctor: { summary: "says which backends run on this machine", flags: doctorFlags, run: doctor },
};

const EXIT_CODES =
  "exit codes: 0 done; 1 a defect of localgrad; 2 an error told in one line; 3 reproduce went through, with runs that\n" +
  "failed; 130, 143, 129 stopped by Ctrl-C, SIGTERM, SIGHUP (what had been trained is saved)";

/** Runs a command; gives the exit code. What the user did wrong is told in one line and gives 2. */
async function main([name, ...args]: readonly string[]): Promise<number> {
  try {
    if (name === undefined || ["help", "--help", "-h"].includes(name)) {
      const lines = Object.entries(commands).map(([name, { summary }]) =>
        `  deno task ${name.padEnd(9)} ${summary}`
      );
      console.log(
        ["localgrad trains neural networks block by block.", "", ...lines, "", EXIT_CODES].join("\n"),
      );
      return 0;
    }
    if (!Object.hasOwn(commands, name)) {
      throw new LocalgradError(`there is no command "${name}"; choose ${Object.keys(commands).join(", ")}`);
    }
    const { summary, flags, run } = commands[name];
    if (args.includes("--help") || args.includes("-h")) console.log(usage(name, summary, flags));
    else return await run(args) ?? 0;
    return 0;
  } catch (error) {
    const message = explained(error);
    if (message === undefined) throw error;
    note(`error: ${message}`);
    return 2;
  }
}

/** What to tell of an error that is the user's or the system's; undefined for one of localgrad's own. */
function explained(error: unknown): string | undefined {
  if (error instanceof LocalgradError) return error.message;
  if (error instanceof Deno.errors.NotCapable) {
    // Deno opens devices and processes' files for those only who may do everything, which no task may.
    const special = /^Requires all access to ("[^]*")/.exec(error.message);
    if (special !== null) {
      return `${
        special[1]
      } is among the system's special files, which Deno keeps from programs; name another place`;
    }
    return `${error.message.replace(/, run again.*/, "")}; run it as a task (deno task …), or allow that`;
  }
  // What no reader or writer of ours has explained; the system's message names the path too.
  return systemReason(error) && (error as Error).message;
}

if (import.meta.main) Deno.exitCode = await main(Deno.args);
