import type { PendingStep } from "../../compile/pending.ts";
import type { Plan, Step, Workspace } from "../../compile/plan.ts";
import type { InstructionOf, ValueId } from "../../trace/program.ts";
import type { Place } from "../place.ts";
import type { Call } from "./call.ts";
import type { ConvInstruction } from "./conv.ts";
import type { Epilogue } from "./epilogues.ts";

/** Returns the address of a place. */
export type Addresses = (place: Place) => bigint;

/** A launch that is ready to be issued, and can be bound to other addresses. */
export interface Recorded {
  /** Binds it to addresses; must precede the first {@link run}. */
  bind(addresses: Addresses): void;
  /** Issues it on a stream; `mayWait` as for `BoundConv.run`. */
  run(mayWait: boolean, stream: bigint): void;
  /** What it computes, for messages. */
  describe(): string;
  dispose?(): void;
}

/** A launch of a kernel of ours. */
export interface KernelLaunch {
  readonly kind: "kernel";
  readonly call: Call;
  readonly step: Step;
  /** The next step, where the kernel applies it too. */
  readonly epilogue?: Epilogue;
  /** The launches that it is made of, if several; its arguments are theirs, in order. */
  readonly parts?: readonly KernelLaunch[];
}

/** One unit of work for the card: a kernel of ours, a call of a library, or a fill. */
export type Launch =
  | KernelLaunch
  | {
    readonly kind: "conv";
    readonly instruction: ConvInstruction;
    readonly step: Step;
    /** Scratch for cuDNN: the step's own workspace, or a larger part of the arena that is free. */
    readonly scratch: Workspace;
    /** The next step, where cuDNN applies it to the result as it writes it. */
    readonly epilogue?: Epilogue;
  }
  | {
    readonly kind: "matmul";
    readonly instruction: InstructionOf<"matmul">;
    readonly step: Step;
    /** The next step, where cuBLASLt applies it to the result as it writes it. */
    readonly epilogue?: Epilogue;
  }
  /** Copies a value to another of the same size. */
  | { readonly kind: "copy"; readonly from: ValueId; readonly to: ValueId; readonly step: Step }
  /** Starts an exchange with other processes, in place. */
  | { readonly kind: "exchange"; readonly pending: PendingStep; readonly step: Step }
  /** Makes the work after it wait for an exchange. */
  | { readonly kind: "join"; readonly pending: PendingStep; readonly step: Step }
  /** Fills a result with zeros: a convolution or product that sums no terms. */
  | { readonly kind: "zeros"; readonly value: ValueId; readonly step: Step };

/**
 * Tests whether cuDNN has a plan for a convolution with its epilogue, or cuBLASLt an algorithm for a product with its own;
 * only a device can tell. `scratch` is the number of bytes that it may use.
 */
export type Fuses = (
  instruction: ConvInstruction | InstructionOf<"matmul">,
  epilogue: Epilogue,
  scratch: number,
) => boolean;

/** A step of a plan that is being lowered. */
export interface StepContext {
  readonly plan: Plan;
  readonly step: Step;
  /** The index of the step. */
  readonly index: number;
  /** The largest part of the arena that is free during the step. */
  readonly spare: Workspace;
  readonly fuses: Fuses;
}

/** The launches of a step's kernels; a kernel without elements is not launched. */
export function kernelLaunches(calls: readonly Call[], step: Step, epilogue?: Epilogue): KernelLaunch[] {
  return calls.filter(({ blocks }) => blocks > 0).map((call): KernelLaunch => ({
    ...{ kind: "kernel", call, step },
    ...(epilogue === undefined ? {} : { epilogue }),
  }));
}
