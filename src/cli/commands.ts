import { compareFlags, compareOperands, compareRuns } from "./compare.ts";
import { demo, demoFlags } from "./demo.ts";
import { doctor, doctorFlags } from "./doctor.ts";
import { evaluate, evaluateFlags } from "./evaluate.ts";
import { exportFlags, exportWeights } from "./export.ts";
import { memory, memoryFlags } from "./memory/memory.ts";
import { predict, predictFlags, predictOperands } from "./predict.ts";
import { probeFlags, probeRuns } from "./probe.ts";
import { reportFlags, reportOperands, writeReport } from "./report.ts";
import { reproduce, reproduceFlags } from "./reproduce/reproduce.ts";
import { train, trainFlags } from "./train.ts";
import { trainMpi, trainMpiFlags } from "./train_mpi.ts";
import type { Flags } from "./flags/flags.ts";

/** A command. */
export interface Command {
  readonly summary: string;
  readonly flags: Flags;
  /** Its other arguments in the help, if it takes any. */
  readonly operands?: string;
  /** Returns the exit code if it is not 0. */
  readonly run: (args: readonly string[]) => Promise<number | void>;
}

/** The commands by name. */
export const commands: { readonly [name: string]: Command } = {
  demo: {
    summary: "trains end to end and in local modules side by side, on drawn images",
    flags: demoFlags,
    run: demo,
  },
  train: { summary: "trains a network, in local modules or end to end", flags: trainFlags, run: train },
  "train:mpi": {
    summary: "starts train in several processes on this machine, by mpirun",
    flags: trainMpiFlags,
    run: trainMpi,
  },
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
