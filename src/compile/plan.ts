import type { Aval, HostData } from "../trace/dtype.ts";
import type {
  Category,
  CollectiveInstruction,
  ProgramInput,
  ProgramOutput,
  StructuredInstruction,
} from "../trace/program.ts";
import type { Kernel } from "./kernel.ts";

/** Bytes of the arena used by one step only. */
export interface Workspace {
  /** First byte within the arena. */
  readonly offset: number;
  /** Bytes. */
  readonly bytes: number;
}

/** One step of a backend: a structured op (convolution, product, pooling …), a collective op, or a fused kernel. */
export type Step =
  | {
    readonly kind: "op";
    readonly instruction: StructuredInstruction | CollectiveInstruction;
    readonly workspace?: Workspace;
  }
  | {
    readonly kind: "kernel";
    readonly kernel: Kernel;
    /** Scope of the instructions it came from. */
    readonly scope: string;
    readonly workspace?: Workspace;
  };

/** The location of a value while a plan runs. */
export type Location =
  | { readonly kind: "input"; readonly index: number }
  | { readonly kind: "output"; readonly index: number }
  | { readonly kind: "arena"; readonly offset: number }
  | { readonly kind: "constant"; readonly index: number };

/** The use of memory at the peak: inputs by category, then what the program makes. */
export type MemoryClass =
  | Category
  | "activations"
  | "workspace"
  | "scratch"
  | "results"
  | "constants"
  | "messages";

/** The memory of a program, planned before anything runs; exactly this much is allocated. */
export interface MemoryReport {
  /**
   * Inputs, results that take no input's memory, constants, the arena, the threads' scratch memory, and what messages on
   * their way to and from other processes take.
   */
  readonly peakBytes: number;
  /** The arena alone: temporaries and workspace. */
  readonly arenaBytes: number;
  /** {@link peakBytes} by its use at the peak; the classes add up to it exactly. */
  readonly breakdown: { readonly [C in MemoryClass]?: number };
  /** The largest temporaries that are live when the arena is fullest. */
  readonly heldAtPeak: readonly { readonly what: string; readonly scope: string; readonly bytes: number }[];
  /** Arena bytes that are live at each step, in order. */
  readonly timeline: readonly { readonly scope: string; readonly liveBytes: number }[];
  /** In a plan of two streams: the peak of the same steps one after the other. */
  readonly peakInOrder?: number;
  /** The cost of recomputation in a plan that does it. */
  readonly recompute?: Recomputed;
  /** In a program that exchanges data with other processes: what a run sends, by group. */
  readonly traffic?: { readonly [group: string]: Traffic };
}

/** The work that a plan does in addition to that `of` the same plan without recomputation. */
export interface Recomputed extends Work {
  /** The predicted time of that work, in seconds; absent in records of earlier versions. */
  readonly seconds?: number;
  /** The work of the plan without recomputation. */
  readonly of: Work;
}

/** What one process sends in one run of a plan. */
export interface Traffic {
  /** The number of collective ops. */
  readonly operations: number;
  /**
   * Bytes that the process sends at least: all of a message; of each broadcast (n − 1)/n, and of each reduction over n
   * processes 2(n − 1)/n (Patarasuk and Yuan, J. Parallel Distrib. Comput. 69, 2009).
   */
  readonly bytes: number;
}

/** The work of running a plan once. */
export interface Work {
  /** Additions, multiplications and other functions of single numbers. */
  readonly operations: number;
  /** Bytes that steps read and write, each operand and result counted once per step. */
  readonly bytes: number;
}

/** How the steps of a plan are divided between two streams, each of which runs its own in order. */
export interface Schedule {
  /** The stream of each step. */
  readonly streams: readonly (0 | 1)[];
  /**
   * For each step, the last later one that may run at the same time, on the other stream; the step itself if there is none.
   * Steps after that one wait for it.
   */
  readonly until: readonly number[];
}

/** How a backend wants steps that do not need each other to run at the same time. */
export interface Overlap {
  /** Predicts the time of a step. */
  seconds(step: Step, values: readonly Aval[]): number;
  /** A step waits for all steps that are as many or more before it. */
  readonly window: number;
}

/** A program ready for a backend: steps in order, with a location for every value. */
export interface Plan {
  /** The program's name. */
  readonly name: string;
  /** Shape and dtype of every value, by id. */
  readonly values: readonly Aval[];
  /** Inputs in order. */
  readonly inputs: readonly ProgramInput[];
  /** Results in order. */
  readonly outputs: readonly ProgramOutput[];
  /** For each result, the input whose buffer it is written into, or −1 if it has its own buffer. */
  readonly donors: readonly number[];
  /** The steps, in order. */
  readonly steps: readonly Step[];
  /** How they are divided between two streams, on a target that wants that. */
  readonly schedule?: Schedule;
  /** The location of each value, by id; undefined where fusion left nothing to store. Views share their operand's. */
  readonly locations: readonly (Location | undefined)[];
  /** Literal arrays. */
  readonly constants: readonly { readonly aval: Aval; readonly data: HostData }[];
  /** Bytes of arena this plan needs. */
  readonly arenaBytes: number;
  /** The memory report. */
  readonly memory: MemoryReport;
  /** For a plan that recomputes values: the memory of the same program's plan without recomputation. */
  readonly without?: MemoryReport;
}

/**
 * The precision of a network. `f32`: single precision. `tf32`: the same, but tensor cores round the operands of products
 * to 10 bits of mantissa. `bf16`: activations, and weights where they meet activations, are bfloat16; trained values,
 * statistics, losses and sums stay f32.
 */
export type Precision = "f32" | "tf32" | "bf16";

/** The precision of products of f32. */
export type ProductPrecision = Exclude<Precision, "bf16">;

/** The steps right before and right after one. */
export interface Neighbours {
  /** The one before it; absent for the first. */
  readonly before?: Step;
  /** The one after it; absent for the last. */
  readonly after?: Step;
}

/** The properties of a backend that planning depends on: constants of the machine, without a device. */
export interface Target {
  /** The backend's name. */
  readonly name: string;
  /** Where a backend has several: the one that computes convolutions and products. Plans for one do not fit another. */
  readonly engine?: string;
  /** The precisions it supports, its default first. */
  readonly precisions: readonly Precision[];
  /** A way to have bf16 on such a device where it lacks it, for messages: "use …". */
  readonly bf16Remedy?: string;
  /** Every arena offset is a multiple of this. */
  readonly alignment: number;
  /** The largest single value it can hold. */
  readonly maxValueBytes: number;
  /** The arena is made of segments of this many bytes, and no value crosses from one to the next; Infinity for one segment. */
  readonly segmentBytes: number;
  /** True if steps use memory that is free while they run: it is then in large pieces, where the arena need not grow for that. */
  readonly usesSpare?: boolean;
  /** The most bytes of the arena and everything else together. */
  readonly maxTotalBytes: number;
  /**
   * Returns the bytes of the arena that a step needs for itself, from shapes alone; they may depend on the steps beside it,
   * with which a backend may run it in one launch.
   */
  workspace(step: Step, values: readonly Aval[], beside?: Neighbours): number;
  /**
   * Returns the bytes outside the arena that a step needs while it runs: the scratch memory of all threads, which all
   * steps share. Absent where there is none.
   */
  scratch?(step: Step, values: readonly Aval[]): number;
  /**
   * The number of processes of each group that a device exchanges data with, by the group's name. Absent on backends
   * without collective ops.
   */
  readonly groups?: { readonly [group: string]: number };
  /** True if each exchange has a buffer of the value's size that host memory and the device share. */
  readonly staged?: boolean;
  /** Divides steps between two streams; absent where all of them run in order. */
  readonly overlap?: Overlap;
  /** The most distinct buffers of a fused kernel, inputs and outputs together. */
  readonly maxKernelBuffers: number;
}
