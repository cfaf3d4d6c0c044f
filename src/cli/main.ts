/**
 * The command line: `deno task demo | train | eval | predict | export | compare | report | reproduce | probe | memory | doctor`.
 *
 * @module
 */

import { LocalgradError } from "../base/errors.ts";
import { systemReason } from "../base/system.ts";
import { commands } from "./commands.ts";
import { inFlags } from "./flags/messages.ts";
import { usage } from "./flags/flags.ts";

import { deviceNames } from "./flags/place.ts";
import { mayTell } from "./team.ts";
import { note, print } from "./terminal.ts";

const EXIT_CODES =
  "exit codes: 0 done; 1 a bug in localgrad; 2 an error, reported in one line; 3 reproduce finished, but some runs\n" +
  "failed; 130, 143, 129 stopped by Ctrl-C, SIGTERM, SIGHUP (training so far is saved)";

const VARIABLES = `environment variables:
  LOCALGRAD_DEVICE    ${deviceNames.join(", ")}: the device, if no --device is given
  LOCALGRAD_CPU       auto, wasm, onednn: what computes convolutions on the CPU; auto is oneDNN where there is one
  LOCALGRAD_THREADS   threads on the CPU; default one for each core, but no more than OMP_NUM_THREADS
  LOCALGRAD_LIBDNNL   oneDNN's file or folder; see docs/onednn.md, and docs/cuda.md for CUDA's libraries`;

/** Runs a command and returns the exit code. A mistake of the user is reported in one line, with exit code 2. */
async function main([name, ...args]: readonly string[]): Promise<number> {
  try {
    if (name === undefined || ["help", "--help", "-h"].includes(name)) {
      const lines = Object.entries(commands).map(([name, { summary }]) =>
        `  deno task ${name.padEnd(9)} ${summary}`
      );
      print(
        ["localgrad trains neural networks block by block.", "", ...lines, "", VARIABLES, "", EXIT_CODES]
          .join("\n"),
      );
      return 0;
    }
    const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
    if (command === undefined) {
      throw new LocalgradError(`there is no command "${name}"; choose ${Object.keys(commands).join(", ")}`);
    }
    const { summary, flags, operands, run } = command;
    if (args.includes("--help") || args.includes("-h")) {
      print(usage(name, summary, flags, operands));
      if ("device" in flags || name === "doctor") print(`\n${VARIABLES}`);
    } else {
      const code = await run(args);
      if (typeof code === "number") return code;
    }
    return 0;
  } catch (error) {
    const message = explained(error);
    if (message === undefined) throw error;
    if (await mayTell()) note(`error: ${message}`);
    return 2;
  }
}

/** The message for an error of the user or the system; undefined for a bug in localgrad. */
function explained(error: unknown): string | undefined {
  if (error instanceof LocalgradError) return inFlags(error.message);
  if (error instanceof Deno.errors.NotCapable) {
    // Deno opens special files, such as devices, only with all permissions, which no task has.
    const special = /^Requires all access to ("[^]*")/.exec(error.message);
    if (special !== null) {
      return `${special[1]} is a special file of the system, which Deno does not open; choose another place`;
    }
    return `${error.message.replace(/, run again.*/, "")}; run it as a task (deno task …), or allow it`;
  }
  // Errors of the system that no reader or writer has explained; their messages name the path.
  return error instanceof Error && systemReason(error) !== undefined ? error.message : undefined;
}

if (import.meta.main) Deno.exitCode = await main(Deno.args);
