import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { formatAval, isFloat } from "./dtype.ts";
import { full } from "./functions.ts";
import type { Instruction } from "./program.ts";
import type { Tensor } from "./tensor.ts";
import type { Trace } from "./trace.ts";

const NONE = 0xffffffff;

/**
 * Adds to a trace the search for the first op whose result contains a NaN or an infinity. Each value is checked right
 * after the op that makes it, so that no value stays in memory for longer than without the checks.
 */
export class NumericsCheck {
  /** u32 scalar: the index in {@link #checked} of the first op whose result is not finite. */
  first: Tensor;
  readonly #checked: Instruction[] = [];
  readonly #trace: Trace;

  /** Starts watching a trace. */
  constructor(trace: Trace) {
    this.#trace = trace;
    this.first = full([], NONE, "u32");
    const observe = (value: Tensor) => {
      const instruction = trace.builder.instructions.at(-1);
      if (instruction === undefined || instruction.op === "constant" || instruction.op === "iota") return;
      if (!isFloat(value.dtype) || value.size === 0) return;
      const index = this.#checked.push(instruction) - 1;
      trace.observer = undefined; // the check itself is not checked
      // Its index if an element is not finite, else all ones.
      const place = value.isFinite().cast("u32").mul(NONE).maximum(index).min();
      this.first = this.first.minimum(place);
      trace.observer = observe;
    };
    trace.observer = observe;
  }

  /**
   * Rejects with an error that names the op, if the program found one.
   *
   * @param bytes The value of {@link first}, little-endian.
   */
  async verdict(bytes: Promise<Uint8Array>): Promise<void> {
    const index = new DataView((await bytes).slice().buffer).getUint32(0, true);
    if (index === NONE) return;
    const { op, attrs, inputs, output, scope, site } = at(this.#checked, index);
    const { builder } = this.#trace;
    const operands = inputs.map((id) => formatAval(builder.aval(id))).join(", ");
    throw new LocalgradError(
      `the first value that is not finite comes from ${"fn" in attrs ? attrs.fn : op}(${operands}) → ` +
        `${formatAval(builder.aval(output))}${scope === "" ? "" : ` in ${scope}`}` +
        `${site === undefined ? "" : ` (at ${site})`}`,
      { code: "diverged" },
    );
  }
}
