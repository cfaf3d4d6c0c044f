import { LocalgradError } from "../../base/errors.ts";
import { expectOptions } from "../../base/expect.ts";
import type { Method } from "../method.ts";
import { expectInner } from "../method.ts";
import { AVERAGE_KINDS, type AverageOptions, averageOptions } from "./block_average.ts";
import { LOOK_AHEAD_KINDS, type LookAheadOptions, lookAheadOptions } from "./look_ahead.ts";
import { momentumAuxiliary } from "./momentum_auxiliary.ts";

/** Options of {@link man}. */
export interface ManOptions extends AverageOptions, LookAheadOptions {
  /**
   * The blocks in front of the inner method's networks: average and bias, summed (default), or one of them. With `ahead`,
   * further averages follow the sum or the first average; `biasOnly` has as many trained blocks instead.
   */
  fusion?: "sum" | "emaOnly" | "biasOnly";
}

/**
 * Momentum Auxiliary Network (Su et al., ECCV 2024, arXiv 2407.05623) around a method with a local loss, such as `dgl()`
 * or `infopro()`. It puts two blocks like the next one in front of that method's networks and sums their outputs: the
 * next block's exponential moving average, which is not trained but lets the gradient through, and a learnable bias,
 * which is trained. The average moves after the module's backward pass and before its update, toward the next block's
 * parameters as they were at the start of the step. Options select the other published variants; `ahead` and `joint` are
 * experiments of this library.
 *
 * @example
 * ```ts
 * import { local } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * // The ablation of the paper: the average alone, started as a separate draw.
 * const method = local.man(local.dgl(), { fusion: "emaOnly", start: "random" });
 * assertEquals(method.name, "man+dgl");
 * ```
 */
export function man(method: Method, options: ManOptions = {}): Method {
  expectInner("man", method);
  expectOptions("man", options, { ...AVERAGE_KINDS, ...LOOK_AHEAD_KINDS, fusion: "string?" });
  const { fusion = "sum" } = options;
  const average = averageOptions("man", options);
  const lookAhead = lookAheadOptions("man", options, average);
  if (!["sum", "emaOnly", "biasOnly"].includes(fusion)) {
    throw new LocalgradError(
      `man: there is no fusion ${JSON.stringify(fusion)}; choose "sum", "emaOnly" or "biasOnly"`,
    );
  }
  const idle = (["average", "moves", "statistics"] as const).find((name) => options[name] !== undefined);
  if (fusion === "biasOnly" && idle !== undefined) {
    throw new LocalgradError(
      `man: with fusion "biasOnly" there is no average; leave ${idle} out`,
    );
  }
  return {
    ...method,
    name: `man+${method.name}`,
    options: { ...average, fusion, ...lookAhead.named, inner: { name: method.name, ...method.options } },
    recut: (model, cut) => lookAhead.recut(model, method.recut?.(model, cut) ?? cut),
    auxiliary: (boundary) =>
      momentumAuxiliary("man", method, boundary, { ...average, ahead: lookAhead.ahead }, {
        bias: fusion !== "emaOnly",
        ema: fusion !== "biasOnly",
        fuse: (_params, bias, ema) => bias.add(ema),
      }),
  };
}
