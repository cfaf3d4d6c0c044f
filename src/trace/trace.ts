import { LocalgradError } from "../base/errors.ts";
import type { OpAttrs, OpName } from "./ops.ts";
import { ProgramBuilder, type ValueId } from "./program.ts";
import { atUserLine, duringTracing, userLine } from "./site.ts";
import { Tensor } from "./tensor.ts";

/** The recording of a function being traced, to which its tensors belong. */
export class Trace {
  /** The program under construction. */
  readonly builder: ProgramBuilder = new ProgramBuilder();
  /** Differentiable regions with their own gradient rule, in the order in which they end; see {@link customGradient}. */
  readonly regions: Region[] = [];
  /** Called with each result as it is recorded; it may record more ops. While set, instructions keep the user's line. */
  observer: ((output: Tensor) => void) | undefined;
  /** Values to read in place of others, see {@link reading}. */
  #replaced: ReadonlyMap<ValueId, ValueId> | undefined;

  /**
   * Records one op and returns its result.
   *
   * @throws {LocalgradError} if the op's shape rule refuses its operands, or one is of another trace. The message names
   * the user's line.
   */
  emit<N extends OpName>(op: N, inputs: readonly Tensor[], attrs: OpAttrs[N]): Tensor {
    for (const input of inputs) {
      if (input.trace !== this) {
        throw new LocalgradError(
          `${op}: a tensor of another traced function was used${atUserLine()}; pass it as an argument instead`,
        );
      }
    }
    try {
      const site = this.observer === undefined ? undefined : userLine();
      const read = inputs.map(({ id }) => this.#replaced?.get(id) ?? id);
      const output = new Tensor(this, this.builder.emit(op, read, attrs, site));
      this.observer?.(output);
      return output;
    } catch (error) {
      if (error instanceof LocalgradError) {
        throw new LocalgradError(error.message + atUserLine(), { cause: error, code: error.code });
      }
      throw error;
    }
  }

  /** Throws a {@link LocalgradError} that names the user's line. */
  fail(message: string): never {
    throw new LocalgradError(message + atUserLine());
  }

  /** Runs `body` with operands replaced: an op that it records on a key of `replaced` reads the value there instead. */
  reading<T>(replaced: ReadonlyMap<ValueId, ValueId>, body: () => T): T {
    const outer = this.#replaced;
    this.#replaced = replaced;
    try {
      return body();
    } finally {
      this.#replaced = outer;
    }
  }
}

/**
 * A range of instructions with its own gradient rule. The rule must agree with the derivative of the instructions,
 * which is used instead wherever cotangents reach a value inside the region.
 */
export interface Region {
  /** Index of the first instruction. */
  readonly start: number;
  /** Index after the last instruction. */
  readonly end: number;
  /** The values to which it has gradients. */
  readonly inputs: readonly Tensor[];
  /** Its results. */
  readonly outputs: readonly Tensor[];
  /** Maps cotangents of the results (undefined if none arrived) to cotangents of the inputs. */
  readonly rule: (cotangents: readonly (Tensor | undefined)[]) => readonly (Tensor | undefined)[];
}

const active: Trace[] = [];

/**
 * The innermost trace in progress.
 *
 * @param what Begins the message of the error outside of a traced function.
 */
export function currentTrace(what: string): Trace {
  const trace = active.at(-1);
  if (trace === undefined) {
    throw new LocalgradError(
      `${what} works on tensors inside a traced function${atUserLine()}; call it within jit(…)`,
    );
  }
  return trace;
}

/** Runs `body` with `trace` as the current one. */
export function withTrace<T>(trace: Trace, body: () => T): T {
  active.push(trace);
  try {
    return duringTracing(body);
  } finally {
    active.pop();
  }
}

/**
 * Runs `body` and labels the instructions that it records with `name`, under the labels of enclosing scopes. Printed
 * programs, plans and errors show the label.
 *
 * @throws {LocalgradError} outside of a traced function.
 */
export function scope<T>(name: string, body: () => T): T {
  const { builder } = currentTrace("scope");
  const outer = builder.scope;
  builder.scope = outer === "" ? name : `${outer}/${name}`;
  try {
    return body();
  } finally {
    builder.scope = outer;
  }
}
