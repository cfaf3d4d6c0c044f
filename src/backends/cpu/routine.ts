import type { ValueId } from "../../trace/program.ts";
import type { Made } from "./onednn/maker.ts";
import type { I32 } from "./wasm/expressions.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";

/** The function and locals that a routine's code is written with. */
export interface RoutineContext {
  /** The function being written. */
  readonly f: FunctionBuilder;
  /** Addresses of the operands. */
  readonly operands: readonly Local<"i32">[];
  /** The index of the task: 0 … `tasks` − 1. */
  readonly task: Local<"i32">;
  /** Address of this thread's scratch memory. */
  readonly scratch: Local<"i32">;
  /**
   * Writes a call of one of the routine's primitives on two or three addresses. Its scratch memory is the thread's, or at
   * `scratch`.
   */
  execute(primitive: Made, a: I32, b: I32, c?: I32, scratch?: I32): void;
}

/**
 * Code specialised to shapes, cut into independent tasks. The cut depends on shapes alone, so results do not depend
 * on how many threads share the tasks.
 */
export interface Routine {
  /** Routines with the same key have the same code. */
  readonly key: string;
  /** Number of tasks. */
  readonly tasks: number;
  /** Scratch bytes each thread needs. */
  readonly scratch: number;
  /** Number of operands. */
  readonly operands: number;
  /** Primitives of oneDNN that the code executes; default: none. */
  readonly primitives?: readonly Made[];
  /** Writes the code of one task. */
  build(context: RoutineContext): void;
}

/** The location of an operand: a value of the plan, or bytes into the step's workspace. */
export type Operand = { readonly value: ValueId } | { readonly workspace: number };

/** A routine applied to operands. */
export interface Launch {
  readonly routine: Routine;
  readonly operands: readonly Operand[];
}

/** The launches of one step of a plan. */
export interface Launches {
  /** In the order they run. */
  readonly launches: readonly Launch[];
  /** Bytes of workspace that they share. */
  readonly workspace: number;
}
