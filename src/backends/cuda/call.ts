import type { DType } from "../../trace/dtype.ts";
import type { ValueId } from "../../trace/program.ts";
import type { Slot } from "../place.ts";

/** Threads per block in every kernel (`THREADS` in dialect.cuh). */
export const THREADS = 256;

/** An argument of a kernel: the address of a value, or of a part of its step's workspace. */
export interface Argument {
  /** The value, or the workspace. */
  readonly slot: Slot;
  /** Offset in bytes from its start. */
  readonly offset: number;
  /** The dtype of its elements. */
  readonly dtype: DType;
  /** True if the kernel writes it. */
  readonly written: boolean;
}

/** A call of a kernel whose arguments are all addresses. */
export interface Call {
  /** A short name, such as `reduce`. */
  readonly label: string;
  /** The kernel's definition, with `NAME` for its name; equal texts are compiled once. */
  readonly text: string;
  /** The arguments, in order. */
  readonly arguments: readonly Argument[];
  /** Blocks of {@link THREADS} threads. */
  readonly blocks: number;
}

/** An argument that is a value from its start. */
export function valueArgument(slot: ValueId, dtype: DType, written: boolean = false): Argument {
  return { slot, offset: 0, dtype, written };
}
