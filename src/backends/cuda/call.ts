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
  /** What it does, of a kernel that may become a part of another; see `sideBySide`. */
  readonly body?: Body;
}

/** What a kernel does. */
export interface Body {
  /** Declarations of the parameters, named `p0`, `p1` …. */
  readonly parameters: readonly string[];
  /** CUDA C, where `here` is the number of the block, and `tickets` the first of its counters. */
  readonly lines: readonly string[];
  /** Counters on the card, which begin and end each launch at 0. */
  readonly tickets: number;
  /** True if a block works on terms of its own for each thread, then folds them: more registers, shared memory. */
  readonly reduces: boolean;
}

/** The call of a kernel that has a body. */
export function callOf(
  { body, ...call }: Pick<Call, "label" | "arguments" | "blocks"> & { readonly body: Body },
): Call {
  const { tickets, parameters } = body;
  const lines = [
    "const u32 here = block();",
    ...(tickets > 0 ? ["u32* const tickets = NAME_tickets;"] : []),
    ...body.lines,
  ];
  const text = [
    ...(tickets > 0 ? [`GLOBAL u32 NAME_tickets[${tickets}];`] : []),
    `KERNEL(THREADS) NAME(${parameters.join(", ")}) {`,
    ...lines.map((line) => `  ${line}`),
    "}",
  ].join("\n");
  return { ...call, text, body };
}

/** An argument that is a value from its start. */
export function valueArgument(slot: ValueId, dtype: DType, written: boolean = false): Argument {
  return { slot, offset: 0, dtype, written };
}
