import { LocalgradError } from "../base/errors.ts";
import { formatAval, isFloat } from "./dtype.ts";
import { full } from "./functions.ts";
import type { Instruction } from "./program.ts";
import type { Tensor } from "./tensor.ts";
import type { Trace } from "./trace.ts";

const NONE = 0xffffffff;

/**
 * Adds to a trace, op by op as it is recorded, the search for the first op whose result holds a NaN or an infinity.
 * The check of a value comes right after it, so that nothing is kept for longer than without.
 */
export class NumericsCheck {
  /** u32 scalar: the place in {@link #checked} of the first op with a result that is not finite. */
  first: Tensor;
  readonly #checked: Instruction[] = [];
  readonly #trace: Trace;

  /** Starts watching a trace. */
  constructor(trace: Trace) {
    this.#trace = trace;
    this.first = full([], NONE, "u32");
    const observe = (value: Tensor) => {
      const instruction = trace.builder.instructions.at(-1)!;
      if (
        !isFloat(value.dtype) || value.size === 0 || instruction.op === "constant" ||
        instruction.op === "iota"
      ) return;
      const index = this.#checked.push(instruction) - 1;
      trace.observer = undefined; // the check itself is not checked
      // Its own index where an element is not finite, all ones where none is.
      const place = value.isFinite().cast("u32").mul(NONE).maximum(index).min();
      this.first = this.first.minimum(place);
      trace.observer = observe;
    };
    trace.observer = observe;
  }

  /** Rejects, naming the op, where the program found one; `bytes` are those of {@link first}. */
  async verdict(bytes: Promise<Uint8Array>): Promise<void> {
    const index = new DataView((await bytes).slice().buffer).getUint32(0, true);
    if (index === NONE) return;
    const { op, attrs, inputs, output, scope, site } = this.#checked[index];
    const { builder } = this.#trace;
    const operands = inputs.map((id) => formatAval(builder.aval(id))).join(", ");
    throw new LocalgradError(
      `the first value that is not finite was made by ${"fn" in attrs ? attrs.fn : op}(${operands}) → ` +
        `${formatAval(builder.aval(output))}${scope === "" ? "" : ` in ${scope}`}` +
        `${site === undefined ? "" : ` (at ${site})`}`,
      { code: "diverged" },
    );
  }
}
