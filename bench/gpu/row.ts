/** What `bench/gpu.sh` measures: rows, and what comes of one. */
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
  /** K, as the papers count. */
  readonly k: number;
  /** The names of each module's blocks. */
  readonly modules: readonly (readonly string[])[];
  readonly batch: number;
  readonly precision: "f32" | "tf32" | "bf16";
  readonly system: "localgrad" | "PyTorch";
  /** How: `graph` is ours; PyTorch has several. */
  readonly mode: "eager" | "channels_last" | "graph" | "reduce-overhead" | "max-autotune";
  /** For how long it is timed. */
  readonly seconds: number;
  /** Whether it is to run where there is no card: a dry run. */
  readonly withoutCard?: boolean;
}

/** What a measurement prints, as one line of JSON. */
export interface Measurement {
  /** The system's version. */
  readonly version: string;
  /** What it ran on. */
  readonly device: string;
  /** Milliseconds of a step, round by round: steps are issued one after the other, and waited for at the round's end. */
  readonly milliseconds: readonly number[];
  /** Milliseconds of the first three steps, with everything that is compiled. */
  readonly firstSteps: number;
  /** The losses of each module in the first three steps. */
  readonly losses: readonly (readonly number[])[];
  /** Bytes. */
  readonly memory: {
    /** By the plan: ours only. */
    readonly plannedBytes?: number;
    /** Arena, variables and batch, or the most that PyTorch's tensors came to. */
    readonly peakBytes?: number;
    /** Taken from the driver. */
    readonly takenBytes?: number;
    /** In use on the card, by the driver's count, by everybody. */
    readonly usedBytes?: number;
  };
  /** Launches of a step on the card. */
  readonly launches: number;
  /** Milliseconds of a step on the card, by class of kernel. */
  readonly classes: { readonly [name: string]: number };
  /** The least a step could take, by the card's peaks; ours only. */
  readonly roofline?: Roofline;
}

/** What a step moves and computes, and the least time for it, by class. */
export interface Roofline {
  /** What the card could do at most. */
  readonly peaks: {
    readonly bytesPerSecond: number;
    readonly operationsPerSecond: number;
    readonly products: number;
  };
  readonly bytes: number;
  readonly operations: number;
  /** Milliseconds: each kernel bound by its memory or its arithmetic. */
  readonly milliseconds: number;
  readonly classes: { readonly [name: string]: number };
}

/** What tells a row from the others. */
export function rowName({ network, method, k, batch, precision, system, mode }: Row): string {
  return `${stepName({ network, method, k, batch, precision })}, ${system} ${mode}`;
}

/** What tells a training step from the others, whatever computes it. */
export function stepName(
  { network, method, k, batch, precision }: Pick<Row, "network" | "method" | "k" | "batch" | "precision">,
): string {
  return `${network}, ${
    method === "endToEnd" ? "end to end" : `${method}, K = ${k}`
  }, batch ${batch}, ${precision}`;
}
