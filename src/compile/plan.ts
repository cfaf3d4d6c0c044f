import type { Aval, HostData } from "../trace/dtype.ts";
import type { Category, ProgramInput, ProgramOutput, StructuredInstruction } from "../trace/program.ts";
import type { Kernel } from "./kernel.ts";

/** Bytes of the arena used by one step only. */
export interface Workspace {
  /** First byte within the arena. */
  readonly offset: number;
  /** Bytes. */
  readonly bytes: number;
}

/** One thing a backend does: a structured op (convolution, product, pooling …) or a fused kernel. */
export type Step =
  | {
    readonly kind: "op";
    readonly instruction: StructuredInstruction;
    readonly workspace?: Workspace;
  }
  | {
    readonly kind: "kernel";
    readonly kernel: Kernel;
    /** Scope of the instructions it came from. */
    readonly scope: string;
    readonly workspace?: Workspace;
  };

/** Where a value lives while a plan runs. */
export type Location =
  | { readonly kind: "input"; readonly index: number }
  | { readonly kind: "output"; readonly index: number }
  | { readonly kind: "arena"; readonly offset: number }
  | { readonly kind: "constant"; readonly index: number };

/** What memory is held for at the peak: inputs by category, then what the program makes. */
export type MemoryClass = Category | "activations" | "workspace" | "results" | "constants";

/** What a program's memory is: planned before anything runs, and what is really allocated. */
export interface MemoryReport {
  /** Inputs, results that take no input's memory, constants, and the arena. */
  readonly peakBytes: number;
  /** The arena alone: temporaries and workspace. */
  readonly arenaBytes: number;
  /** {@link peakBytes} by what holds it at the peak. Sums to it exactly. */
  readonly breakdown: { readonly [C in MemoryClass]?: number };
  /** The largest temporaries alive when the arena is fullest. */
  readonly heldAtPeak: readonly { readonly what: string; readonly scope: string; readonly bytes: number }[];
  /** Arena bytes alive at each step, in order. */
  readonly timeline: readonly { readonly scope: string; readonly liveBytes: number }[];
  /** What computing values again costs, where the plan does that: beyond the work `of` the same plan without it. */
  readonly recompute?: Work & { readonly of: Work };
}

/** What running a plan once takes. */
export interface Work {
  /** Additions, multiplications and other functions of single numbers. */
  readonly operations: number;
  /** Bytes that steps read and write, each operand and result counted once a step. */
  readonly bytes: number;
}

/** A program ready for a backend: steps in order, every value with a place. */
export interface Plan {
  /** The program's name. */
  readonly name: string;
  /** Shape and dtype of every value, by id. */
  readonly values: readonly Aval[];
  /** Inputs in order. */
  readonly inputs: readonly ProgramInput[];
  /** Results in order. */
  readonly outputs: readonly ProgramOutput[];
  /** For each result, the input whose buffer it is written into, or −1 where it takes a buffer of its own. */
  readonly donors: readonly number[];
  /** What to do. */
  readonly steps: readonly Step[];
  /** Where each value lives, by id; undefined where fusion left nothing to store. Views share their operand's. */
  readonly locations: readonly (Location | undefined)[];
  /** Literal arrays. */
  readonly constants: readonly { readonly aval: Aval; readonly data: HostData }[];
  /** Bytes of arena this plan needs. */
  readonly arenaBytes: number;
  /** The memory report. */
  readonly memory: MemoryReport;
  /** Where values are computed again: the memory of the same program's plan without that. */
  readonly without?: MemoryReport;
}

/**
 * What a network is computed in. `f32`: single precision. `tf32`: the same, but products round their operands to 10
 * bits, by tensor cores. `bf16`: activations and the weights they meet are bfloat16; what is trained, statistics,
 * losses and sums stay f32.
 */
export type Precision = "f32" | "tf32" | "bf16";

/** How products of f32 are computed. */
export type ProductPrecision = Exclude<Precision, "bf16">;

/** What planning must know of a backend: constants of the machine, and no device. */
export interface Target {
  /** The backend's name. */
  readonly name: string;
  /** The precisions it computes in, the one it takes of itself first. */
  readonly precisions: readonly Precision[];
  /** Every arena offset is a multiple of this. */
  readonly alignment: number;
  /** The largest single value it can hold. */
  readonly maxValueBytes: number;
  /** The arena comes in pieces of this many bytes; no value crosses from one to the next. Infinity: one piece. */
  readonly segmentBytes: number;
  /** The most the arena and everything else may come to. */
  readonly maxTotalBytes: number;
  /** Scratch bytes a step needs, from shapes alone. */
  workspace(step: Step, values: readonly Aval[]): number;
  /** Most distinct buffers a fused kernel may touch (inputs and outputs). */
  readonly maxKernelBuffers: number;
}
