import { LocalgradError } from "../base/errors.ts";
import type { OpAttrs, OpName } from "./ops.ts";
import { ProgramBuilder, type ValueId } from "./program.ts";
import { Tensor } from "./tensor.ts";

/** A function being traced: what its tensors belong to. */
export class Trace {
  /** Where its instructions go. */
  readonly builder: ProgramBuilder = new ProgramBuilder();
  /** Differentiable regions with a gradient rule of their own, in order of their end; see `customGradient`. */
  readonly regions: Region[] = [];
  /** Called with each result as it is recorded; may record more. While it is set, instructions note the user's line. */
  observer: ((output: Tensor) => void) | undefined;
  /** What is read in place of what, see {@link reading}. */
  #changed: ReadonlyMap<ValueId, ValueId> | undefined;

  /** Records one op and gives its result. Errors name the user's line. */
  emit<N extends OpName>(op: N, inputs: readonly Tensor[], attrs: OpAttrs[N]): Tensor {
    for (const input of inputs) {
      if (input.trace !== this) {
        throw new LocalgradError(
          `${op}: a tensor of another traced function was used${atUserLine()}; pass it in as an argument instead`,
        );
      }
    }
    try {
      const site = this.observer === undefined ? undefined : userLine();
      const read = inputs.map(({ id }) => this.#changed?.get(id) ?? id);
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

  /** Raises an error that names the user's line. */
  fail(message: string): never {
    throw new LocalgradError(message + atUserLine());
  }

  /** Runs `body`; what it records reads the values that `changed` names in place of others. */
  reading<T>(changed: ReadonlyMap<ValueId, ValueId>, body: () => T): T {
    const outer = this.#changed;
    this.#changed = changed;
    try {
      return body();
    } finally {
      this.#changed = outer;
    }
  }
}

/**
 * A stretch of a trace whose gradient is given by a rule instead of by its instructions. The rule must agree with
 * differentiating the instructions: it is used only where cotangents arrive at nothing but the region's results.
 */
export interface Region {
  /** First instruction. */
  readonly start: number;
  /** One past the last instruction. */
  readonly end: number;
  /** What the region may be differentiated with respect to. */
  readonly inputs: readonly Tensor[];
  /** Its results. */
  readonly outputs: readonly Tensor[];
  /** Cotangents of the results (undefined where none arrived) → cotangents of the inputs. */
  readonly rule: (cotangents: readonly (Tensor | undefined)[]) => readonly (Tensor | undefined)[];
}

const active: Trace[] = [];

/** The innermost function being traced; an error outside of any. */
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
    return body();
  } finally {
    active.pop();
  }
}

/** Runs `body` with `name` added to the scope of the instructions it records, so that plans and errors can say where. */
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

// The library's own frames are those under the folder that holds src/, wherever it was imported from.
const libraryRoot = import.meta.url.replace(/src\/trace\/trace\.ts.*$/, "src/");

/** The innermost stack frame outside the library, as `file:line:column`, or undefined. Tests beside sources count as users. */
function userLine(): string | undefined {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 50;
  const stack = new Error().stack ?? "";
  Error.stackTraceLimit = limit;
  for (const line of stack.split("\n").slice(1)) {
    const place = line.match(/((?:file|https?|data|blob):[^\s()]+:\d+:\d+)/)?.[1];
    if (place === undefined) continue;
    if (!place.startsWith(libraryRoot) || /_test\.ts:/.test(place)) return place;
  }
  return undefined;
}

function atUserLine(): string {
  const line = userLine();
  return line === undefined ? "" : ` (at ${line})`;
}
