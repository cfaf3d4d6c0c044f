import type { DType } from "../../trace/dtype.ts";
import type { ValueId } from "../../trace/program.ts";

/** Threads of a block, in every kernel (`THREADS` in dialect.cuh). */
export const THREADS = 256;

/** What a kernel is passed: the address of a value, or of a place in its step's workspace. */
export interface Argument {
  /** The value, or the workspace. */
  readonly slot: ValueId | "workspace";
  /** Bytes past its beginning. */
  readonly offset: number;
  /** The type of its elements there. */
  readonly dtype: DType;
  /** Whether the kernel writes it. */
  readonly written: boolean;
}

/** One launch of a kernel whose every argument is an address. */
export interface Call {
  /** Name for people, such as `reduce`. */
  readonly label: string;
  /** Definition of the kernel, with `NAME` for its name; equal texts are compiled once. */
  readonly text: string;
  /** Its arguments in order. */
  readonly arguments: readonly Argument[];
  /** Blocks of {@link THREADS} threads. */
  readonly blocks: number;
}

/** An argument that is a value itself. */
export function valueArgument(slot: ValueId, dtype: DType, written: boolean = false): Argument {
  return { slot, offset: 0, dtype, written };
}
