/**
 * The command line: `deno task demo | train | eval | predict | export | compare | report | reproduce | probe | memory | doctor`.
 *
 * @module
 */

import { LocalgradError } from "../base/errors.ts";
import { systemReason } from "../base/system.ts";
import { compareFlags, compareOperands, compareRuns } from "./compare.ts";
import { demo, demoFlags } from "./demo.ts";
import { doctor, doctorFlags } from "./doctor.ts";
import { evaluate, evaluateFlags } from "./evaluate.ts";
import { exportFlags, exportWeights } from "./export.ts";
import { type Flags, usage } from "./flags.ts";
import { memory, memoryFlags } from "./memory.ts";
import { predict, predictFlags, predictOperands } from "./predict.ts";
import { probeFlags, probeRuns } from "./probe.ts";
import { reportFlags, reportOperands, writeReport } from "./report.ts";
import { reproduce, reproduceFlags } from "./reproduce.ts";
import { deviceNames } from "./settings.ts";
import { note, print } from "./terminal.ts";
import { train, trainFlags } from "./train.ts";

interface Command {
  readonly summary: string;
  readonly flags: Flags;
  /** Its other arguments in the help, if it takes any. */
  readonly operands?: string;
  /** Returns the exit code if it is not 0. */
  readonly run: (args: readonly string[]) => Promise<number | void>;
}

const commands: { readonly [name: string]: Command } = {
  demo: { summary: "trains three methods side by side on drawn images", flags: demoFlags, run: demo },
  train: { summary: "trains a network, in local modules or end to end", flags: trainFlags, run: train },
  eval: {
    summary: "evaluates the network of a run, or of a file, on test images",
    flags: evaluateFlags,
    run: evaluate,
  },
  predict: {
    summary: "predicts the classes of pictures with the network of a run",
    flags: predictFlags,
    operands: predictOperands,
    run: predict,
  },
  export: {
    summary: "writes the network of a run for PyTorch or ONNX Runtime",
    flags: exportFlags,
    run: exportWeights,
  },
  compare: {
    summary: "compares runs: settings that differ, results, curves",
    flags: compareFlags,
    operands: compareOperands,
    run: compareRuns,
  },
  report: {
    summary: "writes the report of a run again, from its folder",
    flags: reportFlags,
    operands: reportOperands,
    run: writeReport,
  },
  reproduce: { summary: "runs rows of a published table", flags: reproduceFlags, run: reproduce },
  probe: {
    summary: "trains a linear classifier on the output of each module",
    flags: probeFlags,
    run: probeRuns,
  },
  memory: { summary: "plans the memory of a training step", flags: memoryFlags, run: memory },
  doctor: { summary: "reports which backends run on this machine", flags: doctorFlags, run: doctor },
};

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
    note(`error: ${message}`);
    return 2;
  }
}

/** The message for an error of the user or the system; undefined for a bug in localgrad. */
function explained(error: unknown): string | undefined {
  if (error instanceof LocalgradError) return error.message;
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
