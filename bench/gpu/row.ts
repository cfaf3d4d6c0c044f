/** The rows that `bench/gpu.sh` measures, and their results. */
import type { MethodName } from "../../src/local.ts";

/** One training step, by one system. */
export interface Row {
  /** The network, by its name: `resnet32`. */
  readonly network: string;
  /** Height and width of its images, and its classes. */
  readonly size: number;
  readonly classes: number;
  /** `endToEnd` or `man+dgl`. */
  readonly method: MethodName;
  /** K, as counted in the papers. */
  readonly k: number;
  /** The names of each module's blocks. */
  readonly modules: readonly (readonly string[])[];
  readonly batch: number;
  readonly precision: "f32" | "tf32" | "bf16";
  readonly system: "localgrad" | "PyTorch";
  /** The mode: of ours `graph`, or `overlap` with two branches in it; PyTorch has several. */
  readonly mode: "overlap" | "eager" | "channels_last" | "graph" | "reduce-overhead" | "max-autotune";
  /** The timing effort. */
  readonly seconds: number;
  /** True for a dry run, without a card. */
  readonly withoutCard?: boolean;
}

/** The result of a measurement, printed as one line of JSON. */
export interface Measurement {
  /** The system's version. */
  readonly version: string;
  /** The device it ran on. */
  readonly device: string;
  /** Milliseconds of a step, by round: steps are issued without waiting, and the round ends when all are done. */
  readonly milliseconds: readonly number[];
  /** Milliseconds of the first three steps, compilation included. */
  readonly firstSteps: number;
  /** The losses of each module in the first three steps. */
  readonly losses: readonly (readonly number[])[];
  /** Bytes. */
  readonly memory: {
    /** Planned; ours only. */
    readonly plannedBytes?: number;
    /** Arena, variables and batch, or the peak of PyTorch's tensors. */
    readonly peakBytes?: number;
    /** Allocated from the driver. */
    readonly takenBytes?: number;
    /** In use on the card by all programs, as the driver counts it. */
    readonly usedBytes?: number;
  };
  /** Launches of a step on the card. */
  readonly launches: number;
  /** Milliseconds of a step on the card, by class of kernel. */
  readonly classes: { readonly [name: string]: number };
  /** The least time of a step at the card's peak rates; ours only. */
  readonly roofline?: Roofline;
}

/** The bytes and operations of a step, and the least time for them, by class. */
export interface Roofline {
  /** The card's peak rates. */
  readonly peaks: {
    readonly bytesPerSecond: number;
    readonly operationsPerSecond: number;
    readonly products: number;
  };
  readonly bytes: number;
  readonly operations: number;
  /** Milliseconds, with each kernel bound by its memory traffic or its arithmetic. */
  readonly milliseconds: number;
  readonly classes: { readonly [name: string]: number };
}

/** A name that identifies a row. */
export function rowName({ network, method, k, batch, precision, system, mode }: Row): string {
  return `${stepName({ network, method, k, batch, precision })}, ${system} ${mode}`;
}

/** A name that identifies a training step, whichever system runs it. */
export function stepName(
  { network, method, k, batch, precision }: Pick<Row, "network" | "method" | "k" | "batch" | "precision">,
): string {
  return `${network}, ${
    method === "endToEnd" ? "end to end" : `${method}, K = ${k}`
  }, batch ${batch}, ${precision}`;
}
